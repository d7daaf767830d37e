"""What a fixer proposes, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from harness.model.incident import Passage
from harness.model.source import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile:
    """Replace or create a whole file."""

    path: str
    content: str
    kind: Literal["write"] = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceText:
    """Replace ``search``, which must occur exactly once in the file."""

    path: str
    search: str
    replace: str
    kind: Literal["replace"] = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteFile:
    """Remove a file."""

    path: str
    kind: Literal["delete"] = "delete"


Edit = WriteFile | ReplaceText | DeleteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a proposal cost. ``usd`` is None where no price is known, and the known part where only some is."""

    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0  # all that is billed as output: what was said, and what was thought
    tokens_thought: int = 0  # that part of tokens_out which the model kept to itself
    calls: int = 0  # requests sent to a model, also those that failed
    usd: float | None = None

    def __add__(self, other: Cost) -> Cost:
        known = [usd for usd in (self.usd, other.usd) if usd is not None]
        return Cost(
            seconds=self.seconds + other.seconds,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            tokens_thought=self.tokens_thought + other.tokens_thought,
            calls=self.calls + other.calls,
            usd=sum(known) if known else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A proposal. No edits means that the fixer abstains, and ``root_cause`` says why."""

    root_cause: str
    edits: tuple[Edit, ...] = ()
    remediation: str = ""
    verification: tuple[str, ...] = ()
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None  # as the fixer stated it, before the outcome is known
    cost: Cost = field(default_factory=Cost)
    model: str = ""
    prompt: str = ""  # "<version> <sha256>" of the prompt that it answers; empty where there was none

    @property
    def abstains(self) -> bool:
        return not self.edits


Severity = Literal["note", "warning", "veto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """What the review of a patch found. A veto keeps the patch from being deployed, and outranks a recovery."""

    rule: str  # such as removed-route
    severity: Severity
    path: str
    line: int  # in the patched file, from 1; 0: the file as a whole
    message: str


AttemptOutcome = Literal["abstained", "failed", "refused", "vetoed", "canary_failed", "not_recovered", "recovered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One turn of the loop, kept whole so that the next turn can be told why this one failed."""

    number: int  # from 1
    outcome: AttemptOutcome
    reason: str
    passages: tuple[Passage, ...] = ()
    fix: Fix | None = None  # None: the fixer gave no usable proposal
    flags: tuple[Flag, ...] = ()  # what the review of the patch found, vetoes first
    rule: str = ""  # why it came to nothing: the rule of the guard or the review, "canary", "proposal"
    deployment: Deployment | None = None  # None: it never went live
    started_s: float = 0.0
    proposed_s: float | None = None
    deployed_s: float | None = None
    lost: Cost | None = None  # what a proposal cost that was of no use; a fix tells its own
    retrieval_failed: str = ""  # why nothing could be looked up
    retriever_confidence: float | None = None  # 0-1: how far the best passage stands out
    combined_confidence: float | None = None  # 0-1: of this and the fixer's own

    @property
    def cost(self) -> Cost:
        """What the proposal cost, whatever came of it."""
        return self.fix.cost if self.fix else self.lost or Cost()
