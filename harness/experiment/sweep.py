"""Many trials of many arms, each once, whatever happens meanwhile: a sweep goes on from what its folder holds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.catalogue import choose_fixer
from harness.errors import HarnessError, InputError, MeasurementError
from harness.experiment.interference import Calibration, trials_at_once
from harness.experiment.machines import Done, Machines, Order, bring, machines, unpack
from harness.experiment.manifest import Opened
from harness.experiment.plan import Cell, cells, put_back
from harness.experiment.results import FILE, TrialRow, append, row_of, rows
from harness.experiment.resume import ended
from harness.model.event import TrialEnded
from harness.retrievers import require_retriever
from harness.sinks.journal import EVENTS, VERDICT, Journal, verdict_json
from harness.sinks.tracking import tracking_env

if TYPE_CHECKING:
    from distributed import Future

_FAILURES = 3  # trials without a verdict, one after the other: then the machine is at fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """After each trial; ``left_s`` is what the rest may take, None: nobody knows yet."""

    row: TrialRow | None
    done: int
    of: int
    left_s: float | None
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What is to be done in an open folder."""

    place: Opened
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def folder(self) -> Path:
        return self.place.folder

    def missing(self) -> list[Cell]:
        """In order: cells without a trial that could be measured, unless all retries were used."""
        found = rows(self.folder)
        measured = {row.cell for row in found if row.measured}
        tries = Counter(row.cell for row in found if row.tried)
        most = 1 + self.place.manifest.experiment.retries
        wanted = cells(self.place.manifest.experiment, self.place.scenarios)
        return [cell for cell in wanted if cell.key not in measured and tries[cell.key] < most]

    def run(self, scheduler: str | None = None, asked: int | None = None) -> Iterator[Progress]:
        """Runs what is missing. InputError, MeasurementError. Ctrl-C ends the trials that run; the next call goes on.

        Trials that a crash has left are judged first, by their journals. ``asked``: so many side by side on this
        machine, if they leave one another alone; None: as was found, or was being measured, before. A scheduler knows
        its own slots.
        """
        if scheduler is None:
            self._require_arms()
        for row in self._adopted():
            append(self.folder, row)
        beside = 1
        if scheduler is None and self.missing():
            beside = yield from self._beside(asked)
        with machines(scheduler, beside) as there:
            yield from self._run(there, beside)

    def _beside(self, asked: int | None) -> Generator[Progress, None, int]:
        """How many trials run side by side."""
        scenarios, seed = [*self.place.scenarios.values()], self.place.manifest.experiment.seed
        found = trials_at_once(self.folder, scenarios, seed, asked, self.calibration)
        while True:
            try:
                told = next(found)
            except StopIteration as end:
                return int(end.value)
            yield self._progress(None, len(self.missing()), 1, told=told)

    def _require_arms(self) -> None:
        """InputError, before anything is begun, where an arm cannot run here: for its name, a key, a reference."""
        for loaded in self.place.scenarios.values():
            for arm in self.place.manifest.experiment.arms:
                choose_fixer(arm.fixer, loaded)
                require_retriever(arm.retriever, has_base=loaded.kb is not None)

    def _run(self, there: Machines, beside: int) -> Iterator[Progress]:
        """``beside``: that many lanes are here, for as many trials; with one, or elsewhere, none is needed."""
        todo = deque(self.missing())
        running: dict[Future[Done], Order] = {}
        failures, stopped = 0, ""
        try:
            while True:
                stopped, at_once = stopped or self._spent(), there.slots()  # workers join and leave
                while todo and not stopped and len(running) < at_once:
                    order = self._order(todo.popleft(), _free_lane(running.values(), beside))
                    running[there.begin(order)] = order
                if not running:
                    break
                for future in there.ended([*running]):
                    cell = running.pop(future).cell
                    row = self._taken(future, cell)
                    failures = 0 if isinstance(row, TrialRow) else failures + 1
                    if isinstance(row, MeasurementError) and failures >= _FAILURES:
                        raise row
                    if not (isinstance(row, TrialRow) and row.measured) and self._again(cell):
                        put_back(todo, cell)
                    yield self._progress(row, len(todo) + len(running), at_once)
        finally:
            if running:
                there.stop()
        if stopped:
            yield self._progress(None, len(todo), at_once, told=stopped)
        elif todo:
            cure = "start one in a checkout of this version: dask worker ADDRESS --nthreads 1 --resources trial=1"
            raise InputError("the scheduler knows no machine that may run trials", cure=cure)

    def track(self) -> bool:
        """Its trials into MLflow, as far as they are not there yet, as children of one run. Whether that went well."""
        folder, env = self.folder.resolve(), tracking_env(self.folder.parent)
        words = ["--sweep", f"sweep-{self.place.manifest.token}", "--rows", str(folder / FILE), str(folder)]
        command = [sys.executable, "-P", "-m", "harness.sinks.tracking", *words]
        with (self.folder / "mlflow.log").open("ab") as log:
            return subprocess.run(command, stderr=log, env=env, check=False).returncode == 0

    def _taken(self, future: Future[Done], cell: Cell) -> TrialRow | MeasurementError:
        """The row of a trial that has ended, on disk."""
        try:
            done: Done = future.result()
        except HarnessError as error:
            return MeasurementError(f"{cell.key}: {error.message}", cure=error.cure)
        except Exception as error:  # Dask's own: a machine that died, or cannot be reached any more
            return MeasurementError(f"{cell.key}: {type(error).__name__}: {error}", cure="look at its machine")
        if done.packed:
            unpack(done.packed, self.folder)
        row = self._row(done.verdict, cell, done.wall_s)
        append(self.folder, row)
        return row

    def _again(self, cell: Cell) -> bool:
        tries = sum(row.cell == cell.key and row.tried for row in rows(self.folder))
        return 0 < tries < 1 + self.place.manifest.experiment.retries

    def _order(self, cell: Cell, lane: int = 0) -> Order:
        loaded = self.place.scenarios[cell.scenario]
        number = len(self._tries(cell)) + 1
        return Order(
            cell=cell,
            id=f"{self._stem(cell)}-{number}",
            scenario=str(loaded.file),
            scenario_hash=loaded.hash,
            results=str(self.folder),
            mark=str(self.place.mark.resolve()),
            lane=lane,
        )

    def _stem(self, cell: Cell) -> str:
        return f"{self.place.manifest.token}-{cell.scenario}-{cell.arm.slug}-{cell.repeat}"

    def _tries(self, cell: Cell) -> list[Path]:
        """The folders of its trials, in lanes too. Another cell's name may begin like this one's."""
        stem = self._stem(cell)
        found = [*self.folder.glob(f"{stem}-*"), *self.folder.glob(f"lane-*/{stem}-*")]
        return sorted(path for path in found if path.name.removeprefix(f"{stem}-").isdecimal())

    def _adopted(self) -> Iterator[TrialRow]:
        """Of trials that began and have no row: a crash came between. What was cut short is INVALID."""
        known = {row.trial for row in rows(self.folder)}
        for cell in cells(self.place.manifest.experiment, self.place.scenarios):
            for folder in self._tries(cell):
                if folder.name not in known and (verdict := _verdict(folder)):
                    if folder.parent != self.folder:
                        with Journal(folder):  # InputError while its process is at it: then it must not be moved
                            bring(folder, self.folder)
                    took_s = max((phase["end_s"] for phase in verdict["phases"]), default=0.0)
                    yield self._row(verdict, cell, took_s)

    def _row(self, verdict: Mapping[str, Any], cell: Cell, wall_s: float) -> TrialRow:
        metadata = self.place.scenarios[cell.scenario].spec.metadata
        return row_of(verdict, cell=cell, fault_class=metadata.fault_class, control=metadata.control, wall_s=wall_s)

    def _spent(self) -> str:
        """Why no more trials are begun; empty: go on."""
        budget, found = self.place.manifest.experiment.budget, rows(self.folder)
        usd, time_s = sum(row.usd or 0.0 for row in found), sum(row.wall_s for row in found)
        if budget.usd is not None and usd >= budget.usd:
            return f"the budget of ${budget.usd:g} is spent: ${usd:.2f}"
        if budget.time_s is not None and time_s >= budget.time_s:
            return f"the budget of {budget.time_s / 3600:g} h of trials is spent"
        return ""

    def _progress(
        self, row: TrialRow | MeasurementError | None, waiting: int, at_once: int, *, told: str = ""
    ) -> Progress:
        found = rows(self.folder)
        took = [each.wall_s for each in found]
        of = len(cells(self.place.manifest.experiment, self.place.scenarios))
        left_s = waiting * sum(took) / len(took) / max(1, at_once) if took else None
        told = f"{row.message}" if isinstance(row, MeasurementError) else told
        done = len({each.cell for each in found if each.measured})
        return Progress(row=row if isinstance(row, TrialRow) else None, done=done, of=of, left_s=left_s, told=told)


def _free_lane(running: Iterable[Order], lanes: int) -> int:
    """The number of one that no trial runs in; 0 where there are no lanes."""
    taken = {order.lane for order in running}
    return next(number for number in count(1) if number not in taken) if lanes > 1 else 0


def _verdict(folder: Path) -> dict[str, Any] | None:
    """What the trial's journal gives; None: it had not begun."""
    if not (folder / EVENTS).exists():
        return None
    if not (folder / VERDICT).exists():
        last = next(reversed(ended(folder)), None)
        return json.loads(verdict_json(last.verdict)) if isinstance(last, TrialEnded) else None
    return dict(json.loads((folder / VERDICT).read_bytes()))
