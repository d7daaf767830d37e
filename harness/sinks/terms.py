"""What a trial's run in MLflow says, each name once: parameters, tags, metrics.

docs/metrics.md shows these tables, and ``harness.experiment.logged`` reads a trial's row back from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import InputError
from harness.model.confidence import HowSure
from harness.model.fix import Attempt
from harness.model.scenario import Scenario
from harness.model.verdict import Outcome, Trial, Verdict
from harness.model.window import Window
from harness.reading import read

TERMS = "3"  # version of these tables: a run of another one is logged again by `harness resume FOLDER`
INTERRUPTED = "INTERRUPTED"

PARAMS: Mapping[str, str] = {
    "scenario": "its name",
    "scenario_hash": "sha256 of the scenario's file and all that it names, and of the app's source",
    "fixer": "who was asked, by its own name",
    "model": "which model answered; of other fixers, a version",
    "retriever": "how past incidents were looked up",
    "kb": "the knowledge base that was searched, with a hash of its documents; empty: none was",
    "seed": "of arrivals and upstreams' draws: trials of one scenario and seed are a pair",
    "commit": "of the harness",
}
TAGS: Mapping[str, str] = {
    "kind": "`trial`; `sweep` for the run that is the parent of its trials",
    "trial_id": "its id, and the name of its folder; of a sweep, its token",
    "trace_id": "of its trace",
    "terms": "version of these tables",
    "scenario": "as the parameter",
    "class": "what kind of fault it is",
    "control": "`true` where nothing was to be mended: then LEFT_ALONE is right; else `false`",
    "fixer": "who was asked, by the name that the sweep gave it, else its own",
    "retriever": "as the parameter",
    "kb": "as the parameter",
    "judge": "version of the rules",
    "commit": "as the parameter",
    "outcome": "of the verdict, such as HEALED; `INTERRUPTED` where there is none",
    "rule": "what decided",
    "reason": "the same in words",
    "cell": "which trial of a sweep it was: scenario/fixer@retriever/repeat; empty: of none",
    "started_at": "ISO 8601, UTC",
    "live_fixes": "each fix that went live, in order, with its three confidences: a list in JSON",
    "prompts": "version and sha256 of each prompt that a proposal answers; its text is the artifact `prompt-N.md`",
}
METRICS: Mapping[str, str] = {
    "healed": "1 for HEALED, else 0; absent: INVALID",
    "live": "1 where a fix ran where users were, else 0",
    "attempts": "proposals and abstentions",
    "confidence": "0 to 1, as the fixer stated it before the outcome was known",
    "retriever_confidence": "0 to 1, how far the best passage stands out",
    "combined_confidence": "0 to 1, of both",
    "time_to_detect_s": "seconds from the injection of the fault on",
    "time_to_propose_s": "the same",
    "time_to_deploy_s": "the same",
    "time_to_recover_s": "the same, to the first of the good windows in a row",
    "time_to_confirm_s": "the same, to the end of the last of them",
    "censored": "1 where it never recovered, else 0",
    "censored_s": "then: for how many seconds it was watched",
    "error_budget_burned": "how many times faster than allowed the worst objective burned its budget since the fault",
    "cohens_h": "effect of the fault on the share of bad arrivals, 0 to pi",
    "tokens_in": "of all requests to a model",
    "tokens_out": "the same",
    "fixer_s": "seconds that proposals took",
    "cost_usd": "US dollars; absent: no price is known",
    "wall_s": "what the trial took as a whole, in seconds",
}
SERIES: Mapping[str, str] = {
    "p95_ms.ROUTE": "a point each window: latency from the intended start, in milliseconds; absent: no answer",
    "error_rate.ROUTE": "a point each window: the share of arrivals that got no right answer, 0 to 1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the events of a trial do not tell. None: nobody knows."""

    fault_class: str | None = None
    control: bool | None = None
    cell: str = ""
    fixer: str = ""  # by the name that a sweep gave it; empty: its own
    wall_s: float | None = None  # None: as long as its phases took


def beside(folder: Path, row: Mapping[str, object] | None = None) -> Beside:
    """From the scenario in the trial's folder, and from a sweep's row of the trial, where one ran it."""
    row = row or {}
    wall_s = row.get("wall_s")
    try:
        metadata = read(folder / "scenario.yml", Scenario)[0].metadata if (folder / "scenario.yml").is_file() else None
    except InputError:  # an older harness's: what else is known of the trial is logged all the same
        metadata = None
    return Beside(
        fault_class=metadata.fault_class if metadata else None,
        control=metadata.control if metadata else None,
        cell=str(row.get("cell", "")),
        fixer=str(row.get("fixer", "")),
        wall_s=float(wall_s) if isinstance(wall_s, int | float) else None,
    )


def params_of(trial: Trial) -> dict[str, str]:
    return {name: str(getattr(trial, name)) for name in PARAMS}


def tags_of(trial: Trial, verdict: Verdict | None, known: Beside) -> dict[str, str]:
    """All but those by which the run itself is found. What is unknown is absent."""
    tags = {name: str(getattr(trial, name)) for name in ("scenario", "retriever", "kb", "commit", "started_at")}
    tags |= {"fixer": known.fixer or trial.fixer, "cell": known.cell}
    if known.fault_class is not None:
        tags |= {"class": known.fault_class, "control": str(known.control).lower()}
    if verdict is None:
        return tags | {"outcome": INTERRUPTED}
    prompts = " ".join(attempt.fix.prompt for attempt in verdict.attempts if attempt.fix and attempt.fix.prompt)
    told = {"outcome": str(verdict.outcome), "judge": verdict.judge, "rule": verdict.rule, "reason": verdict.reason}
    told["live_fixes"] = json.dumps([asdict(_how_sure(attempt)) for attempt in verdict.attempts if attempt.deployment])
    return tags | told | ({"prompts": prompts} if prompts else {})


def _how_sure(attempt: Attempt) -> HowSure:
    return HowSure(
        confidence=attempt.fix.confidence if attempt.fix else None,
        retriever_confidence=attempt.retriever_confidence,
        combined_confidence=attempt.combined_confidence,
    )


def totals_of(verdict: Verdict, known: Beside) -> dict[str, float]:
    """The numbers of a trial; what is unknown is absent."""
    times, cost, efficacy = verdict.times, verdict.cost, verdict.efficacy
    took_s = round(max((phase.end_s for phase in verdict.phases), default=0.0), 1)
    numbers = {
        "healed": None if verdict.outcome is Outcome.INVALID else float(verdict.outcome is Outcome.HEALED),
        "live": float(any(attempt.deployment for attempt in verdict.attempts)),
        "attempts": float(len(verdict.attempts)),
        "confidence": verdict.confidence,
        "retriever_confidence": verdict.retriever_confidence,
        "combined_confidence": verdict.combined_confidence,
        "time_to_detect_s": times.detect_s,
        "time_to_propose_s": times.propose_s,
        "time_to_deploy_s": times.deploy_s,
        "time_to_recover_s": times.recover_s,
        "time_to_confirm_s": times.confirm_s,
        "censored": float(times.censored_s is not None),
        "censored_s": times.censored_s,
        "error_budget_burned": verdict.error_budget_burned,
        "cohens_h": efficacy.cohens_h if efficacy else None,
        "tokens_in": float(cost.tokens_in),
        "tokens_out": float(cost.tokens_out),
        "fixer_s": cost.seconds,
        "cost_usd": cost.usd,
        "wall_s": took_s if known.wall_s is None else known.wall_s,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def series_of(window: Window) -> dict[str, float]:
    """What a window says of each route."""
    numbers: dict[str, float] = {}
    for name, route in window.routes.items():
        if route.p95_ms is not None:
            numbers[f"p95_ms.{name}"] = route.p95_ms
        if route.arrivals:
            numbers[f"error_rate.{name}"] = route.wrong / route.arrivals
    return numbers
