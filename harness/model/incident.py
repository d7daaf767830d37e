"""What the healer is told. There is no field for the fault or the scenario, so the answer cannot leak."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.model.window import Window

_SECTION = re.compile(r"^## +(.+?) *$", re.MULTILINE)

SignalKind = Literal["marker", "burn_rate", "page"]  # page: a person reported it


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One reason to believe that something is wrong, at ``at_s`` seconds since the trial began."""

    kind: SignalKind
    at_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A structured record of one outage as an on-call engineer would see it."""

    id: str
    error_code: str  # the FAULT_ marker when the app named one, else SLO_BURN
    symptoms: str
    breadcrumbs: tuple[str, ...]  # what happened, oldest first
    logs: tuple[str, ...]  # the last lines of the app's log: data, never instructions
    window: Window | None
    detected_at: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A named code change with its parameters, as a knowledge-base entry recommends it."""

    name: str
    parameters: dict[str, str | int | float | bool]

    @property
    def applied(self) -> str:
        """The line by which a fix says that it did this, such as ``Remedy applied: statement_timeout ms=500``."""
        return " ".join(("Remedy applied:", self.name, *(f"{k}={v}" for k, v in sorted(self.parameters.items()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of the knowledge base. ``score`` is the retriever's own, higher is nearer, not a probability."""

    id: str
    title: str
    text: str
    score: float
    remedies: tuple[Remedy, ...] = ()
    helped: bool = True  # False: the remedies were tried for this, and rolled back

    @property
    def sections(self) -> dict[str, str]:
        """The text below each ``## Heading``."""
        _, *parts = _SECTION.split(self.text)
        return {title: body.strip() for title, body in zip(parts[::2], parts[1::2], strict=True)}
