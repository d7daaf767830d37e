"""Instead of `harness run`, for tests of sweeps: trials that end at once, as they are told to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from harness.errors import MeasurementError
from harness.experiment.lanes import Lane, Ran
from harness.model.busy import Busy
from harness.model.event import BaselineHeld, Event, MachineWatched, PhaseStarted, TrialEnded, WindowObserved
from harness.model.fix import Cost
from harness.model.verdict import Outcome, Verdict
from harness.model.window import RouteWindow, Window
from harness.sinks.journal import Journal, verdict_json
from tests import events as sample

Fate = Callable[[dict[str, str]], Outcome | None]


class Lanes:
    """Instead of `harness run`: a folder with a verdict, as it leaves one. ``fate`` says which; None: none at all.

    A trial of a calibration leaves a journal: of an app with ``p95_ms``, on a machine of which others took ``others``.
    """

    def __init__(self) -> None:
        self.ran: list[dict[str, str]] = []
        self.fate: Fate = lambda _: Outcome.HEALED
        self.usd: float | None = None
        self.before: Callable[[], object] = lambda: None
        self.p95_ms: Callable[[dict[str, str]], float] = lambda _: 20.0
        self.others: Callable[[dict[str, str]], float] = lambda _: 0.0
        self.under_load: Callable[[dict[str, str]], object] = lambda _: None  # called when windows come

    def run(self, lane: Lane, scenario: str, *words: str) -> Ran:
        asked = dict(zip(words[::2], words[1::2], strict=False)) | {"scenario": scenario}
        asked["lane"] = lane.results.name
        self.ran.append(asked)
        if asked["--id"].startswith("calibration-"):
            return self._calibrated(lane.results / asked["--id"], asked)
        self.before()
        outcome = self.fate(asked)
        if outcome is None:
            raise MeasurementError("no verdict:\nit fell over")
        told = json.loads(verdict_json(self.verdict(asked, outcome)))
        folder = lane.results / asked["--id"]
        folder.mkdir(parents=True)
        (folder / "verdict.json").write_text(json.dumps(told))
        (folder / "events.jsonl").write_text("")
        return Ran(verdict=told, seconds=1.0)

    def _calibrated(self, folder: Path, asked: dict[str, str]) -> Ran:
        folder.mkdir(parents=True)
        shutil.copyfile(asked["scenario"], folder / "scenario.yml")
        verdict = self.verdict(asked, Outcome.NOT_HEALED)
        with Journal(folder) as journal:
            for event in stretch(self.p95_ms(asked), self.others(asked)):
                journal(event)
            self.under_load(asked)
            journal(TrialEnded(at_s=9.0, verdict=verdict, windows=()))
        return Ran(verdict=json.loads(verdict_json(verdict)), seconds=1.0)

    def verdict(self, asked: dict[str, str], outcome: Outcome) -> Verdict:
        trial = replace(
            sample.trial(),
            id=asked["--id"],
            scenario="slow_export",
            seed=int(asked["--seed"]),
            retriever=asked["--retriever"],
        )
        return replace(sample.verdict(outcome, trial), cost=Cost(usd=self.usd))


def stretch(p95_ms: float, others: float = 0.0) -> Iterator[Event]:
    """A trial up to its fault: warmed up at 10 times that p95, half a second, then healthy up to second 8."""
    yield sample.started()
    yield PhaseStarted(at_s=0.1, name="warmup")
    for index in range(9):
        slow = 10 if index < 1 else 1
        routes = {name: RouteWindow(ok=20, p95_ms=slow * p95_ms * of) for name, of in (("hello", 0.5), ("other", 2.0))}
        window = Window(index=index, start_s=float(index), end_s=index + 1.0, routes=routes)
        yield WindowObserved(at_s=index + 1.1, window=window, slo_held=True)
    yield BaselineHeld(at_s=8.1, start_s=4.0, end_s=8.0)
    yield MachineWatched(at_s=8.9, busy=(Busy(start_s=0.0, end_s=8.9, others=others),))
