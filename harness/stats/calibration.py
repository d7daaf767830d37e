"""Is a fixer as sure as it should be?

A claim is a confidence, 0 to 1, stated beforehand, and whether the fix healed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Rate, rate

BINS = 10
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Of one fix. Claims of one scenario, and so of one incident, are never on both sides of a split.

    ValueError for a confidence that is not between 0 and 1.
    """

    confidence: float
    healed: bool
    scenario: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"a confidence is between 0 and 1, not {self.confidence}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brier:
    """score = reliability - resolution + uncertainty + spread_within - covariance_within, exactly. NaN where n = 0.

    The last two are of what differs within a bin; they are 0 where all claims of a bin are equally sure.
    """

    score: float
    reliability: float  # smaller is better: how far what was said is from what came
    resolution: float  # greater is better: how far bins differ in what came
    uncertainty: float  # nobody's merit: of the share that healed
    spread_within: float
    covariance_within: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Claims from ``low`` to below ``high`` (the last one: to 1 inclusive). The rate has Wilson's interval."""

    low: float
    high: float
    confidence: float  # mean
    healed: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Bins that have claims, and their expected calibration error. ``ece`` is NaN where n = 0."""

    bins: tuple[Bin, ...]
    ece: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Of the claims that are at least that sure: their share of all, and the share of them that did not heal."""

    confidence: float
    coverage: float
    risk: float
    n: int


def brier(claims: Sequence[Claim], bins: int = BINS) -> Brier:
    """The mean of (confidence - healed)^2 (G. Brier, Monthly Weather Review 78, 1950), and what it is made of.

    In three parts by A. Murphy, Journal of Applied Meteorology 12, 1973, and the two within bins of equal width, for
    confidences that differ there (D. Stephenson, C. Coelho, I. Jolliffe, Weather and Forecasting 23, 2008).
    """
    said, came = _arrays(claims)
    n = len(said)
    if not n:
        return Brier(**dict.fromkeys(_BRIER_PARTS, math.nan), n=0)
    base = came.mean()
    reliability = resolution = spread = covariance = 0.0
    for inside in _bins(said, bins).values():
        s, c = said[inside], came[inside]
        reliability += len(s) * (s.mean() - c.mean()) ** 2
        resolution += len(s) * (c.mean() - base) ** 2
        spread += float(np.sum((s - s.mean()) ** 2))
        covariance += 2 * float(np.sum((s - s.mean()) * (c - c.mean())))
    return Brier(
        score=float(np.mean((said - came) ** 2)),
        reliability=float(reliability / n),
        resolution=float(resolution / n),
        uncertainty=float(base * (1 - base)),
        spread_within=spread / n,
        covariance_within=covariance / n,
        n=n,
    )


def reliability(claims: Sequence[Claim], bins: int = BINS) -> Reliability:
    """Bins of equal width, and the expected calibration error: the mean over claims of their bin's |confidence - rate|.

    (M. Naeini, G. Cooper, M. Hauskrecht, AAAI 2015.) By chance alone it is above 0, the more so the fewer claims there
    are in a bin: it is to be told with its n, and compared at the same n.
    """
    said, came = _arrays(claims)
    rows, apart = [], 0.0
    for number, inside in sorted(_bins(said, bins).items()):
        healed = rate(int(came[inside].sum()), int(inside.sum()))
        mean = float(said[inside].mean())
        rows.append(Bin(low=number / bins, high=(number + 1) / bins, confidence=mean, healed=healed))
        apart += abs(float(said[inside].sum()) - healed.hits)
    return Reliability(bins=tuple(rows), ece=apart / len(said) if claims else math.nan, n=len(claims))


def risk_coverage(claims: Sequence[Claim]) -> tuple[Point, ...]:
    """For each confidence that was stated, from the highest: what is covered and risked by asking for at least that.

    (R. El-Yaniv, Y. Wiener, Journal of Machine Learning Research 11, 2010.)
    """
    points, covered, wrong = [], 0, 0
    for confidence, group in _tied(claims):
        covered, wrong = covered + len(group), wrong + sum(not claim.healed for claim in group)
        points.append(
            Point(confidence=confidence, coverage=covered / len(claims), risk=wrong / covered, n=covered),
        )
    return tuple(points)


def aurc(claims: Sequence[Claim]) -> float:
    """The area under that curve: the mean of the risks of the 1, 2, ... n surest claims. 0 is best; NaN where n = 0.

    (Y. Geifman, G. Uziel, R. El-Yaniv, ICLR 2019.) Claims that are equally sure have no order: it is the mean over all
    of their orders.
    """
    risks: list[float] = []
    wrong = 0.0
    for _, group in _tied(claims):
        share = sum(not claim.healed for claim in group) / len(group)
        start = len(risks)
        risks.extend((wrong + share * more) / (start + more) for more in range(1, len(group) + 1))
        wrong += share * len(group)
    return math.fsum(risks) / len(risks) if risks else math.nan


_BRIER_PARTS = ("score", "reliability", "resolution", "uncertainty", "spread_within", "covariance_within")


def _tied(claims: Sequence[Claim]) -> list[tuple[float, list[Claim]]]:
    """Claims by confidence, the surest first."""
    groups: dict[float, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: -claim.confidence):
        groups.setdefault(claim.confidence, []).append(claim)
    return list(groups.items())


def _arrays(claims: Sequence[Claim]) -> tuple[_Numbers, _Numbers]:
    said = np.array([claim.confidence for claim in claims], dtype=np.float64)
    return said, np.array([claim.healed for claim in claims], dtype=np.float64)


def _bins(said: _Numbers, bins: int) -> dict[int, NDArray[np.bool_]]:
    """For each bin that has claims, which they are. ValueError for fewer bins than one."""
    if bins < 1:
        raise ValueError(f"there is no table of {bins} bins")
    number = np.minimum((said * bins).astype(np.int64), bins - 1)
    return {int(each): number == each for each in np.unique(number)}
