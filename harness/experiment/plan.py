"""The trials of a sweep: each scenario meets each arm, again and again, in an order that favours nobody."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from harness.model.experiment import Arm, Experiment

_SEEDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One trial that is wanted. ``seed`` is the same for all arms of a scenario in a repeat."""

    scenario: str  # its name
    arm: Arm
    repeat: int  # from 1
    seed: int

    @property
    def key(self) -> str:
        return f"{self.scenario}/{self.arm.name}/{self.repeat}"


def cells(experiment: Experiment, scenarios: Mapping[str, object]) -> list[Cell]:
    """In the order in which they are to be run; ``scenarios`` are the names.

    Blocked: a repeat is over before the next begins, so that whenever a sweep stops, all arms have met the same
    seeds. Within a block the order is drawn, so that a machine that warms up or slows down favours no arm.
    """
    found: list[Cell] = []
    for repeat in range(1, experiment.repeats + 1):
        block = [
            Cell(scenario=name, arm=arm, repeat=repeat, seed=seed_of(experiment.seed, name, repeat))
            for name in scenarios
            for arm in experiment.arms
        ]
        random.Random(f"{experiment.seed}/{repeat}").shuffle(block)  # noqa: S311 - it guards nothing
        found += block
    return found


def put_back(todo: deque[Cell], cell: Cell) -> None:
    """At the end of its block, so that the block is whole before the next begins."""
    later = (at for at, each in enumerate(todo) if each.repeat > cell.repeat)
    todo.insert(next(later, len(todo)), cell)


def seed_of(seed: int, scenario: str, repeat: int) -> int:
    """By which a trial draws. The same for every arm, and for two sweeps of one seed: so they can be paired."""
    digest = hashlib.sha256(f"{seed}/{scenario}/{repeat}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _SEEDS
