"""The verdict again, from a trial's folder alone: by today's rules, whatever rules were in force then."""

from __future__ import annotations

from pathlib import Path

from harness.errors import InputError
from harness.model.event import TrialEnded
from harness.model.scenario import Scenario
from harness.model.verdict import Verdict
from harness.reading import read
from harness.sinks.journal import read_story, verdict_json, write_atomically
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
