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
    """pass@k and pass^k of either, over the scenarios of which both have a trial that could be measured. NaN: of none.

    ``k`` is the largest for which all of these have the trials. ``too_few`` names the other scenarios.
    """

    k: int
    first: tuple[float, float]
    second: tuple[float, float]
    too_few: tuple[str, ...]


def tries(scenarios: Sequence[str], first: Mapping[Key, TrialRow], second: Mapping[Key, TrialRow]) -> Tries:
    sides, too_few = measured_by_all([tallies(side, scenarios) for side in (first, second)])
    k = most_tries(sides)
    a, b = ((pass_at_k(each, k).value, pass_hat_k(each, k).value) for each in sides)
    return Tries(k=k, first=a, second=b, too_few=too_few)


def tallies(side: Mapping[Key, TrialRow], scenarios: Iterable[str]) -> dict[str, Tally]:
    """Of each scenario, how many of the trials that could be measured were right."""
    found = {name: [row for (of, _), row in side.items() if of == name and row.measured] for name in scenarios}
    return {name: Tally(successes=sum(row.good for row in rows), n=len(rows)) for name, rows in found.items()}


def measured_by_all(sides: Sequence[Mapping[str, Tally]]) -> tuple[list[dict[str, Tally]], tuple[str, ...]]:
    """Each side's scenarios of which all sides have a trial that could be measured; and the names of the others."""
    few = sorted({name for side in sides for name, tally in side.items() if not tally.n})
    return [{name: tally for name, tally in side.items() if name not in few} for side in sides], tuple(few)


def most_tries(sides: Iterable[Mapping[str, Tally]]) -> int:
    """The largest k for which all of them have k trials of each scenario; at least 1."""
    return max(1, min((tally.n for side in sides for tally in side.values()), default=1))


def sample_of(side: Mapping[Key, TrialRow]) -> Sample:
    """1 for each trial that was right, 0 for each that was not."""
    measured = [(key[0], row) for key, row in side.items() if row.measured]
    return Sample(values=tuple(float(row.good) for _, row in measured), scenarios=tuple(name for name, _ in measured))
