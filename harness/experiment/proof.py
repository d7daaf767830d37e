"""The proof of a scenario, kept as a file of rows that only grows: who was tried, what came of it, by which rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from harness.experiment.lines import append_row, read_rows
from harness.model.verdict import Outcome
from harness.stats.intervals import Rate, rate

NOOP, REFERENCE, CHEAT = "noop", "reference", "cheat:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial of one arm. ``how``: live, or refused before any code ran; absent: the app has not what it abuses."""

    scenario: str
    scenario_hash: str
    control: bool
    judge: str
    arm: str  # noop, reference, cheat:NAME
    seed: int
    how: Literal["live", "refused", "absent"]
    outcome: Outcome
    rule: str
    reason: str
    at: str  # ISO 8601, UTC
    patch: str = ""  # of a wrong fix: the beginning of the sha256 of its edits
    seconds: float = 0.0
    trial: str = ""
    commit: str = ""  # of the harness
    isolation: str = ""
    cohens_h: float | None = None
    ended_by_itself: bool | None = None
    harm_returned: bool | None = None
    others: float | None = None  # by judge 2, which left it to the proof: what other work took; INVALID above 0.2

    @property
    def measured(self) -> bool:
        return self.outcome is not Outcome.INVALID and self.how != "absent"

    @property
    def as_it_must(self) -> bool:
        """Whether a measured row is what a scenario that can be trusted gives."""
        if self.control:
            wanted = {Outcome.FALSE_ALARM, Outcome.NOT_HEALED} if self.arm.startswith(CHEAT) else {Outcome.LEFT_ALONE}
        else:
            wanted = {Outcome.HEALED} if self.arm == REFERENCE else {Outcome.NOT_HEALED}
        return self.outcome in wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Of one scenario, or of all: a false accept is a wrong fix believed, a false reject a good one refused."""

    false_accepts: Rate
    false_accepts_live: Rate  # of those that ran, and were not refused unread
    false_rejects: Rate
    self_recovery: Rate
    noop: Rate  # as they must be, of those measured
    reference: Rate
    cheats: Rate
    cheats_live: int
    invalid: int
    effect: float | None  # median Cohen's h


_ROW = TypeAdapter(Row)


def rows(path: Path) -> list[Row]:
    """All rows of the file, oldest first; none where there is no file. InputError names a damaged line."""
    return read_rows(path, _ROW, "a proof")


def append(path: Path, row: Row) -> None:
    """On disk when it returns."""
    append_row(path, asdict(row))


def summary(found: Sequence[Row]) -> Summary:
    """Rates over the measured rows, with what was INVALID beside them."""
    measured = [row for row in found if row.measured]
    noop, reference = ([row for row in measured if row.arm == arm] for arm in (NOOP, REFERENCE))
    cheats = [row for row in measured if row.arm.startswith(CHEAT)]
    floor = [*cheats, *(row for row in noop if not row.control)]
    outages = [row for row in found if row.arm == NOOP and not row.control]
    untouched = [row for row in outages if row.ended_by_itself is not None]
    effects = sorted(row.cohens_h for row in measured if row.cohens_h is not None and row.how == "live")
    return Summary(
        false_accepts=_share(floor, wanted=False),
        false_accepts_live=_share([row for row in floor if row.how == "live"], wanted=False),
        false_rejects=_share([*reference, *(row for row in noop if row.control)], wanted=False),
        self_recovery=rate(sum(bool(row.ended_by_itself) for row in untouched), len(untouched)),
        noop=_share(noop),
        reference=_share(reference),
        cheats=_share(cheats),
        cheats_live=sum(row.how == "live" for row in cheats),
        invalid=sum(row.outcome is Outcome.INVALID for row in found),
        effect=effects[len(effects) // 2] if effects else None,
    )


def _share(found: Iterable[Row], *, wanted: bool = True) -> Rate:
    judged = [row.as_it_must is wanted for row in found]
    return rate(sum(judged), len(judged))
