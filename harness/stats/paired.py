"""Two arms on outcomes that are yes or no: which one heals more often, and could it be chance?

Trials of one scenario and seed are a pair. Pairs count alike, whatever their scenario: where arms differ in some
scenarios only, the interval is wider than it need be, and never too narrow for that. Stands on no library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from harness.stats.basics import LEVEL, Estimate, two_sided

Decision = Literal["better", "worse", "undecided"]
_TIE = 1e-7  # of a chance: what differs by less is as likely


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """How pairs ended: both arms healed, only the first, only the second, neither. ValueError below 0."""

    both: int
    first: int
    second: int
    neither: int

    def __post_init__(self) -> None:
        if min(self.both, self.first, self.second, self.neither) < 0:
            raise ValueError(f"counts are not negative: {self}")

    @property
    def n(self) -> int:
        return self.both + self.first + self.second + self.neither


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Share healed by the first less share healed by the second. ``p`` is two-sided, of the mid-p McNemar test."""

    pairs: Pairs
    difference: Estimate
    p: float
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What was seen, and what the worst and the best would be that INVALID trials can hide.

    ``against`` has each that is missing counted against the first arm and for the second, ``in_favour`` the other way.
    """

    seen: Comparison  # of the pairs that are whole
    against: Comparison
    in_favour: Comparison
    missing: int  # pairs that lack one trial, or both

    @property
    def whatever_is_missing(self) -> bool:
        """Whether all three decide alike."""
        return self.seen.decision == self.against.decision == self.in_favour.decision


def tally(pairs: Iterable[tuple[bool, bool]]) -> Pairs:
    """Counts of (first healed, second healed)."""
    ends = [0, 0, 0, 0]
    for first, second in pairs:
        ends[2 * (not first) + (not second)] += 1
    return Pairs(both=ends[0], first=ends[1], second=ends[2], neither=ends[3])


def compare(pairs: Pairs, margin: float = 0.0, level: float = LEVEL) -> Comparison:
    """The difference with its interval, p, and what they decide. ValueError as ``decide``."""
    told, p = paired_difference(pairs, level), mcnemar(pairs)
    return Comparison(pairs=pairs, difference=told, p=p, decision=decide(told, p, margin, level))


def decide(difference: Estimate, p: float, margin: float = 0.0, level: float = LEVEL) -> Decision:
    """'better' where the whole interval is above ``margin``, 'worse' where it is below ``-margin``, else 'undecided'.

    And 'undecided' where ``p``, that two equal arms differ so much, is above 1 - ``level``: of few trials score
    intervals are too narrow at the edge, and two pairs of two would decide, which chance gives in one of eight.

    The margin is a difference that would not matter, 0 to 1. ValueError where it is not.
    """
    if not 0 <= margin <= 1:
        raise ValueError(f"a margin is between 0 and 1, not {margin}")
    if p > 1 - level:
        return "undecided"
    if difference.low > margin:
        return "better"
    return "worse" if difference.high < -margin else "undecided"


def with_missing(pairs: Iterable[tuple[bool | None, bool | None]], margin: float = 0.0, level: float = LEVEL) -> Bounds:
    """Compares where some trials have no outcome (None), as the INVALID ones, and bounds what they could change.

    The bounds suppose nothing of what is missing (C. Manski, "Partial Identification of Probability Distributions",
    2003, chapter 1), and are as wide as that.
    """
    all_of_them = list(pairs)
    whole = [(first, second) for first, second in all_of_them if first is not None and second is not None]
    against, in_favour = (
        tally((filled if a is None else a, (not filled) if b is None else b) for a, b in all_of_them)
        for filled in (False, True)
    )
    return Bounds(
        seen=compare(tally(whole), margin, level),
        against=compare(against, margin, level),
        in_favour=compare(in_favour, margin, level),
        missing=len(all_of_them) - len(whole),
    )


def paired_difference(pairs: Pairs, level: float = LEVEL) -> Estimate:
    """Of the two shares of the same pairs, with the interval of Newcombe's method 10.

    Wilson's intervals of both are put together, with the correlation of the pairs, corrected for continuity
    (R. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
    Statistics in Medicine 17, 1998, 2635-2650). With n = 0 it is -1 to 1.
    """
    if not pairs.n:
        return Estimate(value=math.nan, low=-1.0, high=1.0)
    first, second = pairs.both + pairs.first, pairs.both + pairs.second
    value = (pairs.first - pairs.second) / pairs.n
    return _square_and_add(value, (first, pairs.n), (second, pairs.n), _correlation(pairs), level)


def unpaired_difference(hits: int, n: int, other_hits: int, other_n: int, level: float = LEVEL) -> Estimate:
    """Of the shares of two arms whose trials are not paired: ``hits / n`` less ``other_hits / other_n``.

    Newcombe's hybrid score interval, method 10 (R. Newcombe, "Interval estimation for the difference between
    independent proportions", Statistics in Medicine 17, 1998, 873-890). With n = 0 in an arm nothing is known of that,
    and the value is NaN. ValueError where there are more hits than trials.
    """
    if not (0 <= hits <= n and 0 <= other_hits <= other_n):
        raise ValueError(f"{hits} of {n} and {other_hits} of {other_n} cannot be")
    value = hits / n - other_hits / other_n if n and other_n else math.nan
    return _square_and_add(value, (hits, n), (other_hits, other_n), 0.0, level)


def mcnemar(pairs: Pairs) -> float:
    """Two-sided mid-p of the exact test that a pair that differs is as likely to be for one arm as for the other.

    The exact p (Q. McNemar, Psychometrika 12, 1947, by the binomial distribution) less the chance of what was seen
    (M. Fagerland, S. Lydersen, P. Laake, BMC Medical Research Methodology 13:91, 2013), which is not so cautious and
    hardly ever above its level. 1 where no pair differs.
    """
    differ, fewer = pairs.first + pairs.second, min(pairs.first, pairs.second)
    seen = math.comb(differ, fewer)
    tail = sum(math.comb(differ, count) for count in range(fewer + 1))
    if 2 * fewer == differ:
        return 1 - seen / (2 << differ) if differ else 1.0
    return (2 * tail - seen) / (1 << differ)


def fisher(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """Two-sided mid-p of the exact test that two arms, not paired, have one rate. ValueError as there.

    (R. Fisher, JRSS 98, 1935: of all tables with these sums, those that are no more likely.) Tables that are as likely
    as what was seen count by half, as in ``mcnemar``. 1 where nothing was tried, or all ended alike.
    """
    if not (0 <= hits <= n and 0 <= other_hits <= other_n):
        raise ValueError(f"{hits} of {n} and {other_hits} of {other_n} cannot be")
    both = hits + other_hits
    whole = _log_choose(n + other_n, both)
    chances = [
        math.exp(_log_choose(n, first) + _log_choose(other_n, both - first) - whole)
        for first in range(max(0, both - other_n), min(n, both) + 1)
    ]
    if len(chances) == 1:
        return 1.0
    seen = chances[hits - max(0, both - other_n)]
    alike = [chance for chance in chances if abs(chance - seen) <= _TIE * seen]
    return min(1.0, math.fsum(chance for chance in chances if chance < seen * (1 - _TIE)) + math.fsum(alike) / 2)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _correlation(pairs: Pairs) -> float:
    """Phi of the four counts; where it is positive, n / 2 is taken off first, though not below 0."""
    product = (
        (pairs.both + pairs.first)
        * (pairs.second + pairs.neither)
        * (pairs.both + pairs.second)
        * (pairs.first + pairs.neither)
    )
    if not product:
        return 0.0
    together = float(pairs.both * pairs.neither - pairs.first * pairs.second)
    if together > 0:
        together = max(together - pairs.n / 2, 0.0)
    return together / math.sqrt(product)


def _square_and_add(
    value: float, first: tuple[int, int], second: tuple[int, int], correlation: float, level: float
) -> Estimate:
    """Each limit is as far away as the two limits of Wilson that make it, squared and added like deviations."""
    (p, low, high), (other, other_low, other_high) = _wilson(*first, level), _wilson(*second, level)
    if math.isnan(value):  # an arm has no trials: its share may be anything
        return Estimate(value=value, low=max(-1.0, low - other_high), high=min(1.0, high - other_low))
    down, up = (p - low, other_high - other), (high - p, other - other_low)
    below, above = (math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b)) for a, b in (down, up))
    return Estimate(value=value, low=max(-1.0, value - below), high=min(1.0, value + above))


def _wilson(hits: int, n: int, level: float) -> tuple[float, float, float]:
    """Share, lower and upper limit (E. B. Wilson, JASA 22, 1927), as in ``intervals.py``, and without scipy."""
    if not n:
        return math.nan, 0.0, 1.0
    share, z = hits / n, two_sided(level)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z * math.sqrt(n * share * (1 - share) + z * z / 4) / (n + z * z)
    return share, max(0.0, middle - half), min(1.0, middle + half)
