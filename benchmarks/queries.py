"""Queries for ``harness kb eval`` from the journals of real trials: ``python -m benchmarks.queries RESULTS...``.

Each folder RESULTS is searched for trials (events.jsonl). Used are those that ended with a verdict other than INVALID,
and asked a knowledge base for an incident by words, as ``lexical`` and ``hybrid`` do; of each scenario ``--trials`` of
them, those whose ids have the least sha256. An incident is told in six forms (``FORMS``). Written are
kb/evaluation/queries.jsonl and origins.json, the same for the same trials; splits come from judgments.yml, which is
written by hand. Where a judged scenario has fewer than ``--least`` trials, nothing is written.

Nothing is put into words anew: lines are left out, long tracebacks lose their middle, and what names the machine or
could be a secret is taken out. A query that names a scenario is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

from harness.errors import InputError
from harness.model.event import IncidentAnalyzed, IncidentCreated, TrialEnded
from harness.model.incident import Incident
from harness.model.verdict import Outcome
from harness.redaction import redacted, redacted_incident
from harness.retrieval.judged import EVALUATION, ORIGINS, QUERIES, Query, Split, splits_of
from harness.retrieval.query import MARKER
from harness.sinks.journal import EVENTS, read_events, write_atomically

FORMS = ("whole", "first_signal", "symptoms", "logs", "unmarked", "noise")
TRIALS = 4  # of each scenario
LINES, CHARS = 20, 3000  # of the log, in one query: the newest
TELLING = 8  # lines of the incident that stand in a query of the form "noise"; the others are INFO
AROUND_S = 10.0  # INFO lines are from so long before the incident
TRACE_CHARS = 400  # of a traceback are kept at its end, which names the error

_CRUMB = re.compile(r"(?:release|signal:|route) ")  # what an incident's breadcrumbs begin with
_MACHINE = re.compile(r"/(?:tmp|home|root|usr|opt|var|work|srv|mnt|private|Users|builds|run|etc)/[^\s\"'\\:,)]*")
_OURS = re.compile(r".*/(?:site-packages|workspace|python3\.\d+)/")
_PORT = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]):\d+")
_MARKER_FIELD = re.compile(r"\"marker\": \"FAULT_\w+\"(?:, )?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """How one trial's incident was noticed. ``info`` are lines of the app's log from shortly before, oldest first."""

    trial: str
    scenario: str
    first: Incident  # at the first signal
    incident: Incident  # some seconds later, as the knowledge base was asked for it
    info: tuple[str, ...]


def noticed(folder: Path) -> Noticed | None:
    """What the trial in this folder noticed; None: it noticed nothing, has not ended, or could not be measured."""
    events = tuple(read_events(folder))
    ended = next((event for event in events if isinstance(event, TrialEnded)), None)
    created = next((event for event in events if isinstance(event, IncidentCreated)), None)
    asked = next((event.query for event in events if isinstance(event, IncidentAnalyzed)), "")
    if not ended or not created or not asked or ended.verdict.outcome is Outcome.INVALID:
        return None
    trial = ended.verdict.trial
    return Noticed(
        trial=trial.id,
        scenario=trial.scenario,
        first=_cleaned(created.incident),
        incident=_cleaned(_as_asked(asked, created.incident)),
        info=_info(folder / "logs" / "web.log", datetime.fromisoformat(created.incident.detected_at)),
    )


def queries_of(found: Sequence[Noticed], splits: Mapping[str, Split]) -> tuple[list[Query], dict[str, str]]:
    """All queries, and from which scenario each trial is. InputError where one names a scenario."""
    queries: list[Query] = []
    origins: dict[str, str] = {}
    for number, each in enumerate(sorted(found, key=_drawn), start=1):
        trial = f"t{number:03}"
        origins[trial] = each.scenario
        for form, told in _forms(each):
            query = Query(
                id=f"q{len(queries) + 1:03}",
                split=splits[each.scenario],
                trial=trial,
                form=form,
                error_code=told.error_code,
                symptoms=told.symptoms,
                breadcrumbs=told.breadcrumbs,
                logs=_newest(told.logs),
            )
            _refuse_names(query, each.trial, splits)
            queries.append(query)
    return queries, origins


def chosen(folders: Sequence[Path], splits: Mapping[str, Split], *, trials: int, least: int) -> list[Noticed]:
    """Of each judged scenario so many trials. InputError tells where there are fewer than ``least``."""
    by_scenario: dict[str, dict[str, Noticed]] = defaultdict(dict)
    for events in sorted(events for folder in folders for events in folder.rglob(EVENTS)):
        each = noticed(events.parent)
        if each and each.scenario in splits:
            by_scenario[each.scenario][each.trial] = each
    short = [f"{name} ({len(by_scenario[name])})" for name in sorted(splits) if len(by_scenario[name]) < least]
    if short:
        raise InputError(
            f"fewer than {least} trials with an incident: {', '.join(short)}",
            cure="name more result folders, run more trials, or ask for fewer by --least",
        )
    return [each for name in sorted(splits) for each in sorted(by_scenario[name].values(), key=_drawn)[:trials]]


def write(folder: Path, queries: Sequence[Query], origins: Mapping[str, str]) -> None:
    lines = (json.dumps(query.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False) for query in queries)
    write_atomically(folder / QUERIES, "".join(f"{line}\n" for line in lines).encode())
    write_atomically(folder / ORIGINS, (json.dumps(origins, indent=2) + "\n").encode())


def _forms(each: Noticed) -> Iterator[tuple[str, Incident]]:
    """Left out is what would tell nothing: ``logs`` without a line, and ``noise`` without an INFO line."""
    incident = each.incident
    yield "whole", incident
    yield "first_signal", each.first
    yield "symptoms", replace(incident, breadcrumbs=(), logs=())
    if incident.logs:
        yield "logs", replace(incident, error_code="", symptoms="", breadcrumbs=())
    yield "unmarked", _unmarked(incident)
    if each.info:
        step = max(1, len(each.info) // (LINES - TELLING))
        logs = (*each.info[::step][: LINES - TELLING], *_newest(incident.logs)[-TELLING:])
        yield "noise", replace(incident, breadcrumbs=(), logs=logs)


def _as_asked(query: str, first: Incident) -> Incident:
    """Read back from ``query_text``: error code, symptoms, breadcrumbs, log, one a line."""
    code, symptoms, *rest = [*query.splitlines(), "", ""]
    crumbs = tuple(takewhile(_CRUMB.match, rest))
    logs = tuple(line for line in rest[len(crumbs) :] if line)
    return replace(first, error_code=code, symptoms=symptoms, breadcrumbs=crumbs, logs=logs)


def _unmarked(incident: Incident) -> Incident:
    """As an app tells it that has no markers."""
    clauses = [clause for clause in incident.symptoms.split("; ") if not MARKER.search(clause)]
    return replace(
        incident,
        error_code="",
        symptoms="; ".join(clauses),
        breadcrumbs=tuple(crumb for crumb in incident.breadcrumbs if not MARKER.search(crumb)),
        logs=tuple(MARKER.sub("", _MARKER_FIELD.sub("", line)) for line in incident.logs),
    )


def _info(log: Path, detected_at: datetime) -> tuple[str, ...]:
    """INFO lines of the last ``AROUND_S`` before the incident."""
    if not log.is_file():
        return ()
    since = detected_at - timedelta(seconds=AROUND_S)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if '"level": "INFO"' in line and (at := _at(line)) and since <= at <= detected_at]
    return tuple(_without_machine(line) for line in redacted("\n".join(kept)).split("\n")) if kept else ()


def _at(line: str) -> datetime | None:
    """When it was logged, also where the line was cut short."""
    found = re.search(r"\"ts\": \"([^\"]+)\"", line)
    try:
        return datetime.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def _cleaned(incident: Incident) -> Incident:
    told = redacted_incident(incident)
    return replace(
        told,
        symptoms=_without_machine(told.symptoms),
        breadcrumbs=tuple(_without_machine(crumb) for crumb in told.breadcrumbs),
        logs=tuple(_without_machine(_shortened(line)) for line in told.logs),
    )


def _without_machine(text: str) -> str:
    """A path from where the app or its libraries lie, else the last part of it; no port of this machine."""
    return _PORT.sub(r"\1", _MACHINE.sub(lambda match: _tail(match[0]), text))


def _tail(path: str) -> str:
    ours = _OURS.match(path)
    return path[ours.end() :] if ours else path.rstrip("/").rsplit("/", 1)[-1]


def _shortened(line: str) -> str:
    """Of a traceback in a JSON record, the first line and the end."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    trace = record.get("exception") if isinstance(record, dict) else None
    if not isinstance(trace, str) or len(trace) <= TRACE_CHARS:
        return line
    first, _, _ = trace.partition("\n")
    end = trace[-TRACE_CHARS:].partition("\n")[2] or trace[-TRACE_CHARS:]
    return json.dumps({**record, "exception": f"{first}\n  ...\n{end}"})


def _newest(lines: Sequence[str]) -> tuple[str, ...]:
    """The last ``LINES`` lines, as far as ``CHARS`` go; always one."""
    kept: list[str] = []
    for line in reversed(lines[-LINES:]):
        if kept and sum(map(len, kept)) + len(line) > CHARS:
            break
        kept.append(line)
    return tuple(reversed(kept))


def _refuse_names(query: Query, trial: str, names: Mapping[str, Split]) -> None:
    text = query.model_dump_json().lower()
    for name in names:
        if name in text or name.replace("_", "-") in text:
            raise InputError(f"trial {trial}, form {query.form}: it names its answer, {name}", cure="leave it out")


def _drawn(each: Noticed) -> str:
    return hashlib.sha256(each.trial.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each scenario (%(default)s)")
    parser.add_argument("--least", type=int, default=TRIALS, help="fewer of one are an error (%(default)s)")
    parser.add_argument("--into", type=Path, default=Path("kb") / EVALUATION, help="(%(default)s)")
    options = parser.parse_args()
    splits = splits_of(options.into)
    found = chosen(options.results, splits, trials=options.trials, least=options.least)
    queries, origins = queries_of(found, splits)
    write(options.into, queries, origins)
    scenarios = len(set(origins.values()))
    print(f"{len(queries)} queries from {len(origins)} trials of {scenarios} scenarios in {options.into}")


if __name__ == "__main__":
    main()
