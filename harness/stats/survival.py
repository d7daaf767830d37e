"""How long until it heals, where some were not healed while we watched: Kaplan-Meier, restricted means, log-rank.

A time is (seconds, observed): observed is True where it healed then, False where we stopped to watch then (it is
right-censored). What is told holds where the reason to stop has nothing to do with when it would have healed, as with
a limit that is the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.basics import LEVEL, Estimate, two_sided

Time = tuple[float, bool]
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The share that is not healed yet, after each of the ``seconds`` at which some healed. One entry for each.

    Before the first of them the share is 1. ``low`` and ``high`` are NaN where the share has come down to 0: there the
    formula says nothing.
    """

    seconds: tuple[float, ...]
    at_risk: tuple[int, ...]  # not healed and still watched just before
    healed: tuple[int, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def at(self, seconds: float) -> float:
        """The share just after that time. Beyond the last time that was watched it is only the last known one."""
        later = sum(each <= seconds for each in self.seconds)
        return self.share[later - 1] if later else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """The mean of min(time, ``tau_s``) in seconds. ``variance`` is that of this estimate; NaN for fewer than two."""

    mean: Estimate
    variance: float
    n: int
    tau_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slower:
    """How many seconds longer the first arm takes, within ``tau_s``: negative where the first heals faster."""

    seconds: Estimate
    p: float  # two-sided
    first: Restricted
    second: Restricted


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRank:
    """``healed`` and ``expected`` of the first arm, had both healed alike. ``p`` is two-sided; NaN: nothing to tell."""

    healed: int
    expected: float
    chi2: float
    p: float


def kaplan_meier(times: Sequence[Time], level: float = LEVEL) -> Curve:
    """The product-limit curve (E. Kaplan, P. Meier, JASA 53, 1958), with pointwise intervals.

    Their variance is Greenwood's (M. Greenwood, Reports on Public Health 33, 1926), their scale log(-log share), on
    which they stay between 0 and 1 (J. Kalbfleisch, R. Prentice, "The Statistical Analysis of Failure Time Data", 1980,
    section 1.3). ValueError where a time is negative or not finite.
    """
    seconds, at_risk, healed = _table(*_read(times))
    share = np.cumprod(1 - healed / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(share)
        deviation = np.sqrt(np.cumsum(healed / (at_risk * (at_risk - healed)))) / -log
        low, high = (np.exp(log * np.exp(sign * two_sided(level) * deviation)) for sign in (1, -1))
    low[share == 0] = high[share == 0] = math.nan
    return Curve(
        seconds=tuple(seconds.tolist()),
        at_risk=tuple(at_risk.astype(int).tolist()),
        healed=tuple(healed.astype(int).tolist()),
        share=tuple(share.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
    )


def watched_s(*arms: Sequence[Time]) -> float:
    """The greatest tau, in seconds, for which all arms have a restricted mean; infinite where all have healed.

    An arm whose longest time is censored is known no further than that (L. Tian et al., Biometrics 76, 2020).
    """
    ends = [max(times, key=lambda time: (time[0], not time[1])) for times in arms if times]
    return min((seconds for seconds, observed in ends if not observed), default=math.inf)


def restricted_mean(times: Sequence[Time], tau_s: float, level: float = LEVEL) -> Restricted:
    """The area under the curve up to ``tau_s``, in seconds (P. Royston, M. Parmar, Statistics in Medicine 30, 2011).

    The variance is the sum over times of A^2 d / (Y (Y - d)), where d of Y healed and A is the area that is left up to
    tau (J. Klein, M. Moeschberger, "Survival Analysis", 2003, section 4.5), times n / (n - 1). With that, and with
    the t distribution of n - 1 degrees of freedom, it is Student's interval of min(time, tau) where nobody was lost
    before tau, as here; without, it is too narrow for few trials. NaN where there are fewer than two.

    ValueError where tau is beyond what was watched (``watched_s``), or not positive and finite.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - only who wants an interval waits for it

    mean, variance = _area(times, tau_s)
    n = len(times)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance) if n > 1 else math.nan
    told = Estimate(value=mean, low=max(0.0, mean - half), high=min(tau_s, mean + half)) if n > 1 else _nothing(mean)
    return Restricted(mean=told, variance=variance, n=n, tau_s=tau_s)


def difference(first: Sequence[Time], second: Sequence[Time], tau_s: float, level: float = LEVEL) -> Slower:
    """Of the restricted means, first less second, for two arms that are not paired.

    The interval and ``p`` are Welch's (B. Welch, Biometrika 34, 1947), from the variances of ``restricted_mean``: with
    nobody lost before tau it is Welch's test of min(time, tau). NaN where neither arm has any spread, or one has fewer
    than two trials. ValueError as there.
    """
    from scipy.special import stdtr, stdtrit  # noqa: PLC0415 - only who wants an interval waits for it

    a, b = restricted_mean(first, tau_s, level), restricted_mean(second, tau_s, level)
    apart, variance = a.mean.value - b.mean.value, a.variance + b.variance
    if not variance > 0:  # NaN, too
        return Slower(seconds=_nothing(apart), p=math.nan, first=a, second=b)
    freedom = variance**2 / (a.variance**2 / (a.n - 1) + b.variance**2 / (b.n - 1))
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
    return Slower(
        seconds=Estimate(value=apart, low=apart - half, high=apart + half),
        p=2 * float(stdtr(freedom, -abs(apart) / math.sqrt(variance))),
        first=a,
        second=b,
    )


def log_rank(first: Sequence[Time], second: Sequence[Time]) -> LogRank:
    """Do both heal alike at every time? (N. Mantel, Cancer Chemotherapy Reports 50, 1966.) One degree of freedom.

    It sees best a rate of healing that is a constant multiple of the other, and may miss curves that cross.
    """
    return stratified_log_rank([(first, second)])


def stratified_log_rank(strata: Iterable[tuple[Sequence[Time], Sequence[Time]]]) -> LogRank:
    """The same with (first, second) for each scenario: trials are compared with those of their own scenario only.

    Observed, expected and variance are summed over the strata before they are put together (Klein, Moeschberger, 2003,
    section 7.5).
    """
    from scipy.special import chdtrc  # noqa: PLC0415 - only who wants a p waits for it

    healed = expected = variance = 0.0
    for first, second in strata:
        (a, a_seen), (b, b_seen) = _read(first), _read(second)
        seconds, at_risk, events = _table(np.concatenate([a, b]), np.concatenate([a_seen, b_seen]))
        of_first = len(a) - np.searchsorted(a, seconds, side="left")  # of the first, still watched just before
        healed += float(a_seen.sum())
        expected += float(np.sum(of_first * events / at_risk))
        spread = of_first * (at_risk - of_first) * events * (at_risk - events)
        variance += float(np.sum(spread / (at_risk**2 * np.maximum(at_risk - 1, 1))))
    chi2 = (healed - expected) ** 2 / variance if variance > 0 else math.nan
    return LogRank(healed=int(healed), expected=expected, chi2=chi2, p=float(chdtrc(1, chi2)))


def _read(times: Sequence[Time]) -> tuple[_Numbers, NDArray[np.bool_]]:
    """Seconds in ascending order, and for each whether it was observed."""
    seconds = np.array([time for time, _ in times], dtype=np.float64)
    if not np.all(np.isfinite(seconds) & (seconds >= 0)):
        raise ValueError("a time is a number of seconds, at least 0")
    order = np.argsort(seconds, kind="stable")
    return seconds[order], np.array([observed for _, observed in times], dtype=np.bool_)[order]


def _table(seconds: _Numbers, observed: NDArray[np.bool_]) -> tuple[_Numbers, _Numbers, _Numbers]:
    """The distinct times of healing, how many were at risk, and how many healed. Who is censored then was at risk."""
    distinct, healed = np.unique(seconds[observed], return_counts=True)
    at_risk = len(seconds) - np.searchsorted(np.sort(seconds), distinct, side="left")
    return distinct, at_risk.astype(np.float64), healed.astype(np.float64)


def _area(times: Sequence[Time], tau_s: float) -> tuple[float, float]:
    """The restricted mean and the variance of it."""
    if not 0 < tau_s < math.inf:
        raise ValueError(f"tau is a positive number of seconds, not {tau_s}")
    if tau_s > watched_s(times):
        raise ValueError(f"{tau_s} s is more than the {watched_s(times)} s that were watched")
    if not times:
        return math.nan, math.nan
    seconds, at_risk, healed = _table(*_read(times))
    before = seconds < tau_s
    seconds, at_risk, healed = seconds[before], at_risk[before], healed[before]
    share = np.concatenate([[1.0], np.cumprod(1 - healed / at_risk)])
    areas = share * np.diff(np.concatenate([[0.0], seconds, [tau_s]]))
    left = np.cumsum(areas[::-1])[::-1][1:]  # under the curve from each time of healing up to tau
    surviving = at_risk > healed  # where none is left, no area is
    terms = left[surviving] ** 2 * healed[surviving] / (at_risk[surviving] * (at_risk - healed)[surviving])
    n = len(times)
    return float(areas.sum()), float(terms.sum()) * n / (n - 1) if n > 1 else math.nan


def _nothing(value: float) -> Estimate:
    return Estimate(value=value, low=math.nan, high=math.nan)
