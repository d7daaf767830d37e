"""The seams, all on one screen. Everything that differs between worlds goes through one of these.

Each has one in-memory implementation that ships (dry runs and tests use it), at least one real one,
and one suite in tests/contract that every implementation passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from harness.model.busy import Busy
from harness.model.event import Event
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import Deployment, Endpoints, SourceTree
from harness.model.verdict import CheckResult, Moment
from harness.model.window import Window


class Clock(Protocol):
    def now(self) -> float: ...  # seconds since the trial began, never backwards
    def sleep(self, seconds: float) -> None: ...


class Target(Protocol):
    """The app under test. ``running`` starts it with all it needs; the rest works while it runs."""

    def running(self) -> AbstractContextManager[Endpoints]: ...
    def source(self) -> SourceTree: ...  # what runs now, as a fixer may read it
    def release(self, tree: SourceTree) -> Deployment: ...  # our own new base: no history, no canary
    def redeploy(self, tree: SourceTree, message: str) -> Deployment: ...  # FixRefused when the canary fails
    def rollback(self) -> Deployment: ...  # to the last release
    def logs(self) -> Sequence[str]: ...  # lines written since the last call
    def exposed(self) -> Iterable[tuple[str, bytes]]: ...  # all that its source tells beside its text: names, history


class Machine(Protocol):
    def busy(self) -> Sequence[Busy]: ...  # what other work took by now, in order; none: it cannot be told


class Traffic(Protocol):
    def observe(self, wait_s: float) -> Window | None: ...  # the next decided window, each once, in order
    def settled(self) -> Sequence[Window]: ...  # all windows again, with what became of late requests


class Load(Protocol):
    def running(self, endpoints: Endpoints) -> AbstractContextManager[Traffic]: ...


class ActiveFault(Protocol):
    def check(self) -> CheckResult: ...  # is it still on? with evidence


class Fault(Protocol):
    kind: str

    def active(self, endpoints: Endpoints) -> AbstractContextManager[ActiveFault]: ...


class Retriever(Protocol):
    name: str

    def prepare(self) -> None: ...  # what takes time before the first search; services are up, no load yet
    def query(self, incident: Incident) -> str: ...  # what is looked up, for the record
    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]: ...  # best first
    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str: ...  # the document's id; why it failed


class Fixer(Protocol):
    """Where it has an attribute ``budget_s``, a trial sets that before each proposal: the seconds it may plan with."""

    name: str
    model: str

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix: ...  # ProposalFailed when there is none


class Check(Protocol):
    name: str

    def run(self, endpoints: Endpoints, seed: int, moment: Moment) -> Sequence[CheckResult]: ...


Sink = Callable[[Event], None]
