"""A circuit breaker and a time limit around calls of other services.

After FAILURES failures in a row a circuit opens: calls fail at once, without being sent. After COOLDOWN_S
one call, the probe, is let through; its result closes the circuit or keeps it open. A failure is no
connection, a time-out or an answer of 500 and above. Each process has its own circuits, one for each pair
of calling function and called address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

import httpx

if TYPE_CHECKING:
    from tenacity import RetryCallState

FAILURES = 3
COOLDOWN_S = 30.0
TIMEOUT_S = 1.0

P = ParamSpec("P")


class CallRefused(httpx.ConnectError, httpx.ConnectTimeout):
    """The circuit is open, so nothing was sent. Whoever handles a failed connection or a time-out handles this."""


class Circuit:
    """The lock is never held during a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    def admit(self) -> bool:
        """Whether the call is the probe. Raises CallRefused when it must not be made."""
        with self._lock:
            if self._opened_at is None:
                return False
            if self._probing or time.monotonic() < self._opened_at + COOLDOWN_S:
                raise CallRefused("the circuit is open after repeated failures")
            self._probing = True
            return True

    def record(self, failed: bool | None, *, probe: bool) -> None:
        """``failed`` is None when the call says nothing about the other side."""
        with self._lock:
            if probe:
                self._probing = False
            elif self._opened_at is not None:
                return  # it began before the circuit opened: old news
            if failed:
                self._failures += 1
                if probe or self._failures >= FAILURES:
                    self._opened_at = time.monotonic()
            elif failed is not None:
                self._failures, self._opened_at = 0, None


_circuits: dict[tuple[str, bytes], Circuit] = {}
_thread = threading.local()


def guarded(name: str, send: Callable[P, httpx.Response], *args: P.args, **kwargs: P.kwargs) -> httpx.Response:
    """``send(*args, **kwargs)``, through the circuit for ``name`` and the address that is called.

    Raises CallRefused, and what ``send`` raises.
    """
    circuit = _circuits.setdefault((name, _address(send, *args, *kwargs.values())), Circuit())
    _thread.refused = True
    probe = circuit.admit()
    _thread.refused = False
    failed: bool | None = None
    try:
        response = send(*args, **kwargs)
        failed = response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.HTTPStatusError as error:  # from an event hook
        failed = error.response.is_server_error
        raise
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError):  # the caller's own mistake
        raise
    except httpx.TransportError:
        failed = True
        raise
    finally:
        circuit.record(failed, probe=probe)
    return response


def _address(send: object, *arguments: object) -> bytes:
    """Host and port of the first URL among the arguments, else of the client that sends."""
    for given in arguments:
        target = given.url if isinstance(given, httpx.Request) else given
        if isinstance(target, httpx.URL) or (isinstance(target, str) and "://" in target):
            return httpx.URL(target).netloc
    client = getattr(send, "__self__", None)
    return client.base_url.netloc if isinstance(client, httpx.Client) else b""


def pause(seconds: float) -> None:
    """Sleep before another attempt; not at all when the last one was refused, since the next will be too."""
    if not getattr(_thread, "refused", False):
        time.sleep(seconds)


def was_refused(retry_state: RetryCallState) -> bool:
    """A stop condition for tenacity: the attempt failed because of a refused call."""
    error = retry_state.outcome.exception() if retry_state.outcome else None
    while error is not None and not isinstance(error, CallRefused):
        error = error.__cause__ or error.__context__
    return error is not None


def at_most(timeout: float | httpx.Timeout | None) -> httpx.Timeout:
    """The same timeout with every phase limited to TIMEOUT_S."""
    phases = httpx.Timeout(timeout).as_dict()
    limits = {name: min(s, TIMEOUT_S) if isinstance(s, int | float) else TIMEOUT_S for name, s in phases.items()}
    return httpx.Timeout(**limits)
