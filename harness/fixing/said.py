"""What a model said, read from an answer's JSON in Gemini's or OpenAI's protocol, live or from a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from harness.errors import ProposalFailed
from harness.fixing.consultation import Usage

_MAX_TOKENS: Final = 10**12
_MAX_NAME_CHARS: Final = 100
_OFF: Final = "Answer briefly: change little."
_PROTOCOL: Final = "Check what answers at the base URL, and the model's name."

Tokens = Annotated[int, Field(ge=0, le=_MAX_TOKENS)] | None
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    name: str
    arguments: Mapping[str, Any]
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """``content`` is the model's turn as it has to be sent back to it; ``model`` its name as the server tells it."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""


class _Lenient(BaseModel):
    """Servers add keys as they like; those that are read have to be right. In either case of letters."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class _FunctionCall(_Lenient):
    name: str | None = None
    args: dict[str, Any] | None = None
    id: str | None = None


class _Part(_Lenient):
    text: str | None = None
    thought: bool | None = None
    function_call: _FunctionCall | None = None


class _Content(_Lenient):
    parts: tuple[_Part, ...] | None = None


class _Candidate(_Lenient):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(_Lenient):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _GeminiUsage(_Lenient):
    prompt_token_count: Tokens = None
    tool_use_prompt_token_count: Tokens = None
    candidates_token_count: Tokens = None
    thoughts_token_count: Tokens = None


class _GeminiAnswer(_Lenient):
    candidates: tuple[_Candidate, ...] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _GeminiUsage | None = None
    model_version: str | None = None


class _Message(_Lenient):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Lenient):
    message: _Message
    finish_reason: str | None = None


class _Details(_Lenient):
    reasoning_tokens: Tokens = None


class _OpenAIUsage(_Lenient):
    prompt_tokens: Tokens = None
    completion_tokens: Tokens = None
    completion_tokens_details: _Details | None = None


class _OpenAIAnswer(_Lenient):
    model_config = ConfigDict(frozen=True, extra="ignore")  # its names are in snake case already

    choices: tuple[_Choice, ...] | None = None
    usage: _OpenAIUsage | None = None
    model: str | None = None


def gemini_usage(body: Mapping[str, Any]) -> Usage:
    """Thoughts are counted beside the candidates, and billed as output."""
    usage = _read(_GeminiAnswer, body, "Gemini").usage_metadata or _GeminiUsage()
    thought = usage.thoughts_token_count or 0
    return Usage(
        tokens_in=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        tokens_out=(usage.candidates_token_count or 0) + thought,
        tokens_thought=thought,
    )


def openai_usage(body: Mapping[str, Any]) -> Usage:
    """Reasoning tokens are a part of the completion's."""
    usage = _read(_OpenAIAnswer, body, "OpenAI").usage or _OpenAIUsage()
    details = usage.completion_tokens_details or _Details()
    return Usage(
        tokens_in=usage.prompt_tokens or 0,
        tokens_out=usage.completion_tokens or 0,
        tokens_thought=min(details.reasoning_tokens or 0, usage.completion_tokens or 0),
    )


def gemini_said(body: Mapping[str, Any]) -> Said:
    """Raises ProposalFailed when the prompt was blocked or the answer broke off."""
    answer = _read(_GeminiAnswer, body, "Gemini")
    feedback = answer.prompt_feedback
    if feedback is not None and feedback.block_reason:
        reason = f"{feedback.block_reason} {feedback.block_reason_message or ''}".strip()
        raise ProposalFailed(f"Gemini blocked the prompt: {reason}", cure="Try another model with GEMINI_MODEL.")
    if not answer.candidates:
        raise ProposalFailed("Gemini gave no candidate", cure="Try again, or another model with GEMINI_MODEL.")
    candidate = answer.candidates[0]
    if candidate.finish_reason and candidate.finish_reason != "STOP":
        raise ProposalFailed(f"Gemini broke its answer off: {candidate.finish_reason}", cure=_OFF)
    parts = (candidate.content.parts if candidate.content else None) or ()
    return Said(
        text="".join(part.text for part in parts if part.text and not part.thought),
        calls=tuple(
            ToolCall(name=(call.name or "")[:_MAX_NAME_CHARS], arguments=call.args or {}, id=call.id)
            for part in parts
            if (call := part.function_call) is not None
        ),
        content=dict(body["candidates"][0].get("content") or {}),
        model=answer.model_version or "",
    )


def openai_said(body: Mapping[str, Any]) -> Said:
    """Raises ProposalFailed when the model refused or the answer broke off."""
    answer = _read(_OpenAIAnswer, body, "OpenAI")
    if not answer.choices:
        raise ProposalFailed("the server gave no choice", cure="Try again, or another model with OPENAI_MODEL.")
    choice = answer.choices[0]
    if choice.message.refusal:
        raise ProposalFailed(f"the model refused: {choice.message.refusal}", cure="Try another model, OPENAI_MODEL.")
    if choice.finish_reason and choice.finish_reason != "stop":
        cure = "Raise the server's limit of tokens or its context." if choice.finish_reason == "length" else _OFF
        raise ProposalFailed(f"the answer broke off: {choice.finish_reason}", cure=cure)
    return Said(text=choice.message.content or "", model=answer.model or "")


def _read(model: type[Model], body: Mapping[str, Any], protocol: str) -> Model:
    try:
        return model.model_validate(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(part if str(part).isidentifier() else "?" for part in map(str, first["loc"]))
        what = f"the answer is not in {protocol}'s protocol ({where}: {first['msg']})"
        raise ProposalFailed(what, cure=_PROTOCOL) from None
