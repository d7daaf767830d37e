"""How good is a ranking, and can two rankers be told apart? Measures for one query; means and differences over many.

Queries of one scenario are alike, and those of one trial more so: a hundred of them are no hundred observations. So a
mean is taken trial by trial, then scenario by scenario, and the scenario is the unit of every interval (clustered
data: A. Davison, D. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Choice = Literal["better", "worse", "the same", "too few to tell"]

RESAMPLES = 10_000
_LEVEL = 0.95
_ENUMERATED = 16  # groups up to which each way to flip the signs is counted; beyond, RESAMPLES of them are drawn
_Numbers = NDArray[np.float64]


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Normalised discounted cumulative gain of the first ``k``, 0 to 1, with gain 2^grade - 1.

    Discount log2(1 + rank) (K. Järvelin, J. Kekäläinen, ACM TOIS 20, 2002; the gain: C. Burges et al., ICML 2005). What
    is not graded has grade 0; what is repeated counts where it stands first, and takes no second place. NaN where
    nothing is graded above 0: there was nothing to be found.
    """
    best = _gain(sorted(grades.values(), reverse=True)[:k])
    return _gain([grades.get(name, 0) for name in _once(ranked)[:k]]) / best if best else math.nan


def reciprocal_rank(ranked: Sequence[str], grades: Mapping[str, int], at_least: int) -> float:
    """1 / the rank of the first that has that grade, 0 where none has. NaN where there is none to be found."""
    if not _wanted(grades, at_least):
        return math.nan
    found = (1 / rank for rank, name in enumerate(_once(ranked), start=1) if grades.get(name, 0) >= at_least)
    return next(found, 0.0)


def recall(ranked: Sequence[str], grades: Mapping[str, int], k: int, at_least: int) -> float:
    """The share of those of that grade that are among the first ``k``. NaN where there is none to be found.

    Where more than ``k`` have it, 1 is still what a perfect ranking gets.
    """
    wanted = _wanted(grades, at_least)
    return len(wanted & set(_once(ranked)[:k])) / min(len(wanted), k) if wanted else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value is from: its group (the scenario) and, within that, its trial."""

    group: str
    trial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The mean over groups with its 95 % interval. The interval is NaN for fewer than two groups."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of one ranker to another over the same queries: positive where the first is better."""

    mean: Mean
    better_in: int  # groups
    worse_in: int
    same_in: int
    p: float  # of the sign-flip test, two-sided
    choice: Choice


def mean(values: Sequence[float], sources: Sequence[Source], seed: int) -> Mean:
    """Queries -> trials -> groups, each counted alike, with a bootstrap over groups.

    The interval is the expanded percentile interval (T. Hesterberg, "What Teachers Should Know About the Bootstrap",
    The American Statistician 69, 2015): the plain one is too narrow where groups are few, as they are here.
    """
    return _interval(_by_group(values, sources), seed)


def difference(first: Sequence[float], second: Sequence[float], sources: Sequence[Source], seed: int) -> Difference:
    """Paired by query. It is told which one is better only if two things agree: the interval leaves out zero, and the
    sign-flip test over groups (R. Fisher, "The Design of Experiments", 1935) has p <= 0.05, which takes six groups.
    """
    apart = _by_group(np.subtract(first, second), sources)
    told, p = _interval(apart, seed), _sign_flips(apart, seed)
    better, worse = int(np.sum(apart > 0)), int(np.sum(apart < 0))
    choice: Choice = "too few to tell"
    if not better and not worse:
        choice = "the same"
    elif p <= 1 - _LEVEL + 1e-9 and not told.low <= 0 <= told.high:
        choice = "better" if told.value > 0 else "worse"
    return Difference(
        mean=told, better_in=better, worse_in=worse, same_in=len(apart) - better - worse, p=p, choice=choice
    )


def _gain(grades: Sequence[int]) -> float:
    return sum((int(2**grade) - 1) / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def _wanted(grades: Mapping[str, int], at_least: int) -> set[str]:
    return {name for name, grade in grades.items() if grade >= at_least}


def _once(ranked: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(ranked))


def _by_group(values: Sequence[float] | _Numbers, sources: Sequence[Source]) -> _Numbers:
    """A mean for each group, of the means of its trials, in the order in which groups come first."""
    trials: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for value, source in zip(values, sources, strict=True):
        trials[source.group][source.trial].append(float(value))
    means = [fmean(map(fmean, group.values())) for group in trials.values()]
    return np.array([round(each, 12) for each in means], dtype=np.float64)  # a difference of 1e-17 is none


def _interval(groups: _Numbers, seed: int) -> Mean:
    if len(groups) < 2:
        return Mean(value=float(groups.mean()) if len(groups) else math.nan, low=math.nan, high=math.nan)
    from scipy.stats import norm, t  # noqa: PLC0415 - half a second that only those wait who want an interval

    n = len(groups)
    draws = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    tail = float(norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf((1 + _LEVEL) / 2, n - 1)))
    low, high = np.quantile(groups[draws].mean(axis=1), [tail, 1 - tail])
    return Mean(value=float(groups.mean()), low=float(low), high=float(high))


def _sign_flips(groups: _Numbers, seed: int) -> float:
    """The share of ways to flip the groups' signs that give a mean as far from zero as the one that was seen."""
    n = len(groups)
    if n <= _ENUMERATED:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        flips = np.random.default_rng(seed).integers(2, size=(RESAMPLES, n))
        flips[0] = 0  # the one that was seen is one of them, so that p is never 0
    sums = np.abs((1 - 2 * flips) @ groups)
    return float(np.mean(sums >= abs(groups.sum()) - 1e-9))
