"""The access token that the payment provider demands."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

RENEW_AFTER = 0.8  # of a token's life: a request under way must not meet its end


class Grant(BaseModel):
    access_token: str = Field(min_length=1)
    expires_in: float = Field(gt=0)  # seconds


class AccessToken(httpx.Auth):
    """Signs requests with one token for all threads, got for our client id and secret (RFC 6749, 4.4).

    A new one is fetched before the old one ends, and when the provider refuses it: once for each request. One thread
    fetches while the others wait, ``patience_s`` at most. A fetch that is answered with an error is answer enough for
    the request. Raises httpx.TransportError.
    """

    def __init__(self, url: str, client_id: str, secret: SecretStr, patience_s: float) -> None:
        self._url = url
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret.get_secret_value(),
        }
        self._patience_s = patience_s
        self._fetching = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        refused: str | None = None
        while True:
            with self._turn(request):
                if time.monotonic() >= self._renew_at or self._token == refused:
                    answer = yield self._fetch(request)
                    if answer.is_error:
                        return
                    self._keep(answer)
                token = self._token
            request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            if response.status_code != httpx.codes.UNAUTHORIZED or refused is not None:
                return
            refused = token

    def _fetch(self, request: httpx.Request) -> httpx.Request:
        """Under the time limit of the request that needs it."""
        return httpx.Request("POST", self._url, data=self._form, extensions=request.extensions)

    def _keep(self, answer: httpx.Response) -> None:
        answer.read()
        try:
            grant = Grant.model_validate_json(answer.content)
        except ValidationError as error:
            raise httpx.RemoteProtocolError(f"not a token: {error}", request=answer.request) from error
        self._token = grant.access_token
        self._renew_at = time.monotonic() + RENEW_AFTER * grant.expires_in

    @contextmanager
    def _turn(self, request: httpx.Request) -> Iterator[None]:
        if not self._fetching.acquire(timeout=self._patience_s):
            raise httpx.PoolTimeout("another thread is fetching a token, and does not get one", request=request)
        try:
            yield
        finally:
            self._fetching.release()
