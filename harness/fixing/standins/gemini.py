"""A stand-in that speaks Gemini's ``generateContent``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from harness.fixing.standins import server
from harness.fixing.standins.replies import ABSTENTION, BROKEN, ECHO, HALF
from harness.fixing.standins.server import Answer, Dialect, Standin, as_json, cut, drop, hang, page

TOKENS: Final = {"promptTokenCount": 1200, "candidatesTokenCount": 300, "thoughtsTokenCount": 150}
MODEL: Final = "stand-in-001"
_STATUS: Final = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


def answer(reply: Mapping[str, Any] | str, *, finish: str = "STOP", model: str = MODEL) -> Answer:
    """The model says this: an object, sent as JSON text, or a text as it is."""
    return _turn([{"text": reply if isinstance(reply, str) else json.dumps(reply)}], finish=finish, model=model)


def call(*calls: tuple[str, Mapping[str, Any]], ids: bool = True) -> Answer:
    """The model calls these tools, by name and arguments, with the signature of a thought that it wants back."""
    parts = [
        {
            "functionCall": {"name": name, "args": dict(arguments), **({"id": f"call-{number}"} if ids else {})},
            **({"thoughtSignature": "c2lnbmF0dXJl"} if number == 1 else {}),
        }
        for number, (name, arguments) in enumerate(calls, start=1)
    ]
    return _turn(parts, finish="STOP", model=MODEL)


def _turn(parts: list[dict[str, Any]], *, finish: str, model: str) -> Answer:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}
    return as_json({"candidates": [candidate], "usageMetadata": TOKENS, "modelVersion": model})


def blocked(reason: str = "PROHIBITED_CONTENT") -> Answer:
    """The prompt is refused: no candidate."""
    return as_json({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 1200}})


def quota(retry_after_s: int | None = 1) -> Answer:
    """429, with ``Retry-After`` where given."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", headers=headers)


def error(
    code: int, status: str, message: str, *, details: Sequence[object] = (), headers: Mapping[str, str] | None = None
) -> Answer:
    """An error as Google words it."""
    body = {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
    return as_json(body, status=code, headers=headers)


NAMED: Final[Mapping[str, Callable[[], Answer]]] = {
    "abstain": lambda: answer(ABSTENTION),
    "broken": lambda: answer(BROKEN),
    "half": lambda: answer(HALF, finish="MAX_TOKENS"),
    "refusal": lambda: answer("", finish="SAFETY"),
    "blocked": blocked,
    "quota": quota,
    "failing": lambda: error(500, "INTERNAL", "An internal error has occurred."),
    "unavailable": lambda: error(503, "UNAVAILABLE", "The model is overloaded."),
    "echo": lambda: error(400, "INVALID_ARGUMENT", ECHO),
    "endless": lambda: call(("search_code", {"text": "import"})),
    "page": page,
    "hang": hang,
    "drop": drop,
    "cut": lambda: cut(answer(ABSTENTION)),
}

DIALECT: Final = Dialect(
    route=re.compile(r"/v1(?:beta)?/models/(?P<model>[\w.-]+):generateContent"),
    needs="contents",
    key=lambda headers: headers.get("x-goog-api-key", ""),
    keyless=False,
    error=lambda code, message: error(code, _STATUS.get(code, "UNKNOWN"), message),
    silence=answer(ABSTENTION),
)


def running(answers: Iterable[Answer] = (), *, port: int = 0) -> AbstractContextManager[Standin]:
    """Serve on 127.0.0.1, port 0 for a free one. OSError when the port is taken."""
    return server.running(DIALECT, answers, port=port)


def settings(url: str) -> str:
    """How to point the fixer at it."""
    return f"GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY=any"
