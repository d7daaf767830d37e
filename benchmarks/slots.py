"""What do trials side by side gain, and what do they do to one another? ``python -m benchmarks.slots``.

1. The calibration of ``harness sweep --slots``, all of its rounds: p95 of a healthy app, alone and side by side.
2. As many trials a slot, one at a time and side by side: trials a minute, and how far they scale.

All by a fixer that does nothing. About 12 minutes, with three rounds and two trials a slot.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean

from harness.experiment.interference import Calibration, measured
from harness.experiment.lanes import Lane, Ran, side_by_side
from harness.experiment.slots import LIMIT, Round, concluded, this_host
from harness.loading import load_scenario
from harness.model.verdict import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    slots: int
    trials: int
    invalid: int
    seconds: float

    @property
    def a_minute(self) -> float:
        return 60 * self.trials / self.seconds

    @property
    def measured_a_minute(self) -> float:
        return 60 * (self.trials - self.invalid) / self.seconds

    def __str__(self) -> str:
        minutes = f"{self.a_minute:.2f} trials a minute, {self.measured_a_minute:.2f} that could be measured"
        return f"{self.slots} at once: {self.trials} trials in {self.seconds:.0f} s, {minutes}; INVALID {self.invalid}"


def run(scenario: Path, folder: Path, slots: int, each: int) -> Took:
    """``each`` trials in each slot."""

    def trial(seed: int, lane: Lane) -> Ran:
        words = ["--fixer", "noop", "--retriever", "none", "--seed", str(seed), "--no-track"]
        return lane.run(str(scenario), *words)

    where = folder if slots > 1 else folder / "lane-1"  # in which PostgreSQL has its data by now
    started = time.monotonic()
    ended = [future.result() for _, future in side_by_side(deque(range(slots * each)), where, slots, trial)]
    seconds = time.monotonic() - started
    invalid = sum(one.verdict["outcome"] == Outcome.INVALID for one in ended)
    return Took(slots=slots, trials=len(ended), invalid=invalid, seconds=seconds)


def tell(rounds: Sequence[Round], slots: int) -> None:
    both = [each for each in rounds if each.ratio]
    if both:
        alone = geometric_mean(each.alone_p95_ms or 1.0 for each in both)
        beside = geometric_mean(each.beside_p95_ms or 1.0 for each in both)
        print(f"p95 alone {alone:.1f} ms, side by side {beside:.1f} ms, {beside / alone:.2f} times", end="")
        print(f" in {len(both)} rounds (wanted: under {LIMIT:g})")
    found = concluded(rounds, asked=slots, host=this_host(), hashes={})
    print(f"shift: {found.shift or 'too few rounds'}\nwith --slots {slots}: {found}")


def main() -> None:
    parser = argparse.ArgumentParser(description="what trials side by side gain, and what they do to one another")
    parser.add_argument("--scenario", type=Path, default=Path("scenarios/pool_exhaustion.yml"))
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="of the calibration")
    parser.add_argument("--trials", type=int, default=2, help="in each slot")
    given = parser.parse_args()
    host = this_host()
    print(f"{host.processors} processors ({host.processor}), {host.memory_gb} GB; {given.scenario}")
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder, rounds = Path(name), list[Round]()
        how = Calibration(rounds=given.rounds)
        for each in measured([load_scenario(given.scenario)], folder, given.slots, 1, how):
            rounds.append(each)
            print(f"round {len(rounds)}, {each.first} first: {each}", flush=True)
        tell(rounds, given.slots)
        one = run(given.scenario, folder, 1, given.trials)
        print(one, flush=True)
        more = run(given.scenario, folder, given.slots, given.trials)
        print(more)
        efficiency = more.a_minute / given.slots / one.a_minute
        useful = more.measured_a_minute / given.slots / one.measured_a_minute if one.measured_a_minute else 0.0
        print(f"scaling efficiency {efficiency:.2f}; of trials that could be measured {useful:.2f}")


if __name__ == "__main__":
    main()
