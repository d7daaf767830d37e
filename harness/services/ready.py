"""Waiting until something that was started is ready, and saying why when it never is."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from harness.errors import MeasurementError, ServiceUnavailable, TargetNotReady
from harness.services.supervisor import Child

_POLL_S = 0.02
_ATTEMPT_S = 2.0
_OK = range(200, 300)


class NotYet(Exception):
    """Raised by a predicate to say what it still waits for; the message goes into the error, should time run out."""


def wait_until(
    predicate: Callable[[], bool],
    *,
    timeout_s: float,
    what: str,
    child: Child | None = None,
    error: type[MeasurementError] = ServiceUnavailable,
    cure: str = "check that it runs and that its address is right",
) -> None:
    """Polls until ``predicate()`` is true; ``what`` names the thing that is awaited, as in "PostgreSQL".

    Raises ``error`` after ``timeout_s``, or as soon as ``child`` has died. Its message ends with the end of the child's
    log; ``cure`` is for when there is no child.
    """
    deadline = time.monotonic() + timeout_s
    last = ""
    while True:
        try:
            if predicate():
                return
        except NotYet as reason:
            last = f": {reason}"
        if child is not None and not child.running():
            raise _error(error, f"{what} ended with code {child.returncode} before it was ready", cure, child)
        if time.monotonic() >= deadline:
            raise _error(error, f"{what} was not ready within {timeout_s:g} s{last}", cure, child)
        time.sleep(_POLL_S)


def http_ready(
    url: str, *, timeout_s: float, child: Child | None = None, error: type[MeasurementError] = TargetNotReady
) -> None:
    """Waits until GET ``url`` (plain http) answers 2xx. Raises as `wait_until` does."""
    wait_until(lambda: _answers(url), timeout_s=timeout_s, what=url, child=child, error=error)


def tcp_ready(
    host: str,
    port: int,
    *,
    timeout_s: float,
    child: Child | None = None,
    error: type[MeasurementError] = ServiceUnavailable,
) -> None:
    """Waits until ``host:port`` takes a connection. Raises as `wait_until` does."""
    wait_until(lambda: _accepts(host, port), timeout_s=timeout_s, what=f"{host}:{port}", child=child, error=error)


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_ATTEMPT_S)
    path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotYet(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if status not in _OK:
        raise NotYet(f"it answers {status}")
    return True


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_ATTEMPT_S).close()
    except OSError as error:
        raise NotYet(str(error)) from error
    return True


def _error(kind: type[MeasurementError], message: str, cure: str, child: Child | None) -> MeasurementError:
    if child is None:
        return kind(message, cure=cure)
    tail = child.tail()
    said = f"; its log ends with:\n{tail}" if tail else "; its log is empty"
    return kind(f"{message}{said}", cure=f"read {child.log}")
