"""Trials as sweeps keep them, made up: who heals when."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.experiment.results import TrialRow
from harness.experiment.sides import Side
from harness.model.verdict import Outcome

SEEDS = range(20)
Outcomes = Callable[[str, int], Outcome]


def row(scenario: str, arm: str, seed: int, outcome: Outcome = Outcome.HEALED) -> TrialRow:
    healed = outcome is Outcome.HEALED
    return TrialRow(
        trial=f"{scenario}-{arm}-{seed}",
        cell=f"{scenario}/{arm}@lexical/{seed}",
        scenario=scenario,
        scenario_hash=f"hash of {scenario}",
        fault_class="release",
        control=scenario == "quiet",
        fixer=arm,
        retriever="lexical",
        model="none",
        seed=seed,
        outcome=outcome,
        rule="recovered" if healed else "not-recovered",
        judge="5",
        commit="c391f1a",
        kb="",
        started_at="2026-11-29T00:00:00+00:00",
        wall_s=60.0,
        detect_s=2.0,
        recover_s=10.0 + seed % 3 if healed else None,
        censored_s=None if healed else 45.0,
        attempts=1,
        usd=0.01 * (1 + seed % 2),
    )


def trials(arm: str, outcome: Outcomes, scenarios: Iterable[str] = ("pool", "sql"), seeds: range = SEEDS) -> Side:
    made = {(name, seed): row(name, arm, seed, outcome(name, seed)) for name in scenarios for seed in seeds}
    return Side(name=arm, arms={f"{arm}@lexical": made})


def healed(_scenario: str, _seed: int) -> Outcome:
    return Outcome.HEALED


def never(_scenario: str, _seed: int) -> Outcome:
    return Outcome.NOT_HEALED


def half(_scenario: str, seed: int) -> Outcome:
    return Outcome.HEALED if seed % 2 else Outcome.NOT_HEALED
