"""What a killed harness left behind, brought to its end: each trial gets a verdict, a record and its run in MLflow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.model.event import Event, TrialEnded, TrialInterrupted, TrialStarted, WindowObserved
from harness.model.scenario import Scenario
from harness.model.verdict import Verdict
from harness.reading import read
from harness.services.shared import trial_postgres
from harness.services.supervisor import Supervisor
from harness.settings import Settings
from harness.sinks.journal import EVENTS, VERDICT, Journal, read_story
from harness.sinks.recorder import Recorder
from harness.sinks.tracking import LOG, TRACKED, tracking_env
from harness.trial.facts import gathered
from harness.trial.judge import judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A trial that was brought to its end. ``verdict`` is None where it had never begun: there is nothing to judge."""

    folder: Path
    verdict: Verdict | None


def unfinished(results: Path) -> list[Path]:
    """The trials in a results folder that lack a verdict, or the run in MLflow that was begun; the oldest first."""
    return sorted(path.parent for path in results.glob(f"*/{EVENTS}") if _lacks_something(path.parent))


def _lacks_something(folder: Path) -> bool:
    tracked = (folder / TRACKED).exists() or not (folder / LOG).exists()
    return not (tracked and (folder / VERDICT).exists())


def resume(folders: Sequence[Path], settings: Settings, *, track: bool = True) -> Iterator[Resumed]:
    """Judge each by what its journal tells, then record it. A trial that still runs is an InputError.

    A trial whose measurement was over is judged by it; any other is INVALID: an app that is no longer under load
    cannot be measured on. To call this twice changes nothing more.
    """
    for folder in folders:
        events = ended(folder)
        last = events[-1] if events else None
        if isinstance(last, TrialEnded):
            _record(folder, events, settings)
            if track:
                _track(folder)
        yield Resumed(folder=folder, verdict=last.verdict if isinstance(last, TrialEnded) else None)


def ended(folder: Path) -> list[Event]:
    """The events of the trial, with its end, which is written where it is missing."""
    with Journal(folder) as journal:
        story = list(read_story(folder))
        events: list[Event] = [event for event in story if not isinstance(event, WindowObserved)]
        if not events or not isinstance(events[0], TrialStarted) or isinstance(events[-1], TrialEnded):
            return events  # one that was interrupted before its first line has nothing to be judged
        scenario, _ = read(folder / "scenario.yml", Scenario)
        at_s, added = events[-1].at_s, list[Event]()
        facts = gathered(story, ended_s=at_s)
        if facts.began("teardown") is None and not facts.interrupted:
            phase = facts.phases[-1].name if facts.phases else "start"
            added.append(TrialInterrupted(at_s=at_s, reason=f"the harness was ended in the phase {phase}"))
        verdict = judge(scenario, gathered([*story, *added], ended_s=at_s))
        added.append(TrialEnded(at_s=at_s, verdict=verdict, windows=facts.windows))
        for event in added:
            journal(event)
        return [*events, *added]


def _record(folder: Path, events: Sequence[Event], settings: Settings) -> None:
    """The trial's rows in PostgreSQL, made anew."""
    started = events[0]
    if not isinstance(started, TrialStarted):
        raise InputError(f"{folder / EVENTS} does not begin with TrialStarted", cure="remove the folder")
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor())
        server = trial_postgres(supervisor, folder.resolve().parent, folder / "logs" / "postgres.log", settings)
        postgres = stack.enter_context(server)
        recorder = stack.enter_context(Recorder(postgres.url(postgres.home)))
        recorder.replay(started.trial, events)


def _track(folder: Path) -> None:
    """Its run in MLflow. What goes wrong there is no reason to lose the rest: its log tells."""
    (folder / LOG).parent.mkdir(exist_ok=True)
    with (folder / LOG).open("ab") as log:
        command = [sys.executable, "-P", "-m", "harness.sinks.tracking", str(folder.resolve())]
        env = tracking_env(folder.resolve().parent)
        subprocess.run(command, stdout=log, stderr=log, cwd=folder, env=env, check=False)
