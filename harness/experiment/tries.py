"""What several tries at one incident are worth, arm by arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.experiment.results import TrialRow
from harness.experiment.sides import Key
from harness.stats.bootstrap import Sample
from harness.stats.repeats import Tally, pass_at_k, pass_hat_k


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """pass@k and pass^k of either, for the largest k for which every scenario has the trials. NaN: there are none."""

    k: int
    first: tuple[float, float]
    second: tuple[float, float]


def tries(scenarios: Sequence[str], first: Mapping[Key, TrialRow], second: Mapping[Key, TrialRow]) -> Tries:
    sides = [tallies(side, scenarios) for side in (first, second)]
    k = most_tries(sides)
    a, b = ((pass_at_k(each, k).value, pass_hat_k(each, k).value) for each in sides)
    return Tries(k=k, first=a, second=b)


def tallies(side: Mapping[Key, TrialRow], scenarios: Iterable[str]) -> dict[str, Tally]:
    """Of each scenario, how many of the trials that could be measured were right."""
    found = {name: [row for (of, _), row in side.items() if of == name and row.measured] for name in scenarios}
    return {name: Tally(successes=sum(row.good for row in rows), n=len(rows)) for name, rows in found.items()}


def most_tries(sides: Iterable[Mapping[str, Tally]]) -> int:
    """The largest k for which all of them have k trials of each scenario; at least 1."""
    return max(1, min((tally.n for side in sides for tally in side.values()), default=1))


def sample_of(side: Mapping[Key, TrialRow]) -> Sample:
    """1 for each trial that was right, 0 for each that was not."""
    measured = [(key[0], row) for key, row in side.items() if row.measured]
    return Sample(values=tuple(float(row.good) for _, row in measured), scenarios=tuple(name for name, _ in measured))
