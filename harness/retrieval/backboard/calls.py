"""Calls to Backboard through its own SDK: time limits, retries and errors of ours.

Protocol: https://app.backboard.io/docs as ``backboard-sdk`` 1.5 speaks it. The SDK retries nothing, limits only each
wait for the next byte, and reports a time-out and a lost connection as an API error without a status. What can be
repeated without harm is repeated here, after the time that the server asks for (``Retry-After``) or twice as long each
time. What may have been done though no answer came is `Unsure`: the caller looks before it writes again.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from harness.errors import InputError, ServiceUnavailable, install

if TYPE_CHECKING:
    from backboard import BackboardClient
    from backboard.exceptions import BackboardAPIError

DEFAULT_URL: Final = "https://app.backboard.io/api"
DEFAULT_ASSISTANT: Final = "creamandonion"

Result = TypeVar("Result")

_BUSY: Final = 429  # the one refusal that says that nothing was done
_RETRIED: Final = frozenset({408, _BUSY, 500, 502, 503, 504})
_MAX_BACKOFF_S: Final = 30.0
_MESSAGE_CHARS: Final = 300
# how the SDK fails on a body of another shape
_MISSHAPEN: Final = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
_LATER: Final = "try again later, or check BACKBOARD_BASE_URL; what was stored is kept"
_ELSEWHERE: Final = "check what answers at BACKBOARD_BASE_URL"


class Refused(ServiceUnavailable):
    """The key is wrong, or may not do this."""


class Gone(ServiceUnavailable):
    """What was asked for is not there (any more)."""


class Unsure(ServiceUnavailable):
    """No answer came to a request that may have been carried out all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose assistant it is, and where."""

    key: str = field(repr=False)
    base_url: str = DEFAULT_URL
    assistant: str = DEFAULT_ASSISTANT

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Account:
        """From BACKBOARD_API_KEY, BACKBOARD_BASE_URL and BACKBOARD_ASSISTANT. InputError names what is wrong."""
        key = environ.get("BACKBOARD_API_KEY", "").strip()
        base_url = environ.get("BACKBOARD_BASE_URL", "").strip() or DEFAULT_URL
        assistant = environ.get("BACKBOARD_ASSISTANT", "").strip() or DEFAULT_ASSISTANT
        if not key:
            raise InputError("Backboard needs an API key", cure="set BACKBOARD_API_KEY, or choose another retriever")
        if not (key.isascii() and key.isprintable()):
            raise InputError("BACKBOARD_API_KEY holds characters that no key has", cure="copy it again")
        try:
            parts = urlsplit(base_url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a bracket in the host, a port that is none
            known = False
        if not known:
            cure = "set BACKBOARD_BASE_URL to http(s)://host[:port][/path]"
            raise InputError("BACKBOARD_BASE_URL is not an address", cure=cure)
        if len(assistant) > 255:
            raise InputError("BACKBOARD_ASSISTANT is too long", cure="use at most 255 characters")
        return cls(key=key, base_url=base_url, assistant=assistant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long is waited for what. A search comes within what a trial waits for a retriever, 30 s."""

    tries: int = 4
    request_s: float = 15.0
    backoff_s: float = 1.0
    poll_s: float = 1.0
    search_s: float = 25.0
    prepare_s: float = 300.0
    seed_s: float = 3600.0
    learn_s: float = 20.0  # a trial waits for it
    analysis_s: float = 120.0
    indexing_s: float = 300.0  # without a document that got ready


class Calls:
    """One open client, for one operation that has to end by ``deadline_s`` of the monotonic clock."""

    def __init__(self, client: BackboardClient, account: Account, limits: Limits, deadline_s: float) -> None:
        self.limits, self.account = limits, account
        self._client, self._deadline_s = client, deadline_s

    async def ask(
        self,
        what: str,
        call: Callable[[BackboardClient], Awaitable[Result]],
        *,
        repeatable: bool = True,
        within_s: float | None = None,
    ) -> Result:
        """What ``call`` gives, each try ``within_s``. ServiceUnavailable, or one of its kinds, tells of ``what``."""
        from backboard.exceptions import BackboardAPIError  # noqa: PLC0415 as in `connected`

        for number in count(1):
            try:
                async with asyncio.timeout(min(within_s or self.limits.request_s, self.left_s(what))):
                    return await call(self._client)
            except TimeoutError:
                said, status, asked_s = "no answer in time", None, None
            except BackboardAPIError as error:
                said, status, asked_s = _told(error), error.status_code, _retry_after_s(error)
            except _MISSHAPEN as error:
                raise self.failed(
                    f"{what}: the answer is not in Backboard's protocol ({type(error).__name__})"
                ) from None
            self._demand_retried(what, said, status, repeatable=repeatable)
            if number >= self.limits.tries:
                raise self.failed(f"{what}: gave up after {number} tries: {said}", cure=_LATER)
            await self._wait(what, said, number, asked_s)
        raise AssertionError("the loop above ends by itself")

    def left_s(self, what: str) -> float:
        """Seconds until the deadline. ServiceUnavailable where there are none."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise self.failed(f"{what}: no time is left", cure=_LATER)
        return left_s

    async def pause(self, what: str, seconds: float) -> None:
        """Sleep, if the deadline allows it."""
        if seconds >= (left_s := self.left_s(what)):
            raise self.failed(f"{what}: a wait of {seconds:.1f} s is due, and {left_s:.1f} s are left", cure=_LATER)
        await asyncio.sleep(seconds)

    def failed(
        self, what: str, *, cure: str = _ELSEWHERE, kind: type[ServiceUnavailable] = ServiceUnavailable
    ) -> ServiceUnavailable:
        """An error in one line, without the key: servers echo keys."""
        plain = what.replace(self.account.key, "<key>")
        line = "".join(char if char.isprintable() else " " for char in plain)
        return kind(f"Backboard: {' '.join(line.split())[:_MESSAGE_CHARS]}", cure=cure)

    def _demand_retried(self, what: str, said: str, status: int | None, *, repeatable: bool) -> None:
        """Raises unless another try may help and can do no harm. No status: the connection failed."""
        if status in (401, 403):
            raise self.failed(f"{what}: {said}", cure="check BACKBOARD_API_KEY and what it may use", kind=Refused)
        if status == 404:
            raise self.failed(f"{what}: {said}", cure="harness kb seed makes it anew", kind=Gone)
        if status is not None and status not in _RETRIED:
            raise self.failed(f"{what}: {said}")
        if not repeatable and status != _BUSY:
            raise self.failed(f"{what}: {said}", cure=_LATER, kind=Unsure)

    async def _wait(self, what: str, said: str, number: int, asked_s: float | None) -> None:
        await self.pause(f"{what}: {said}", asked_s if asked_s is not None else backoff_s(self.limits, number))


def backoff_s(limits: Limits, number: int) -> float:
    """Twice as long after each try, spread so that trials side by side part ways."""
    jitter = 0.5 + random.random() / 2  # noqa: S311 it guards nothing
    return min(_MAX_BACKOFF_S, limits.backoff_s * 2.0 ** (number - 1)) * jitter


def require_sdk() -> None:
    """InputError where it is not installed: told before anything is started, and without importing it."""
    if find_spec("backboard") is None:
        raise InputError("the retriever backboard needs backboard-sdk", cure=install("backboard"))


@asynccontextmanager
async def connected(account: Account, limits: Limits, *, within_s: float) -> AsyncIterator[Calls]:
    """A client for one operation."""
    from backboard import BackboardClient  # noqa: PLC0415 takes 0.2 s to import, and few runs use it

    # the SDK's own limit, of whole seconds, lies outside ours
    async with BackboardClient(account.key, base_url=account.base_url, timeout=int(within_s) + 1) as client:
        yield Calls(client, account, limits, time.monotonic() + within_s)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Its result, by an event loop of its own; on another thread where this one has a loop, as in a notebook.

    A loop that is kept would save the making of a client, 0.03 s, and no connection: attempts are further apart than
    httpx keeps one open (5 s).
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


def _told(error: BackboardAPIError) -> str:
    return f"HTTP {error.status_code}: {error}" if error.status_code else str(error)


def _retry_after_s(error: BackboardAPIError) -> float | None:
    """How long the server asks to wait: ``Retry-After``, in seconds or as a date (RFC 9110)."""
    header = error.response.headers.get("retry-after", "").strip() if error.response is not None else ""
    if header.isdecimal() and header.isascii():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()) if header else None
    except (ValueError, TypeError):  # no date; or one without a zone
        return None
