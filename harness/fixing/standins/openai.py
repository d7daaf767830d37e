"""A stand-in that speaks ``/chat/completions``, as OpenAI, Ollama, vLLM and llama.cpp do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from harness.fixing.standins import server
from harness.fixing.standins.replies import ABSTENTION, BROKEN, ECHO, HALF
from harness.fixing.standins.server import Answer, Dialect, Standin, as_json, cut, drop, hang, page

USAGE: Final[Mapping[str, Any]] = {
    "prompt_tokens": 1200,
    "completion_tokens": 450,
    "total_tokens": 1650,
    "completion_tokens_details": {"reasoning_tokens": 150},
}
MODEL: Final = "stand-in-001"


def answer(reply: Mapping[str, Any] | str, *, finish: str = "stop", model: str = MODEL) -> Answer:
    """The model says this: an object, sent as JSON text, or a text as it is."""
    text = reply if isinstance(reply, str) else json.dumps(reply)
    return _turn({"role": "assistant", "content": text, "refusal": None}, finish=finish, model=model)


def refusal(text: str = "I cannot help with that.") -> Answer:
    """The model says no, in the field that is for it."""
    return _turn({"role": "assistant", "content": None, "refusal": text}, finish="stop", model=MODEL)


def _turn(message: Mapping[str, Any], *, finish: str, model: str) -> Answer:
    choice = {"index": 0, "message": dict(message), "finish_reason": finish, "logprobs": None}
    return as_json(
        {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]}
        | {"usage": dict(USAGE)}
    )


def error(code: int, message: str, *, kind: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """An error as OpenAI words it; ``kind`` is its code, such as insufficient_quota."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": kind or None}}
    return as_json(body, status=code, headers=headers)


def quota(retry_after_s: int | None = 1) -> Answer:
    """429, with ``Retry-After`` where given."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return error(429, "Rate limit reached.", kind="rate_limit_exceeded", headers=headers)


def no_format(code: int = 400) -> Answer:
    """The server does not know the response format: llama.cpp and others say so by 400, some by 500."""
    return error(code, "'response_format.type' must be 'text'")


NAMED: Final[Mapping[str, Callable[[], Answer]]] = {
    "abstain": lambda: answer(ABSTENTION),
    "broken": lambda: answer(BROKEN),
    "half": lambda: answer(HALF, finish="length"),
    "refusal": refusal,
    "blocked": lambda: answer("", finish="content_filter"),
    "quota": quota,
    "spent": lambda: error(429, "You exceeded your current quota.", kind="insufficient_quota"),
    "no-format": no_format,
    "failing": lambda: error(500, "The server had an error."),
    "unavailable": lambda: error(503, "Loading model"),
    "echo": lambda: error(401, ECHO, kind="invalid_api_key"),
    "endless": lambda: _turn(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}],
        },
        finish="tool_calls",
        model=MODEL,
    ),
    "page": page,
    "hang": hang,
    "drop": drop,
    "cut": lambda: cut(answer(ABSTENTION)),
}

DIALECT: Final = Dialect(
    route=re.compile(r"(?:/v1)?/chat/completions"),
    needs="messages",
    key=lambda headers: headers.get("authorization", "").removeprefix("Bearer ").strip(),
    keyless=True,
    error=lambda code, message: error(code, message),
    silence=answer(ABSTENTION),
)


def running(answers: Iterable[Answer] = (), *, port: int = 0) -> AbstractContextManager[Standin]:
    """Serve on 127.0.0.1, port 0 for a free one. OSError when the port is taken."""
    return server.running(DIALECT, answers, port=port)


def settings(url: str) -> str:
    """How to point the fixer at it."""
    return f"OPENAI_BASE_URL={url}/v1 OPENAI_MODEL={MODEL}"
