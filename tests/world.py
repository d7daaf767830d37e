"""A world without processes, in which time passes only when somebody waits: for tests of the trial."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.faults.memory import MemoryFault
from harness.fixing.guard import apply
from harness.leaks.offer import Offer
from harness.leaks.scan import Leak
from harness.load.memory import MemoryLoad, MemoryTraffic, Quality
from harness.model.busy import Busy
from harness.model.fix import Attempt, Cost, Fix, Flag, WriteFile
from harness.model.incident import Incident, Passage
from harness.model.scenario import Scenario
from harness.model.source import Deployment, Endpoints, SourceTree
from harness.model.verdict import CheckResult, Moment, Trial, Verdict
from harness.model.window import Window
from harness.ports import Check, Fixer, Sink
from harness.retrieval.memory import MemoryRetriever
from harness.services.machine import MemoryMachine
from harness.sinks.memory import MemorySink
from harness.target.memory import MemoryTarget
from harness.trial.run import run_trial
from harness.trial.world import World

SECRET = "correct-horse-battery-staple"
WINDOW_S = 1.0
CONSECUTIVE = 3
REAL_DEADLINE_S = 20.0
SICK = {"browse": Quality(failed=0.8), "buy": Quality(failed=0.8)}
WEAK = "def words():\n    return wait()\n"
CURE = "def words():\n    return wait(timeout=1)\n"
TREE = SourceTree(files={"app.py": WEAK, "faults.py": "ON = True\n"}, protected=("faults.py",))
Answer = Fix | BaseException | Callable[[], Fix] | None


def scenario(**changes: object) -> Scenario:
    """A short one; ``changes`` replaces whole blocks by their Python names, given as YAML would give them."""
    blocks: dict[str, object] = {
        "metadata": {"name": "slow_words", "title": "Words come slowly"},
        "target": {"app": "words"},
        "load": {
            "arrivals": {"rate": 40, "process": "constant"},
            "routes": [
                {"name": "browse", "weight": 3, "request": "GET /words"},
                {"name": "buy", "weight": 1, "request": "POST /words"},
            ],
        },
        "slos": [{"name": "browse-fast", "routes": ["browse"], "latency": {"p95Ms": 300}, "objective": 0.99}],
        "steadyState": {"warmup": 1, "hold": 3},
        "method": [{"action": "http", "request": "POST /fault", "rate": 2}],
        "detection": {"within": 5, "gather": 1},
        "recovery": {
            "window": WINDOW_S,
            "consecutive": CONSECUTIVE,
            "minRequests": 20,
            "biteWithin": 5,
            "observe": 6,
            "horizon": 20,
        },
        "budget": {"attempts": 3, "fixer": 8},
    }
    return Scenario.model_validate({**blocks, **changes})


def fix(content: str = CURE, *, path: str = "app.py", confidence: float | None = None, cost: Cost | None = None) -> Fix:
    """A proposal that writes one file."""
    return Fix(
        root_cause="it waits for ever",
        edits=(WriteFile(path=path, content=content),),
        confidence=confidence,
        cost=cost or Cost(),
    )


class SimulatedClock:
    """Implements ``ports.Clock``; any thread may let time pass."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now_s += seconds


class AnsweringFixer:
    """Gives the answers in turn: a fix, an error to raise, or a function to call; None is given as it is."""

    name = "answering"
    model = "test-1"

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.told: list[tuple[Incident, tuple[Passage, ...], SourceTree, tuple[Attempt, ...]]] = []

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        self.told.append((incident, tuple(passages), tree, tuple(earlier)))
        answer = next(self._answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer  # type: ignore[return-value] # None is what a test may want


class WatchfulTarget(MemoryTarget):
    """Tells when it goes up and down; ``canary`` is asked before a tree goes live and may raise."""

    def __init__(self, tree: SourceTree, note: Callable[[str], None]) -> None:
        super().__init__(tree)
        self._note = note
        self.canary: Callable[[SourceTree], object] = lambda tree: None

    @contextmanager
    def running(self) -> Iterator[Endpoints]:
        with noted(self._note, "target"), super().running() as endpoints:
            yield endpoints

    def redeploy(self, tree: SourceTree, message: str) -> Deployment:
        self.canary(tree)
        return super().redeploy(tree, message)


class WatchfulLoad:
    """A MemoryLoad that tells when it goes up and down; ``look`` is called at each look and may raise."""

    def __init__(self, load: MemoryLoad, note: Callable[[str], None], look: Callable[[], None]) -> None:
        self._load, self._note, self._look = load, note, look

    @contextmanager
    def running(self, endpoints: Endpoints) -> Iterator[WatchfulTraffic]:
        with noted(self._note, "load"), self._load.running(endpoints) as traffic:
            yield WatchfulTraffic(traffic, self._look)


@dataclass(frozen=True, slots=True)
class WatchfulTraffic:
    traffic: MemoryTraffic
    look: Callable[[], None]

    def observe(self, wait_s: float) -> Window | None:
        self.look()
        return self.traffic.observe(wait_s)

    def settled(self) -> Sequence[Window]:
        return self.traffic.settled()


class WatchfulFault(MemoryFault):
    """``leaving`` is called when the fault is switched off and may raise, as an upstream that has died does."""

    leaving: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def active(self, endpoints: Endpoints) -> Iterator[MemoryFault]:
        try:
            with super().active(endpoints) as active:
                yield active
        finally:
            self.leaving()


@dataclass
class CalledCheck:
    """A hidden check that is a function."""

    work: Callable[[], Sequence[CheckResult]]
    name: str = "called"
    moment: Moment = "after"

    def run(self, endpoints: Endpoints, seed: int, moment: Moment) -> Sequence[CheckResult]:
        return self.work() if moment == self.moment else ()


@contextmanager
def noted(note: Callable[[str], None], name: str) -> Iterator[None]:
    note(f"{name} up")
    try:
        yield
    finally:
        note(f"{name} down")


@dataclass
class Simulation:
    """One trial in this world. What a test changes before ``run`` are the fields; the rest is to be looked at.

    ``serves`` gives each route's quality now; by default users suffer while the fault is on and the app is not cured.
    ``says`` is what the app logs for each window in which they suffer. ``look`` is called whenever the trial looks.
    """

    fixer: Fixer
    scenario: Scenario = field(default_factory=scenario)
    checks: tuple[Check, ...] = ()
    serves: Callable[[], Mapping[str, Quality]] | None = None
    says: str = '{"level": "ERROR", "message": "FAULT_SLOW_WORDS: no answer"}'
    look: Callable[[], None] = lambda: None
    review: Callable[[SourceTree, SourceTree], tuple[Flag, ...]] = lambda before, after: ()
    permit: Callable[[Incident, Attempt], None] | None = None
    withdraw: bool = False
    busy: tuple[Busy, ...] = ()
    leaks: Callable[[Offer], Sequence[Leak]] = lambda offer: ()
    emit: Sink | None = None
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    sink: MemorySink = field(default_factory=MemorySink)
    retriever: MemoryRetriever = field(default_factory=MemoryRetriever)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.target = WatchfulTarget(TREE, self.notes.append)
        self.fault = WatchfulFault(lambda on: self.notes.append(f"fault {'on' if on else 'off'}"))
        self._seen_s = 0.0
        self._seen = threading.Condition()

    @property
    def cured(self) -> bool:
        return "timeout" in self.target.source().files["app.py"]

    def think(self, seconds: float) -> None:
        """For a fixer or a check, on a thread of its own: time passes, and the trial sees each window of it."""
        until_s = self.clock.now() + seconds
        while self.clock.now() < until_s:
            self.clock.sleep(WINDOW_S)
            with self._seen:
                seen = self._seen.wait_for(lambda: self._seen_s > self.clock.now() - WINDOW_S, REAL_DEADLINE_S)
                assert seen, "nobody looks at the windows any more"

    def run(self) -> Verdict:
        return run_trial(self.world())

    def world(self) -> World:
        spec = self.scenario
        load = MemoryLoad(
            spec.load,
            thresholds_ms=spec.thresholds_ms(),
            window_s=spec.recovery.window_s,
            seed=7,
            quality=self._quality,
            clock=self.clock,
        )
        return World(
            trial=Trial(
                id="20261107-120000-slow_words-answering-7f3a",
                scenario=spec.metadata.name,
                scenario_hash="9f" * 32,
                fixer=self.fixer.name,
                model=self.fixer.model,
                retriever=self.retriever.name,
                seed=7,
                commit="c391f1a",
                started_at="2026-11-07T12:00:00.000+00:00",
                min_confidence=spec.budget.min_confidence,
            ),
            scenario=spec,
            clock=self.clock,
            services=lambda: noted(self.notes.append, "services"),
            machine=lambda: MemoryMachine(self.busy),
            target=self.target,
            load=WatchfulLoad(load, self.notes.append, lambda: self.look()),
            faults=(self.fault,) * len(spec.method),
            retriever=self.retriever,
            fixer=self.fixer,
            fixer_reason="chosen by the test",
            guard=apply,
            review=self.review,
            permit=self.permit,
            delivery_s=0.0,
            withdraw=self.withdraw,
            secrets=frozenset({SECRET}),
            leaks=self.leaks,
            keep=lambda number, prompt: self.notes.append(f"prompt {number}: {prompt}"),
            checks=self.checks,
            emit=self.emit or self.sink,
            utc_now=lambda: "2026-11-07T12:00:09.400+00:00",
        )

    def _quality(self) -> Mapping[str, Quality]:
        """Asked once a window, when it is decided."""
        with self._seen:
            self._seen_s += WINDOW_S
            self._seen.notify_all()
        quality = self.serves() if self.serves else SICK if self.fault.on and not self.cured else {}
        if self.says and any(each.failed for each in quality.values()):
            self.target.say(self.says)
        return quality
