"""Trials as tables for others: Parquet, and a card that says what is in them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import InputError
from harness.experiment.results import TrialRow, counted
from harness.experiment.sides import rows_of
from harness.identity import utc_now
from harness.sinks.journal import read_verdict, read_windows, write_atomically

VERSION = 1  # of the tables' shape: raised where a column changes its meaning, or goes
CARD = "README.md"

_TIME = "seconds from the injection of the fault on; empty: it did not happen"
TRIALS: Mapping[str, str] = {
    "trial": "its id, and the name of its folder",
    "counted": "whether it counts: of a sweep's cell the first that could be measured",
    "cell": "which trial of a sweep it was: scenario/fixer@retriever/repeat; empty: of none",
    "scenario": "its name",
    "scenario_hash": "sha256 of the scenario's file and all that it names, and of the app's source",
    "fault_class": "what kind of fault it is",
    "control": "whether nothing was to be mended: then LEFT_ALONE is right",
    "fixer": "who was asked",
    "retriever": "how past incidents were looked up",
    "model": "which model answered; of other fixers, a version",
    "seed": "of arrivals and upstreams' draws: trials of one scenario and seed are a pair",
    "outcome": "HEALED, LEFT_ALONE, NOT_HEALED, NOT_DETECTED, FALSE_ALARM; INVALID counts for nobody",
    "rule": "what decided",
    "judge": "version of the rules",
    "commit": "of the harness",
    "kb": "knowledge base, with a hash of its documents",
    "started_at": "ISO 8601, UTC",
    "wall_s": "what the trial took as a whole, in seconds",
    "detect_s": _TIME,
    "propose_s": _TIME,
    "recover_s": _TIME,
    "confirm_s": _TIME,
    "censored_s": "never recovered: for how many seconds it was watched (right-censored)",
    "attempts": "proposals and abstentions",
    "live": "whether a fix ran where users were",
    "confidence": "0 to 1, as the fixer stated it before the outcome was known",
    "retriever_confidence": "0 to 1, how far the best passage stands out",
    "combined_confidence": "0 to 1, of both",
    "live_fixes": "each fix that went live, in order, with these three: a list in JSON; empty: an older row has none",
    "budget_burned": "how many times faster than allowed the worst objective burned its budget since the fault",
    "tokens_in": "of all requests to a model",
    "tokens_out": "the same",
    "fixer_s": "seconds that proposals took",
    "usd": "US dollars; empty: no price is known",
    "cohens_h": "effect of the fault on the share of bad arrivals, 0 to pi",
    "version": "of the row that this was made of",
}
ATTEMPTS: Mapping[str, str] = {
    "trial": "its id",
    "number": "from 1",
    "outcome": "what became of it",
    "rule": "why it came to nothing; empty: it recovered",
    "started_s": "seconds since the trial began",
    "proposed_s": "the same; empty: nothing was proposed",
    "deployed_s": "the same; empty: it never went live",
    "confidence": "0 to 1, as the fixer stated it",
    "retriever_confidence": "0 to 1",
    "combined_confidence": "0 to 1",
    "edits": "how many files it changes",
    "flags": "how many things the review found",
    "vetoes": "how many of them forbid it",
    "tokens_in": "of its requests",
    "tokens_out": "the same",
    "fixer_s": "seconds that the proposal took",
    "usd": "US dollars; empty: no price is known",
}
WINDOWS: Mapping[str, str] = {
    "trial": "its id",
    "window": "number, from 0",
    "start_s": "seconds since the trial began: arrivals whose intended start lies from here ...",
    "end_s": "... to before here",
    "route": "of the load",
    "ok": "right answers in time",
    "slow": "right answers, too late",
    "failed": "wrong answers, errors, time-outs",
    "dropped": "never sent: the cap on requests in flight was reached",
    "pending": "no answer ever",
    "p50_ms": "latency from the intended start, in milliseconds; empty: nothing was answered",
    "p95_ms": "the same",
    "p99_ms": "the same",
    "lag_p99_ms": "how late the generator itself was",
}
_CARD = """# Trials of fixers under live load

{count} trials, exported {at}, tables of version {version}. Each trial broke a running app under open-loop load, gave
the incident to a fixer, deployed what it proposed, and judged by hidden checks whether users got right answers again.

- outcomes: {outcomes}
- judges: {judges}; compare only trials of one judge and one `scenario_hash`
- commits of the harness: {commits}
- INVALID trials could not be measured. They are kept, and count for nobody
- times are right-censored: what never recovered has `censored_s` and no `recover_s`; do not average these away
- trials of one scenario and seed are a pair; those of one scenario are not independent of one another
- no code, no log, no prompt and no secret is in these tables"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Files that were written, with the rows of each table."""

    folder: Path
    rows: Mapping[str, int]


def export(folders: Sequence[Path], to: Path) -> Exported:
    """The trials of these folders (of sweeps, or of trials) into ``to``, which must be new or empty. InputError."""
    if to.exists() and any(to.iterdir()):
        raise InputError(f"{to} is not empty", cure="name a new folder: what is there is not overwritten")
    found = {folder: rows_of(folder, every=True) for folder in folders}
    trials = [(folder, row) for folder, of_folder in found.items() for row in of_folder]
    if not trials:
        raise InputError("there is no trial that has ended", cure="run some: harness sweep --help")
    counting = {row.trial for of_folder in found.values() for row in _counting(of_folder)}
    tables = {
        "trials": ([{**_plain(row), "counted": row.trial in counting} for _, row in trials], TRIALS),
        "attempts": ([each for folder, row in trials for each in _attempts(folder / row.trial)], ATTEMPTS),
        "windows": ([each for folder, row in trials for each in _windows(folder / row.trial)], WINDOWS),
    }
    import pandas as pd  # type: ignore[import-untyped] # noqa: PLC0415 - it publishes no types; a second to import

    to.mkdir(parents=True, exist_ok=True)
    for name, (table, columns) in tables.items():
        pd.DataFrame(table, columns=list(columns)).to_parquet(to / f"{name}.parquet", index=False)
    sizes = {name: len(table) for name, (table, _) in tables.items()}
    card = _card([row for _, row in trials], {name: columns for name, (_, columns) in tables.items()}, sizes)
    write_atomically(to / CARD, card.encode())
    return Exported(folder=to, rows=sizes)


def _counting(found: Sequence[TrialRow]) -> list[TrialRow]:
    """Of trials that no sweep has run, all."""
    return [*counted([row for row in found if row.cell]), *(row for row in found if not row.cell)]


def _plain(row: TrialRow) -> dict[str, object]:
    told = asdict(row)
    live = None if row.live_fixes is None else json.dumps(told["live_fixes"])
    return {**told, "outcome": str(row.outcome), "live_fixes": live}


def _attempts(folder: Path) -> Iterator[dict[str, object]]:
    verdict = read_verdict(folder)
    for each in verdict.attempts if verdict else ():
        yield {
            "trial": folder.name,
            "number": each.number,
            "outcome": each.outcome,
            "rule": each.rule,
            "started_s": each.started_s,
            "proposed_s": each.proposed_s,
            "deployed_s": each.deployed_s,
            "confidence": each.fix.confidence if each.fix else None,
            "retriever_confidence": each.retriever_confidence,
            "combined_confidence": each.combined_confidence,
            "edits": len({edit.path for edit in each.fix.edits}) if each.fix else 0,
            "flags": len(each.flags),
            "vetoes": sum(flag.severity == "veto" for flag in each.flags),
            "tokens_in": each.cost.tokens_in,
            "tokens_out": each.cost.tokens_out,
            "fixer_s": each.cost.seconds,
            "usd": each.cost.usd,
        }


def _windows(folder: Path) -> Iterator[dict[str, object]]:
    if not folder.is_dir():  # a row whose folder was removed: its windows are gone
        return
    for window in read_windows(folder):
        when = {"trial": folder.name, "window": window.index, "start_s": window.start_s, "end_s": window.end_s}
        for route, seen in window.routes.items():
            yield {**when, "route": route, **asdict(seen), "lag_p99_ms": window.lag_p99_ms}


def _card(trials: Sequence[TrialRow], tables: Mapping[str, Mapping[str, str]], sizes: Mapping[str, int]) -> str:
    """See T. Gebru et al., "Datasheets for Datasets", Communications of the ACM 64, 2021."""
    outcomes = Counter(str(row.outcome) for row in trials)
    commits = sorted({row.commit[:12] for row in trials if row.commit})
    head = _CARD.format(
        count=len(trials),
        at=utc_now(),
        version=VERSION,
        outcomes=", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())),
        judges=", ".join(sorted({row.judge for row in trials})),
        commits=", ".join(commits) or "unknown",
    )
    parts = [head]
    for name, columns in tables.items():
        parts += ["", f"## {name}.parquet", "", f"{sizes[name]} rows.", "", "| column | is |", "|---|---|"]
        parts += [f"| `{column}` | {what} |" for column, what in columns.items()]
    return "\n".join([*parts, ""])
