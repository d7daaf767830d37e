"""What a fixer in another process is asked, and what it answers, as JSON: both sides import this."""

from __future__ import annotations

import json
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import ProposalFailed
from harness.model.fix import Attempt, Cost, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree

MAX_SECONDS: Final = 900.0  # the longest that a Lambda function may run
_CONFIG: Final = ConfigDict(frozen=True, extra="forbid")


class Errand(BaseModel):
    """``Fixer.propose`` as a message. ``answer_url``: where the answer is to be PUT, for those who do not wait."""

    model_config = _CONFIG

    incident: Incident
    passages: tuple[Passage, ...] = ()
    tree: SourceTree
    earlier: tuple[Attempt, ...] = ()
    budget_s: Annotated[float, Field(gt=0, le=MAX_SECONDS)] = MAX_SECONDS
    answer_url: str | None = None

    def payload(self) -> bytes:
        """JSON in UTF-8. What cannot be said in it, lone surrogates, is replaced. ValueError on numbers that are none.

        The same errand gives the same bytes.
        """
        return _json(self)


class Answer(BaseModel):
    """A fix, or why there is none, with its cure and what that cost."""

    model_config = _CONFIG

    fix: Fix | None = None
    refused: str = ""
    cure: str = ""
    cost: Cost = Cost()

    @classmethod
    def of_failure(cls, error: ProposalFailed) -> Self:
        return cls(refused=error.message, cure=error.cure, cost=error.cost if isinstance(error.cost, Cost) else Cost())

    def payload(self) -> bytes:
        """As above."""
        return _json(self)


def read_answer(payload: bytes) -> Fix:
    """The fix in an answer. ProposalFailed where it holds none, or is no answer."""
    try:
        answer = Answer.model_validate_json(payload)
    except ValidationError as error:
        cure = "The function must run a handler of the same version: pack and deploy it anew."
        raise ProposalFailed(f"the answer cannot be read: {complaint(error)}", cure=cure) from None
    if answer.fix is None:
        raise ProposalFailed(answer.refused or "the answer holds no fix", cure=answer.cure, cost=answer.cost)
    return answer.fix


def complaint(error: ValidationError) -> str:
    """The first one: where, and what. Not the value: it may be anything."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(ascii(part).strip("'") for part in first["loc"])[:200]
    return f"{where or 'the whole'}: {first['msg'][:300]}"


def _json(model: BaseModel) -> bytes:
    values = model.model_dump(mode="json")
    return json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=True).encode(errors="replace")
