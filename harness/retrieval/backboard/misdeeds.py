"""What the stand-in of Backboard can be told to do wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal


@dataclass(slots=True, kw_only=True)
class Misdeed:
    """What befalls the requests of ``method`` to ``path``, a regular expression, once ``after`` of them went well.

    ``done``: it is carried out all the same. None as ``times``: for ever.
    """

    status: int = 500
    body: bytes = b'{"detail": "Internal Server Error"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Literal["answer", "hang", "drop"] = "answer"
    done: bool = False
    method: str = ""
    path: str = ""
    after: int = 0
    times: int | None = 1

    def befalls(self, method: str, path: str) -> bool:
        """Counts the request."""
        if self.method not in ("", method) or not re.search(self.path, path) or self.times == 0:
            return False
        self.after -= 1
        if self.after >= 0:
            return False
        self.times = None if self.times is None else self.times - 1
        return True


def quota(retry_after: str = "1", **where: Any) -> Misdeed:  # noqa: ANN401 the fields of Misdeed
    """429 with ``Retry-After``."""
    return Misdeed(status=429, body=detail("Rate limit exceeded"), headers={"Retry-After": retry_after}, **where)


def page(status: int = 200, **where: Any) -> Misdeed:  # noqa: ANN401 the fields of Misdeed
    """An HTML page, as a proxy in between sends it."""
    body = b"<!doctype html><title>Sign in to the network</title>"
    return Misdeed(status=status, body=body, headers={"Content-Type": "text/html"}, **where)


def lost(**where: Any) -> Misdeed:  # noqa: ANN401 the fields of Misdeed
    """It is carried out, and the connection ends before the answer."""
    return Misdeed(manner="drop", done=True, **where)


NAMED: Final[Mapping[str, Callable[[], Misdeed]]] = {
    "quota": quota,
    "unavailable": lambda: Misdeed(status=503, body=detail("Service Unavailable")),
    "page": page,
    "hang": lambda: Misdeed(manner="hang"),
    "drop": lambda: Misdeed(manner="drop"),
    "lost": lost,
}


def detail(words: str) -> bytes:
    """An error as Backboard words it."""
    return json.dumps({"detail": words}).encode()
