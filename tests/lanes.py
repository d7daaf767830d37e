"""Instead of `harness run`, for tests of sweeps: trials that end at once, as they are told to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from harness.errors import MeasurementError
from harness.experiment.lanes import Lane, Ran
from harness.model.fix import Cost
from harness.model.verdict import Outcome, Verdict
from harness.sinks.journal import verdict_json
from tests import events as sample

Fate = Callable[[dict[str, str]], Outcome | None]


class Lanes:
    """Instead of `harness run`: a folder with a verdict, as it leaves one. ``fate`` says which; None: none at all."""

    def __init__(self) -> None:
        self.ran: list[dict[str, str]] = []
        self.fate: Fate = lambda _: Outcome.HEALED
        self.usd: float | None = None
        self.before: Callable[[], object] = lambda: None

    def run(self, lane: Lane, scenario: str, *words: str) -> Ran:
        asked = dict(zip(words[::2], words[1::2], strict=False)) | {"scenario": scenario}
        self.ran.append(asked)
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

    def verdict(self, asked: dict[str, str], outcome: Outcome) -> Verdict:
        trial = replace(
            sample.trial(),
            id=asked["--id"],
            scenario="slow_export",
            seed=int(asked["--seed"]),
            retriever=asked["--retriever"],
        )
        return replace(sample.verdict(outcome, trial), cost=Cost(usd=self.usd))
