"""All that one trial needs, wired by ``harness.wiring`` or by a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.leaks.offer import Offer
from harness.leaks.scan import Leak
from harness.model.fix import Attempt, Fix, Flag
from harness.model.incident import Incident
from harness.model.scenario import Scenario
from harness.model.source import SourceTree
from harness.model.verdict import Trial
from harness.ports import Check, Clock, Fault, Fixer, Load, Machine, Retriever, Sink, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    trial: Trial
    scenario: Scenario
    clock: Clock
    services: Callable[[], AbstractContextManager[None]]  # up before anything else, down last
    machine: Callable[[], AbstractContextManager[Machine]]  # watched while the trial is measured
    target: Target
    load: Load
    faults: tuple[Fault, ...]  # in the order of scenario.method
    retriever: Retriever
    fixer: Fixer
    fixer_reason: str
    guard: Callable[[SourceTree, Fix], SourceTree]  # the tree with the fix in it, or FixRefused
    review: Callable[[SourceTree, SourceTree], tuple[Flag, ...]]  # what speaks against the second tree, vetoes first
    permit: Callable[[Incident, Attempt], None] | None  # may this one go live? FixRefused. None: nobody is asked
    delivery_s: float  # what a deployment may take longer than one by our own hand
    withdraw: bool  # after the checks: take the fix away again, and see whether the harm comes back
    secrets: frozenset[str]  # of our own environment: nobody is told
    leaks: Callable[[Offer], Sequence[Leak]]  # where the answer stands in what a fixer is about to get
    keep: Callable[[int, str], None]  # the attempt's number, and the prompt that is sent
    checks: tuple[Check, ...]
    emit: Sink
    utc_now: Callable[[], str]
