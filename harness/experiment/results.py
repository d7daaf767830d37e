"""What came of the trials of a sweep: a row each, in a file that only grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.errors import InputError
from harness.experiment.lines import append_row, read_rows
from harness.experiment.plan import Cell
from harness.model.confidence import HowSure
from harness.model.verdict import Outcome
from harness.stats.basics import won

FILE = "trials.jsonl"  # in the sweep's folder
VERSION = 2  # of a row's shape: 1 had no live_fixes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One trial, as far as comparisons need it; times in seconds from the fault on, None: it did not happen.

    ``cell`` is empty for a trial that no sweep has run. ``wall_s`` is what the trial took as a whole. ``confidence``
    and its two siblings are of the last fix that went live, else of the last proposal; ``live_fixes`` has all that went
    live, in order, None where that was not kept. Of these only the last can have healed.
    """

    trial: str
    cell: str
    scenario: str
    scenario_hash: str
    fault_class: str
    control: bool
    fixer: str
    retriever: str
    model: str
    seed: int
    outcome: Outcome
    rule: str
    judge: str
    commit: str
    kb: str
    started_at: str
    wall_s: float
    detect_s: float | None = None
    propose_s: float | None = None
    recover_s: float | None = None
    confirm_s: float | None = None
    censored_s: float | None = None
    attempts: int = 0
    live: bool = False  # whether a fix ran where users were
    confidence: float | None = None
    retriever_confidence: float | None = None
    combined_confidence: float | None = None
    live_fixes: tuple[HowSure, ...] | None = None
    budget_burned: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    fixer_s: float = 0.0
    usd: float | None = None
    cohens_h: float | None = None
    version: int = VERSION

    @property
    def arm(self) -> str:
        return f"{self.fixer}@{self.retriever}"

    @property
    def measured(self) -> bool:
        return self.outcome is not Outcome.INVALID

    @property
    def tried(self) -> bool:
        """Whether it says anything of its cell. One that was interrupted, by Ctrl-C or a crash, was no try."""
        return self.rule != "interrupted"

    @property
    def good(self) -> bool:
        """Whether the arm did what was right: an outage healed, a control left alone."""
        return bool(won(self.outcome))

    @property
    def recovery(self) -> tuple[float, bool] | None:
        """Seconds, and whether it recovered then or was watched for so long. None: no outage, or not measured."""
        seconds = self.censored_s if self.recover_s is None else self.recover_s
        return None if self.control or not self.measured or seconds is None else (seconds, self.recover_s is not None)


_ROW = TypeAdapter(TrialRow)


def rows(folder: Path) -> list[TrialRow]:
    """Those of a sweep, oldest first. InputError names a damaged line, and one that a later harness has written."""
    found = read_rows(folder / FILE, _ROW, "a sweep")
    if newer := next((row for row in found if row.version > VERSION), None):
        what = f"{folder / FILE}: {newer.trial} is a row of version {newer.version}; this program reads up to {VERSION}"
        raise InputError(what, cure="read it with the version of the harness that wrote it")
    return found


def append(folder: Path, row: TrialRow) -> None:
    """On disk when it returns."""
    append_row(folder / FILE, asdict(row))


def row_of(
    verdict: Mapping[str, Any], *, cell: Cell | None, fault_class: str, control: bool, wall_s: float
) -> TrialRow:
    """From ``verdict.json``. In a sweep the fixer has the name that the sweep gave it, else its own."""
    trial, times, cost = verdict["trial"], verdict["times"], verdict["cost"]
    return TrialRow(
        trial=trial["id"],
        cell=cell.key if cell else "",
        scenario=trial["scenario"],
        scenario_hash=trial["scenario_hash"],
        fault_class=fault_class,
        control=control,
        fixer=cell.arm.fixer if cell else trial["fixer"],
        retriever=trial["retriever"],
        model=trial["model"],
        seed=trial["seed"],
        outcome=Outcome(verdict["outcome"]),
        rule=verdict["rule"],
        judge=verdict["judge"],
        commit=trial["commit"],
        kb=trial["kb"],
        started_at=trial["started_at"],
        wall_s=round(wall_s, 1),
        detect_s=times["detect_s"],
        propose_s=times["propose_s"],
        recover_s=times["recover_s"],
        confirm_s=times["confirm_s"],
        censored_s=times["censored_s"],
        attempts=len(verdict["attempts"]),
        live=any(attempt["deployment"] for attempt in verdict["attempts"]),
        confidence=verdict["confidence"],
        retriever_confidence=verdict["retriever_confidence"],
        combined_confidence=verdict["combined_confidence"],
        live_fixes=tuple(_how_sure(attempt) for attempt in verdict["attempts"] if attempt["deployment"]),
        budget_burned=verdict["error_budget_burned"],
        tokens_in=cost["tokens_in"],
        tokens_out=cost["tokens_out"],
        fixer_s=cost["seconds"],
        usd=cost["usd"],
        cohens_h=(verdict["efficacy"] or {}).get("cohens_h"),
    )


def _how_sure(attempt: Mapping[str, Any]) -> HowSure:
    return HowSure(
        confidence=(attempt["fix"] or {}).get("confidence"),
        retriever_confidence=attempt["retriever_confidence"],
        combined_confidence=attempt["combined_confidence"],
    )


def counted(found: Sequence[TrialRow]) -> list[TrialRow]:
    """Of each cell the trial that counts: the first that could be measured, else the last."""
    chosen: dict[str, TrialRow] = {}
    for row in found:
        known = chosen.get(row.cell)
        if known is None or not known.measured:
            chosen[row.cell] = row
    return list(chosen.values())
