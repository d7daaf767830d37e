"""What a language model answers, and how it becomes a ``Fix``.

One flat edit object serves all kinds: providers support JSON Schema in parts, and tagged unions are not among them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from harness.errors import ProposalFailed
from harness.model.fix import Cost, DeleteFile, Edit, Fix, ReplaceText, WriteFile

MAX_REPLY_CHARS: Final = 2_000_000
MAX_TEXT_CHARS: Final = 20_000
MAX_VERIFICATION_STEPS: Final = 50

_FENCED: Final = re.compile(r"\s*```[a-zA-Z]*[ \t]*\n(?P<body>.*)\n```\s*", re.DOTALL)
_ANNOTATIONS: Final = ("default", "title")
_CURE: Final = "Answer with one JSON object that follows the output contract, and nothing else."


# structured output wants every field to be required, so that none is forgotten
_CONFIG: Final = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class ReplyEdit(BaseModel):
    """One edit. The fields that its kind does not need are null."""

    model_config = _CONFIG

    kind: Literal["write", "replace", "delete"] = Field(description="write a whole file, replace a text, delete a file")
    path: str = Field(description="relative path as listed, with forward slashes")
    content: str | None = Field(default=None, description="write: the whole new file")
    search: str | None = Field(default=None, description="replace: text that occurs exactly once in the file")
    replace: str | None = Field(default=None, description="replace: what stands there afterwards")

    def edit(self) -> Edit:
        """The edit of the domain. ValueError when a field that the kind needs is missing, or one is too many."""
        match self.kind:
            case "write":
                self._refuse_extra("search", "replace")
                return WriteFile(path=self.path, content=self._given("content"))
            case "replace":
                self._refuse_extra("content")
                return ReplaceText(path=self.path, search=self._given("search"), replace=self._given("replace"))
            case "delete":
                self._refuse_extra("content", "search", "replace")
                return DeleteFile(path=self.path)

    def _given(self, field: str) -> str:
        value: str | None = getattr(self, field)
        if value is None:
            raise ValueError(f"kind {self.kind!r} needs the field {field!r}")
        return value

    def _refuse_extra(self, *fields: str) -> None:
        for field in fields:
            if getattr(self, field):  # an empty text means "unused" to some models, as null does
                raise ValueError(f"kind {self.kind!r} does not take the field {field!r}")


class Reply(BaseModel):
    """The output contract. Of a list the first wrong entry is told: a million complaints would fill the memory."""

    model_config = _CONFIG

    root_cause: str = Field(description="what is wrong in the code, and how the evidence shows it")
    remediation: str = Field(default="", description="what the edits change and why that heals; one line first")
    edits: Annotated[list[ReplyEdit], FailFast()] = Field(
        default=[], description="applied in order; empty when abstaining"
    )
    verification: Annotated[list[str], FailFast()] = Field(
        default=[], description="how to see that it worked, one step an entry"
    )
    confidence: float = Field(ge=0, le=1, description="probability that the edits heal the outage")
    abstain: bool = Field(default=False, description="true when no change to the code is right")


def response_schema() -> dict[str, Any]:
    """The contract as JSON Schema: every field required, no defaults or titles, which providers reject or ignore."""
    return plain(Reply.model_json_schema(mode="serialization"))


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without its annotations. No property of ours bears their names."""
    return {key: _plain(value) for key, value in schema.items() if key not in _ANNOTATIONS}


def read(text: str | None) -> Reply:
    """The model's text as a Reply; one Markdown fence around it is taken off. Raises ProposalFailed."""
    if not text or not text.strip():
        raise ProposalFailed("the model's answer is empty", cure=_CURE)
    if len(text) > MAX_REPLY_CHARS:
        raise ProposalFailed(
            f"the model's answer has {len(text)} characters, more than {MAX_REPLY_CHARS}",
            cure="Answer briefly: change only what is wrong.",
        )
    fenced = _FENCED.fullmatch(text)
    try:
        return Reply.model_validate_json(fenced["body"] if fenced else text)
    except ValidationError as error:
        raise ProposalFailed(
            f"the model's answer breaks the output contract: {_complaints(error)}", cure=_CURE
        ) from None


def block(text: str) -> str:
    """What a model without structured output means by its answer: its last fenced block that begins an object.

    Thoughts that it spoke aloud (``<think>``) are taken off. The text as it is, where there is no such block.
    Line by line: a regular expression over what a model wrote could take for ever.
    """
    if text.lstrip().startswith("<think>"):
        text = text.partition("</think>")[2]
    found, begun = text, -1
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if begun >= 0:
            body = "\n".join(lines[begun:number])
            found, begun = (body if body.lstrip().startswith("{") else found), -1
        else:
            begun = number + 1
    return found


def to_fix(reply: Reply, *, cost: Cost | None = None, model: str = "", prompt: str = "") -> Fix:
    """The reply as a Fix. Raises ProposalFailed where the reply contradicts itself or an edit is incomplete."""
    _check_consistent(reply)
    edits: list[Edit] = []
    for number, edit in enumerate(reply.edits, start=1):
        try:
            edits.append(edit.edit())
        except ValueError as error:
            raise ProposalFailed(f"edit {number} of the model's answer is unusable: {error}", cure=_CURE) from None
    return Fix(
        root_cause=reply.root_cause.strip(),
        edits=tuple(edits),
        remediation=reply.remediation.strip(),
        verification=tuple(step.strip() for step in reply.verification if step.strip()),
        confidence=reply.confidence,
        cost=cost or Cost(),
        model=model,
        prompt=prompt,
    )


def _check_consistent(reply: Reply) -> None:
    if not reply.root_cause.strip():
        raise ProposalFailed("the model's answer names no root cause", cure="Fill root_cause, also when abstaining.")
    if reply.abstain and reply.edits:
        raise ProposalFailed(
            "the model's answer abstains and has edits", cure="Abstain with no edits, or do not abstain."
        )
    if not reply.abstain and not reply.edits:
        raise ProposalFailed("the model's answer has no edits", cure="Give edits, or set abstain to true.")
    longest = max(len(text) for text in (reply.root_cause, reply.remediation, *reply.verification))
    if longest > MAX_TEXT_CHARS or len(reply.verification) > MAX_VERIFICATION_STEPS:
        raise ProposalFailed("the model's explanations are too long", cure="Explain in a few sentences.")


def _complaints(error: ValidationError) -> str:
    """The first complaints, without the answer's values: these go into logs and into the next prompt."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{_where(detail['loc'])}: {detail['msg']}" for detail in details[:5]]
    return "; ".join(lines)[:1000]


def _where(location: tuple[int | str, ...]) -> str:
    """``edits.0.path``; a key that the model made up is quoted, since it may hold anything."""
    parts = [str(part) if isinstance(part, int) or part.isidentifier() else ascii(part) for part in location]
    return ".".join(parts) or "the answer"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return plain(value)
    return [_plain(each) for each in value] if isinstance(value, list) else value
