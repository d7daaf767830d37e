"""The verdict again, from a trial's folder alone: by today's rules, whatever rules were in force then."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from harness.errors import InputError
from harness.experiment.results import TrialRow, row_of
from harness.model.event import TrialEnded
from harness.model.scenario import Scenario
from harness.model.verdict import Verdict
from harness.reading import read
from harness.sinks.journal import read_story, read_verdict, verdict_json, write_atomically
from harness.trial.facts import gathered
from harness.trial.judge import judge

REJUDGED = "rejudged.json"


def rejudge(folder: Path) -> Verdict:
    """Read the journal in ``folder``, judge it, and put the verdict into ``rejudged.json`` beside the first one.

    InputError where the folder holds no trial, a damaged one, or one that has not ended.
    """
    events = list(read_story(folder))
    ended = next((event for event in events if isinstance(event, TrialEnded)), None)
    if ended is None:
        raise InputError(f"the trial in {folder} has not ended", cure=f"end it first: harness resume {folder}")
    scenario, _ = read(folder / "scenario.yml", Scenario)
    verdict = judge(scenario, gathered(events, ended_s=ended.at_s))
    write_atomically(folder / REJUDGED, (verdict_json(verdict) + "\n").encode("utf-8", "replace"))
    return verdict


def judged_last(row: TrialRow, folder: Path) -> TrialRow:
    """The row by ``rejudged.json`` in the trial's ``folder``, where a newer judge than the row's has written that.

    Cell, fixer's name and ``wall_s`` stay: no verdict knows what the sweep knows. InputError where the file is damaged.
    """
    try:
        verdict = read_verdict(folder, REJUDGED)
    except InputError as error:
        raise InputError(error.message, cure=f"write it anew: harness rejudge {folder}") from None
    if verdict is None or _version(verdict.judge) <= _version(row.judge):
        return row
    told = row_of(
        json.loads(verdict_json(verdict)),
        cell=None,
        fault_class=row.fault_class,
        control=row.control,
        wall_s=row.wall_s,
    )
    return replace(told, cell=row.cell, fixer=row.fixer, wall_s=row.wall_s)


def _version(judge: str) -> int:
    """The first one did not say which it was."""
    return int(judge) if judge.isdecimal() else 1
