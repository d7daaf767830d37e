"""One loop of tries for all models, so that attempts, waits and cost are counted alike. The SDKs' own are switched off.

A server says how long it wants to be left alone by ``Retry-After`` (RFC 9110, seconds or a date), by OpenAI's
``retry-after-ms``, or by Google's ``RetryInfo`` (google.rpc, in the error's details).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

RETRIED_CODES: Final = frozenset({408, 429, 500, 502, 503, 504})
MAX_BACKOFF_S: Final = 30.0

_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)s?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came of a request in the end: ``body``, the answer's JSON, with status 200; else ``error`` and its cure."""

    status: int  # HTTP's; 0: none was had
    body: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """Why a try failed that may succeed later; ``asked_s`` is how long the server wants to be left alone."""

    what: str
    asked_s: float | None = None


Send = Callable[[float], Response | Setback]  # one try, given the seconds that it may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """``budget_s`` bounds all tries and waits of a proposal together; ``timeout_s`` bounds one try."""

    tries: int = 4
    budget_s: float = 110.0
    timeout_s: float = 60.0
    backoff_s: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    def response(self, send: Send, *, deadline_s: float, cure: str) -> tuple[Response, int]:
        """The first response in at most ``tries``, and how many there were. ``cure`` is for one who must give up."""
        setback, sent = Setback(what="no time was left"), 0
        while sent < self.tries and (left_s := deadline_s - time.monotonic()) > 0:
            sent += 1
            outcome = send(min(self.timeout_s, left_s))
            if isinstance(outcome, Response):
                return outcome, sent
            setback = outcome
            wait_s = self._wait_s(sent, setback)
            left_s = max(0.0, deadline_s - time.monotonic())
            if sent < self.tries and wait_s >= left_s:
                what = f"a wait of {wait_s:.1f} s is due, and {left_s:.1f} s are left: {setback.what}"
                return Response(status=0, error=what, cure=cure), sent
            if sent < self.tries:
                self.sleep(wait_s)
        what = f"gave up after {self.tries} tries or {self.budget_s:g} s: {setback.what}"
        return Response(status=0, error=what, cure=cure), sent

    def _wait_s(self, number: int, setback: Setback) -> float:
        """As long as the server asks; else twice as long each time, spread so that parallel trials part ways."""
        if setback.asked_s is not None:
            return setback.asked_s
        jitter = 0.5 + random.random() / 2  # noqa: S311 - it guards nothing
        return min(MAX_BACKOFF_S, self.backoff_s * 2.0 ** min(number - 1, 32)) * jitter


def asked_s(headers: Mapping[str, str], body: object = None) -> float | None:
    """How long the server asks to wait; None where it says nothing that can be read. ``headers`` in small letters."""
    millis = _SECONDS.fullmatch(headers.get("retry-after-ms", "").strip())
    if millis:
        return float(millis[1]) / 1000
    after = headers.get("retry-after", "").strip()
    if seconds := _SECONDS.fullmatch(after):
        return float(seconds[1])
    if after:
        try:
            return max(0.0, (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):  # no date; or one without a zone
            return None
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and (seconds := _SECONDS.fullmatch(str(detail.get("retryDelay", "")))):
            return float(seconds[1])
    return None
