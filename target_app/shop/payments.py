"""The client of the payment provider: the only module that talks to it."""

from __future__ import annotations

import logging
import time
from enum import StrEnum
from typing import cast
from uuid import UUID

import httpx
from flask import Flask, current_app
from pydantic import BaseModel, ValidationError

from shop.logs import Marker
from shop.resilience import CircuitBreaker, CircuitOpen, Rules, State, retry
from shop.settings import Settings
from shop.tokens import AccessToken

logger = logging.getLogger(__name__)


class Reason(StrEnum):
    TIMEOUT = "timeout"
    FAILED = "failed"  # no connection, or 5xx
    OVERLOADED = "overloaded"  # 503: it has more to do than it can
    RATE_LIMITED = "rate_limited"
    UNREADABLE = "unreadable"  # an answer outside the contract: asking again at once won't change it
    CIRCUIT_OPEN = "circuit_open"


TRANSIENT = (Reason.TIMEOUT, Reason.FAILED, Reason.OVERLOADED)
MARKED = (Reason.TIMEOUT, Reason.FAILED)  # it is slow or broken; that it is busy, or that we are wrong, is told plainly
ANSWERS = (httpx.codes.UNAUTHORIZED, httpx.codes.PAYMENT_REQUIRED)  # not 2xx, and no failure of the provider's


class PaymentDeclined(Exception):
    """The provider refused the charge for good."""


class PaymentForbidden(Exception):
    """The provider does not know us, not even with a new token: for people to mend, and no matter of waiting."""


class PaymentUnavailable(Exception):
    """The provider gave no usable answer; whether it charged is not known, so charge again with the same order id."""

    def __init__(self, message: str, reason: Reason, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Charge(BaseModel):
    charge_id: str
    status: str


class Payments:
    """One for each process, shared by its threads. Every call has a time limit and goes through the breaker."""

    def __init__(self, settings: Settings, *, retries: int) -> None:
        self._settings = settings
        self._retries = retries
        token = AccessToken(
            f"{settings.payments_url}/token",
            settings.payments_client_id,
            settings.payments_client_secret,
            patience_s=settings.upstream_timeout_s,
        )
        self._client = httpx.Client(
            base_url=settings.payments_url, auth=token, timeout=settings.upstream_timeout_s, trust_env=False
        )
        rules = Rules(
            failures=settings.breaker_failures,
            cooldown_s=settings.breaker_cooldown_s,
            lease_s=4 * settings.upstream_timeout_s + 1,  # with a token that is refused, a call is four exchanges
        )
        self.breaker = CircuitBreaker("payments", rules, settings.redis_url)

    def charge(self, order_id: UUID, amount_cents: int) -> Charge:
        """Idempotent: the provider charges an order once.

        Raises PaymentDeclined, PaymentUnavailable or PaymentForbidden.
        """
        response = self._request(
            "POST",
            "/charge",
            json={"order_id": str(order_id), "amount_cents": amount_cents},
            headers={"Idempotency-Key": str(order_id)},
        )
        if response.status_code == httpx.codes.PAYMENT_REQUIRED:
            raise PaymentDeclined(f"the charge of order {order_id} was declined")
        try:
            charge = Charge.model_validate_json(response.content)
        except ValidationError as error:
            raise PaymentUnavailable(f"POST /charge answered {error}", Reason.UNREADABLE) from error
        if charge.status != "succeeded":
            raise PaymentUnavailable(f"the charge of order {order_id} is {charge.status!r}", Reason.UNREADABLE)
        return charge

    def quote(self) -> None:
        """Asks whether the provider takes charges. Raises PaymentUnavailable or PaymentForbidden."""
        self._request("GET", "/quote")

    def close(self) -> None:
        self._client.close()
        self.breaker.close()

    def _request(
        self, method: str, path: str, *, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        request = self._client.build_request(method, path, json=json, headers=headers)
        try:
            response = retry(
                lambda: self.breaker.call(lambda: self._send(request)),
                retries=self._retries,
                backoff_s=self._settings.upstream_backoff_s,
                when=self._worth_another,
            )
        except CircuitOpen as error:
            raise PaymentUnavailable(str(error), Reason.CIRCUIT_OPEN, error.retry_after_s) from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise PaymentForbidden(f"{method} {path} answered 401: the access token is not accepted")
        return response

    def _worth_another(self, error: BaseException) -> bool:
        transient = isinstance(error, PaymentUnavailable) and error.reason in TRANSIENT
        return transient and self.breaker.state() is not State.OPEN

    def _send(self, request: httpx.Request) -> httpx.Response:
        """One call. Raises PaymentUnavailable unless it is answered 2xx, 401 or 402; logs what failed or was slow."""
        started = time.monotonic()
        what = f"{request.method} {request.url.path}"
        try:
            response = self._client.send(request)
            if response.status_code not in ANSWERS:
                response.raise_for_status()
        except httpx.HTTPError as error:
            unavailable = _unavailable(what, error)
            _log(f"{what} failed: {error!r}", started, marked=unavailable.reason in MARKED)
            raise unavailable from error
        if time.monotonic() - started >= self._settings.upstream_slow_s:
            _log(f"{what} was slow", started, marked=True)
        return response


def _unavailable(what: str, error: httpx.HTTPError) -> PaymentUnavailable:
    if isinstance(error, httpx.TimeoutException):
        return PaymentUnavailable(f"{what} timed out", Reason.TIMEOUT)
    if not isinstance(error, httpx.HTTPStatusError):
        return PaymentUnavailable(f"{what} failed: {type(error).__name__}", Reason.FAILED)
    answer = error.response
    message = f"{what} answered {answer.status_code}"
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        seconds = answer.headers.get("Retry-After", "")
        return PaymentUnavailable(message, Reason.RATE_LIMITED, float(seconds) if seconds.isdecimal() else None)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return PaymentUnavailable(message, Reason.OVERLOADED)
    return PaymentUnavailable(message, Reason.FAILED if answer.is_server_error else Reason.UNREADABLE)


def _log(message: str, started: float, *, marked: bool) -> None:
    fields: dict[str, object] = {"duration_ms": round((time.monotonic() - started) * 1000)}
    logger.warning(message, extra=fields | ({"marker": Marker.UPSTREAM} if marked else {}))


def init_app(app: Flask, settings: Settings) -> None:
    app.extensions["payments"] = Payments(settings, retries=settings.upstream_retries)


def payments() -> Payments:
    """The client of this process."""
    return cast(Payments, current_app.extensions["payments"])
