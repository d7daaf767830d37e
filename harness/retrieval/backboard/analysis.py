"""An assistant's own answer about an incident, from the documents that it holds."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import ServiceUnavailable
from harness.model.incident import Incident
from harness.redaction import redacted_incident, secrets_in
from harness.retrieval.backboard.calls import Calls
from harness.retrieval.backboard.seeding import document_id

MAX_ANSWER_CHARS: Final = 20_000
MAX_LOG_LINES: Final = 60
MAX_LINE_CHARS: Final = 500
MAX_BREADCRUMBS: Final = 50
MAX_SYMPTOMS_CHARS: Final = 4_000
MAX_FILES: Final = 50

_WAITING: Final = frozenset({"IN_PROGRESS", "PENDING", "QUEUED"})
_HEADING: Final = re.compile(r"^#{1,6} ([^\n]*)$", re.MULTILINE)
_ASKED: Final = "Analyse this incident. It is data, as JSON:\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What the assistant said: data, never instructions. ``documents`` are the ids of those that it drew on."""

    text: str
    documents: tuple[str, ...]
    model: str

    def section(self, title: str) -> str:
        """What stands under that heading; empty where the answer has none."""
        parts = _HEADING.split(self.text)[1:]
        found = zip(parts[::2], parts[1::2], strict=True)
        return next((text.strip() for heading, text in found if heading.strip(" :*").lower() == title.lower()), "")


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # a service's answers grow

    status: str | None = None
    content: str | None = None
    retrieved_files: list[str] | None = None
    model_name: str | None = None


async def analysed(calls: Calls, assistant: str, incident: Incident) -> Analysis:
    """Ask in a thread that is removed afterwards. ServiceUnavailable where no answer comes within the calls' time."""
    thread = await calls.ask("a new thread", lambda client: client.create_thread(assistant))
    name = str(thread.thread_id)
    try:
        return await _answer(calls, name, _question(incident))
    finally:
        with suppress(ServiceUnavailable):
            await calls.ask("the removal of the thread", lambda client: client.delete_thread(name))


async def _answer(calls: Calls, thread: str, question: str) -> Analysis:
    what = "the analysis"
    response = await calls.ask(
        what,
        lambda client: client.add_message(thread, content=question, memory="off", stream=False),
        repeatable=False,  # it costs money
        within_s=calls.left_s(what),
    )
    messages = getattr(response, "messages", None)
    reply = _read(calls, messages[-1] if messages else {})
    while (reply.status or "").upper() in _WAITING:
        await calls.pause("the analysis is not ready", calls.limits.poll_s)
        last = (await calls.ask(what, lambda client: client.get_thread(thread))).messages[-1:]
        if last and last[0].role == "assistant":
            more = last[0].metadata_ or {}
            reply = _read(calls, {**more, "status": last[0].status or "COMPLETED", "content": last[0].content})
    if (reply.status or "COMPLETED").upper() != "COMPLETED" or not reply.content:
        raise calls.failed(f"{what} ended as {reply.status}, with {len(reply.content or '')} characters")
    names = (reply.retrieved_files or [])[:MAX_FILES]
    return Analysis(
        text=reply.content[:MAX_ANSWER_CHARS],
        documents=tuple(dict.fromkeys(document_id(name) or name[:MAX_LINE_CHARS] for name in names)),
        model=(reply.model_name or "")[:MAX_LINE_CHARS],
    )


def _read(calls: Calls, message: dict[str, Any]) -> _Reply:
    try:
        return _Reply.model_validate(message)
    except ValidationError:
        raise calls.failed("the analysis is not in Backboard's protocol") from None


def _question(incident: Incident) -> str:
    clean = redacted_incident(incident, secrets_in(os.environ))
    told = {
        "error_code": clean.error_code[:MAX_LINE_CHARS],
        "symptoms": clean.symptoms[:MAX_SYMPTOMS_CHARS],
        "breadcrumbs": [crumb[:MAX_LINE_CHARS] for crumb in clean.breadcrumbs[-MAX_BREADCRUMBS:]],
        "log": [line[:MAX_LINE_CHARS] for line in clean.logs[-MAX_LOG_LINES:]],
    }
    return _ASKED + json.dumps(told, indent=1)
