"""How small a difference can be seen at all, and how many trials that takes.

The noise floor is measured, by comparing an arm with itself; the rest is reckoned, by normal approximations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.stats.basics import LEVEL, normal_quantile, two_sided
from harness.stats.bootstrap import Sample
from harness.stats.paired import Pairs, compare

POWER = 0.8
SPLITS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What two arms differ by that are the same: ``quantile`` is exceeded by 1 - level of the differences.

    It is for arms of ``per_arm`` trials together. For arms k times as large divide by the root of k. NaN where no
    scenario has two trials; ``too_few`` names those that have not.
    """

    quantile: float
    per_arm: int
    scenarios: int
    too_few: tuple[str, ...]
    splits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreRuns:
    """Pairs that are still to be run, with the chance ``power`` that they decide.

    ``as_seen`` is for the difference that was seen, and None where that is within the margin: no number decides it.
    It is a guess that leans on chance: what is seen early is often greater than what is there. ``if_worth`` is for the
    least difference that one would act on, and is the one to plan with.
    """

    so_far: int
    as_seen: int | None
    if_worth: int
    power: float


def noise_floor(sample: Sample, seed: int, level: float = LEVEL, splits: int = SPLITS) -> Noise:
    """The A/A test: how much do two random halves of the same arm's trials differ, by chance alone?

    Each scenario's trials are halved on their own, and the halves' means differ by the mean over scenarios; of an odd
    number one trial, by chance, is in neither. The spread is that of two arms that are as large as the halves
    (A/A tests: R. Kohavi, D. Tang, Y. Xu, "Trustworthy Online Controlled Experiments", 2020, chapter 19).

    It is in the unit of the values. What differs between nights or machines is in it only if the trials are of several.
    """
    groups: dict[str, list[float]] = {}
    for value, scenario in zip(sample.values, sample.scenarios, strict=True):
        groups.setdefault(scenario, []).append(value)
    enough = {name: np.array(group) for name, group in groups.items() if len(group) > 1}
    random = np.random.default_rng(seed)
    apart = np.zeros(splits)
    for group in enough.values():
        half = len(group) // 2
        shuffled = random.permuted(np.tile(group, (splits, 1)), axis=1)
        apart += shuffled[:, :half].mean(axis=1) - shuffled[:, half : 2 * half].mean(axis=1)
    return Noise(
        quantile=float(np.quantile(np.abs(apart) / len(enough), level)) if enough else math.nan,
        per_arm=sum(len(group) // 2 for group in enough.values()),
        scenarios=len(enough),
        too_few=tuple(name for name in groups if name not in enough),
        splits=splits,
    )


def detectable_paired(n: int, discordant: float, power: float = POWER, level: float = LEVEL) -> float:
    """The least difference of heal rates that ``n`` pairs show with that power, where that share of pairs differ.

    By McNemar's test (R. Connor, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43, 1987). A difference cannot be greater than ``discordant``: NaN where even that would not be shown.
    ValueError where n < 1, or a share is not one.
    """
    _check(n, discordant, power)
    return _least(n, discordant, lambda apart: _pairs(apart, 0.0, discordant, power, level))


def detectable_unpaired(
    n: int, before: float, direction: Literal["rise", "drop"], power: float = POWER, level: float = LEVEL
) -> float:
    """The least rise or drop from the heal rate ``before`` that two arms of ``n`` trials each show with that power.

    (J. Fleiss, B. Levin, M. Paik, "Statistical Methods for Rates and Proportions", 2003, section 4.2, without a
    correction for continuity.) NaN where even a rise to 1, or a drop to 0, would not be shown. ValueError as
    ``detectable_paired``.
    """
    _check(n, before, power)
    sign = 1 if direction == "rise" else -1

    def needed(apart: float) -> float:
        after = before + sign * apart
        middle = (before + after) / 2
        alike = math.sqrt(2 * middle * (1 - middle))
        differing = math.sqrt(max(0.0, before * (1 - before) + after * (1 - after)))
        return ((two_sided(level) * alike + normal_quantile(power) * differing) / apart) ** 2

    return _least(n, 1 - before if sign > 0 else before, needed)


def pairs_needed(
    difference: float, discordant: float, margin: float = 0.0, power: float = POWER, level: float = LEVEL
) -> int:
    """How many pairs show that difference to be beyond the margin, where that share of pairs differ (Connor, 1987).

    ValueError unless the size of ``difference`` is above ``margin``, and not above ``discordant``.
    """
    _check(1, discordant, power)
    if not 0 <= margin < abs(difference) <= discordant:
        raise ValueError(f"no pairs show {difference}, of which {discordant} differ, to be beyond {margin}")
    return math.ceil(_pairs(abs(difference), margin, discordant, power, level) - 1e-9)


def more_runs(
    pairs: Pairs, *, worth: float, margin: float = 0.0, power: float = POWER, level: float = LEVEL
) -> MoreRuns:
    """How many more pairs would decide, after those that were seen; ``worth`` is the least difference to act on.

    The share of pairs that differ is taken from what was seen, with one more that differs and one that does not, so
    that few pairs do not promise too much (P. Laplace's rule of succession). Both are 0 where it is decided already.
    ValueError unless ``margin`` < ``worth`` <= 1.
    """
    if not 0 <= margin < worth <= 1:
        raise ValueError(f"a difference of {worth} is not beyond a margin of {margin}")
    differ = (pairs.first + pairs.second + 1) / (pairs.n + 2)
    seen = abs(pairs.first - pairs.second) / pairs.n if pairs.n else 0.0
    if compare(pairs, margin, level).decision != "undecided":
        return MoreRuns(so_far=pairs.n, as_seen=0, if_worth=0, power=power)

    def more(difference: float) -> int:
        return max(0, pairs_needed(difference, max(differ, difference), margin, power, level) - pairs.n)

    return MoreRuns(so_far=pairs.n, as_seen=more(seen) if seen > margin else None, if_worth=more(worth), power=power)


def _pairs(apart: float, margin: float, discordant: float, power: float, level: float) -> float:
    """Connor's number of pairs; with a margin the null hypothesis is that the difference is as large as that."""
    null, other = math.sqrt(discordant - margin**2), math.sqrt(max(0.0, discordant - apart**2))
    return ((two_sided(level) * null + normal_quantile(power) * other) / (apart - margin)) ** 2


def _least(n: int, most: float, needed: Callable[[float], float]) -> float:
    """The least difference up to ``most`` for which ``n`` are enough, by bisection; NaN where there is none."""
    if not most > 0 or needed(most) > n:
        return math.nan
    low, high = 0.0, most
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if needed(middle) <= n else (middle, high)
    return high


def _check(n: int, share: float, power: float) -> None:
    if n < 1 or not 0 <= share <= 1 or not 0 < power < 1:
        raise ValueError(f"there is no experiment of {n} trials with a rate of {share} and a power of {power}")
