"""Intervals for means over scenarios, and for paired differences of them, by resampling.

The mean is taken in each scenario, then over scenarios, each counted alike. What is averaged is one number a trial:
1 for healed and 0 for not, seconds cut at a limit (a restricted mean where nobody is lost before it), dollars; or, for
two arms, the difference of such numbers in one pair (``paired``).

Two questions can be asked, and they have different intervals:

``stratified``  How good is it on *these* scenarios? They stay as they are, and only trials are drawn anew. Right where
                the scenarios are the whole population, as in an experiment over all that there are. The default.
``clustered``   How good is it on scenarios *like* these? The scenarios are a sample, and are what is drawn. Right where
                the claim is about incidents in general. It is wider, and it wants many scenarios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.stats.basics import LEVEL, Estimate, normal_quantile, two_sided

RESAMPLES = 2000
FEW_SCENARIOS = 10  # under it, means of resampled scenarios have tails that are too short
FEW_DRAWS = 20  # under it, so do means of resampled trials: of two, three or four none lies beyond the trials' own
_ROUNDING = 1e-9  # of the greatest value: what differs by less does not differ
_AT_ONCE = 4_000_000  # numbers that are drawn at a time: 32 MB
_Numbers = NDArray[np.float64]

Key = tuple[str, int]  # scenario and seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number a trial, or a pair, and the scenario of each. ``left_out``: what had no partner.

    ValueError where the two have different lengths, or a value is not finite.
    """

    values: tuple[float, ...]
    scenarios: tuple[str, ...]
    left_out: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        if len(self.values) != len(self.scenarios):
            raise ValueError(f"{len(self.values)} values have {len(self.scenarios)} scenarios")
        if not all(map(math.isfinite, self.values)):
            raise ValueError("a value is not a finite number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """The mean over scenarios. ``method`` tells what the interval is from, and is "none" where it is NaN."""

    mean: Estimate
    n: int
    scenarios: int
    method: Literal["stratified bootstrap", "t of trials", "clustered bootstrap", "t of scenarios", "none"]


def paired(first: Mapping[Key, float], second: Mapping[Key, float]) -> Sample:
    """First less second, for each scenario and seed that both have. The others are named in ``left_out``."""
    both = [key for key in first if key in second]
    return Sample(
        values=tuple(first[key] - second[key] for key in both),
        scenarios=tuple(scenario for scenario, _ in both),
        left_out=tuple(key for key in (*first, *second) if not (key in first and key in second)),
    )


def stratified(sample: Sample, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> Resampled:
    """Trials are drawn anew within each scenario; the scenarios are fixed.

    Of n trials n - 1 are drawn, with which the variance is the right one and not (n - 1) / n of it, two thirds with
    three seeds (P. McCarthy, C. Snowden, "The Bootstrap and Finite Population Sampling", 1985; J. Rao, C. Wu, JASA 83,
    1988). The percentiles are further out than 2.5 % and 97.5 % by as much as t is wider than a normal distribution
    (T. Hesterberg, The American Statistician 69, 2015), with Satterthwaite's degrees of freedom (F. Satterthwaite,
    Biometrics Bulletin 2, 1946).

    With fewer than ``FEW_DRAWS`` draws it is Student's interval, by the same degrees of freedom: resampled means of few
    trials never lie beyond these. So it is where a scenario has a single trial, whose spread is taken to be that of
    the others together. It is NaN where all have a single one.

    Of ten scenarios with 3 to 20 pairs each, simulated intervals of 95 % held the truth in 95 to 98 %; of one to four
    with two or three, in 94 to 98 %. It has no width where no scenario has any spread, and is too narrow where nearly
    all of it is that of one scenario with two trials (91 %); for yes or no, ``paired.py`` has the better one.
    """
    groups = _groups(sample)
    sizes = np.array([len(group) for group in groups])
    if not groups or sizes.max() < 2:
        return _unknown(sample, groups)
    error, freedom = _error(groups, sizes)
    if sizes.min() < 2 or (sizes - 1).sum() < FEW_DRAWS:
        value, half = _mean(groups), _t(level, freedom) * error if error else 0.0
        told = Estimate(value=value, low=value - half, high=value + half)
        return Resampled(mean=told, n=int(sizes.sum()), scenarios=len(groups), method="t of trials")
    ends = np.cumsum(sizes)
    drawn = np.repeat(np.arange(len(groups)), sizes - 1)  # which scenario each of the draws is for
    weights = 1 / ((sizes - 1)[drawn] * len(groups))
    means = _means(np.concatenate(groups), (ends - sizes)[drawn], ends[drawn], weights, seed, resamples)
    told = _percentiles(_mean(groups), means, level, _wider(level, freedom))
    return Resampled(mean=told, n=int(ends[-1]), scenarios=len(groups), method="stratified bootstrap")


def clustered(sample: Sample, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> Resampled:
    """Scenarios are drawn anew, each with its trials as they are.

    Trials are not drawn a second time within those: what differs between scenarios' means has the chance in their
    trials in it already, and would have it twice (A. Davison, D. Hinkley, "Bootstrap Methods and their Application",
    1997, section 3.8). The percentiles are the expanded ones (Hesterberg, 2015), for one scenario less than there are.

    With fewer than ``FEW_SCENARIOS`` it is Student's interval of the scenarios' means, as percentiles of so few cover
    less than they say: of eight, 93.5 % in simulations. NaN with fewer than two.
    """
    groups = _groups(sample)
    count = len(groups)
    if count < 2:
        return _unknown(sample, groups)
    each = np.array([group.mean() for group in groups])
    if count < FEW_SCENARIOS:
        half = _t(level, count - 1) * float(each.std(ddof=1)) / math.sqrt(count)
        value = _mean(groups)
        told = Estimate(value=value, low=value - half, high=value + half)
        return Resampled(mean=told, n=len(sample.values), scenarios=count, method="t of scenarios")
    start, end, weight = np.zeros(count, dtype=np.int64), np.full(count, count), np.full(count, 1 / count)
    means = _means(each, start, end, weight, seed, resamples)
    told = _percentiles(_mean(groups), means, level, _wider(level, count - 1) * math.sqrt(count / (count - 1)))
    return Resampled(mean=told, n=len(sample.values), scenarios=count, method="clustered bootstrap")


def _groups(sample: Sample) -> list[_Numbers]:
    """The values of each scenario, in the order in which scenarios come first."""
    groups: dict[str, list[float]] = {}
    for value, scenario in zip(sample.values, sample.scenarios, strict=True):
        groups.setdefault(scenario, []).append(value)
    return [np.array(group, dtype=np.float64) for group in groups.values()]


def _error(groups: Sequence[_Numbers], sizes: NDArray[np.int64]) -> tuple[float, float]:
    """The standard error of the mean over scenarios, and Satterthwaite's degrees of freedom; infinite without spread.

    A scenario with a single trial has the variance of all others together, each weighed by its degrees of freedom.
    """
    known = sizes > 1
    free = sizes[known] - 1
    own = np.array([_variance(group) for group in groups if len(group) > 1])
    spreads = own * (1 / sizes[known] + (~known).sum() * free / free.sum())
    squares = float(np.sum(spreads**2 / free))
    freedom = float(spreads.sum()) ** 2 / squares if squares else math.inf
    return math.sqrt(float(spreads.sum())) / len(groups), freedom


def _variance(group: _Numbers) -> float:
    """0 where the values differ by no more than rounding."""
    alike = float(np.ptp(group)) <= _ROUNDING * float(np.abs(group).max())
    return 0.0 if alike else float(group.var(ddof=1))


def _mean(groups: Sequence[_Numbers]) -> float:
    return float(np.mean([group.mean() for group in groups])) if groups else math.nan


def _means(
    values: _Numbers,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    weights: _Numbers,
    seed: int,
    resamples: int,
) -> _Numbers:
    """``resamples`` weighted sums of draws. Draw i is of the values from ``starts[i]`` to before ``ends[i]``."""
    random = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // len(starts))
    parts = []
    for done in range(0, resamples, rows):
        shape = (min(rows, resamples - done), len(starts))
        parts.append(values[random.integers(starts, ends, size=shape)] @ weights)
    return np.concatenate(parts)


def _percentiles(value: float, means: _Numbers, level: float, wider: float) -> Estimate:
    """The percentiles that are ``wider`` times as many deviations from the middle as those of a normal distribution."""
    from scipy.special import ndtr  # noqa: PLC0415 - only who wants an interval waits for it

    tail = float(ndtr(-two_sided(level) * wider))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(value=value, low=float(low), high=float(high))


def _t(level: float, freedom: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 - only who wants an interval waits for it

    return float(stdtrit(freedom, (1 + level) / 2))


def _wider(level: float, freedom: float) -> float:
    return _t(level, freedom) / normal_quantile((1 + level) / 2) if math.isfinite(freedom) else 1.0


def _unknown(sample: Sample, groups: Sequence[_Numbers]) -> Resampled:
    told = Estimate(value=_mean(groups), low=math.nan, high=math.nan)
    return Resampled(mean=told, n=len(sample.values), scenarios=len(groups), method="none")
