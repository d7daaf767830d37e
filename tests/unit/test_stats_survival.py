"""Against published examples, scipy, statsmodels, and Welch's test; how often intervals hold the truth."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf, logrank, ttest_1samp, ttest_ind
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from harness.stats.survival import (
    Time,
    difference,
    kaplan_meier,
    log_rank,
    restricted_mean,
    stratified_log_rank,
    watched_s,
)

# Weeks of remission of 21 children each, with 6-MP and with placebo (E. Freireich et al., Blood 21, 1963), as in
# D. Kleinbaum, M. Klein, "Survival Analysis", 2012, chapter 2.
SIX_MP: list[Time] = [
    *((float(week), True) for week in (6, 6, 6, 7, 10, 13, 16, 22, 23)),
    *((float(week), False) for week in (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)),
]
PLACEBO: list[Time] = [
    (float(week), True) for week in (1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23)
]

arms = st.lists(st.tuples(st.integers(0, 12).map(float), st.booleans()), min_size=1, max_size=25)


def drawn(seed: int, count: int, mean_s: float, lost_s: float) -> list[Time]:
    """Exponential times, cut off by exponential ones, in whole seconds so that some are tied."""
    draw = random.Random(seed)
    pairs = [(draw.expovariate(1 / mean_s), draw.expovariate(1 / lost_s)) for _ in range(count)]
    return [(float(round(min(heals, lost))), heals <= lost) for heals, lost in pairs]


def test_the_curve_of_6_mp() -> None:
    """Kleinbaum and Klein, section 2.3."""
    curve = kaplan_meier(SIX_MP)
    assert curve.seconds == (6, 7, 10, 13, 16, 22, 23)
    assert curve.at_risk == (21, 17, 15, 12, 11, 7, 6)
    assert curve.healed == (3, 1, 1, 1, 1, 1, 1)
    assert curve.share == pytest.approx((0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482), abs=5e-5)
    assert (curve.at(5.9), curve.at(6), curve.at(1000)) == (1, curve.share[0], curve.share[-1])


def test_log_rank_of_6_mp_and_placebo() -> None:
    """Kleinbaum and Klein, section 2.4: 9 observed, 19.25 expected, 16.79."""
    told = log_rank(SIX_MP, PLACEBO)
    assert (told.healed, told.expected, told.chi2) == (
        9,
        pytest.approx(19.25, abs=5e-3),
        pytest.approx(16.79, abs=5e-3),
    )
    assert told.p == pytest.approx(4.17e-5, abs=1e-7)
    other = log_rank(PLACEBO, SIX_MP)
    assert (other.healed, other.expected, other.chi2) == (21, pytest.approx(10.75, abs=5e-3), pytest.approx(told.chi2))


def censored(times: list[Time]) -> CensoredData:
    return CensoredData(
        uncensored=[time for time, observed in times if observed],
        right=[time for time, observed in times if not observed],
    )


@pytest.mark.filterwarnings("ignore:The confidence interval is undefined")  # where the share is 1 or 0
@pytest.mark.parametrize("seed", range(5))
def test_the_curve_by_scipy(seed: int) -> None:
    times = drawn(seed, 40, 20, 40)
    theirs = ecdf(censored(times)).sf
    ends = theirs.confidence_interval(method="log-log")
    curve = kaplan_meier(times)
    place = [theirs.quantiles.tolist().index(at) for at in curve.seconds]
    assert curve.share == pytest.approx(theirs.probabilities[place], abs=1e-12)
    known = [number for number, share in enumerate(curve.share) if share]
    for ours, other in ((curve.low, ends.low), (curve.high, ends.high)):
        assert [ours[n] for n in known] == pytest.approx([other.probabilities[place[n]] for n in known])


@pytest.mark.parametrize("seed", range(5))
def test_the_restricted_mean_by_statsmodels(seed: int) -> None:
    """Their curve, summed in steps of a thousandth of a second."""
    times = drawn(seed, 40, 20, 40)
    tau = min(25.0, watched_s(times))
    theirs = SurvfuncRight([time for time, _ in times], [int(observed) for _, observed in times])
    steps = (np.arange(round(tau * 1000)) + 0.5) / 1000
    shares = np.concatenate([[1.0], theirs.surv_prob])[np.searchsorted(theirs.surv_times, steps, side="right")]
    assert restricted_mean(times, tau).mean.value == pytest.approx(float(shares.mean()) * tau)


@pytest.mark.parametrize("seed", range(5))
def test_log_rank_by_scipy(seed: int) -> None:
    first, second = drawn(seed, 30, 20, 60), drawn(seed + 50, 25, 12, 60)
    theirs = logrank(censored(first), censored(second))
    told = log_rank(first, second)
    assert (told.chi2, told.p) == (pytest.approx(theirs.statistic**2), pytest.approx(theirs.pvalue))


@pytest.mark.parametrize("seed", range(3))
def test_stratified_log_rank_by_statsmodels(seed: int) -> None:
    strata = [
        (drawn(10 * seed + k, 20, 10 + 10 * k, 90), drawn(10 * seed + k + 5, 15, 8 + 8 * k, 90)) for k in range(4)
    ]
    rows = [
        (time, observed, arm, stratum)
        for stratum, both in enumerate(strata)
        for arm, times in enumerate(both)
        for time, observed in times
    ]
    seconds, observed, arm, stratum = (np.array(column) for column in zip(*rows, strict=True))
    chi2, p = survdiff(seconds, observed.astype(int), arm, strata=stratum)
    told = stratified_log_rank(strata)
    assert (told.chi2, told.p) == (pytest.approx(chi2), pytest.approx(p))
    assert told.chi2 != pytest.approx(log_rank(*([t for s in strata for t in s[arm]] for arm in (0, 1))).chi2)


def test_restricted_mean_of_6_mp() -> None:
    """R's survfit prints 23.29 with standard error 2.83 up to 35 weeks; our variance is n / (n - 1) times that."""
    told = restricted_mean(SIX_MP, 35)
    assert told.mean.value == pytest.approx(23.29, abs=5e-3)
    assert math.sqrt(told.variance * 20 / 21) == pytest.approx(2.83, abs=5e-3)


@given(*[st.lists(st.integers(0, 40).map(float), min_size=2, max_size=20)] * 2)
def test_with_nobody_lost_it_is_welchs_test(first: list[float], second: list[float]) -> None:
    tau = 30.0
    cut = [[min(time, tau) for time in arm] for arm in (first, second)]
    a, b = ([(min(time, 35.0), time < 35) for time in arm] for arm in (first, second))
    told = difference(a, b, tau)
    assert told.seconds.value == pytest.approx(np.mean(cut[0]) - np.mean(cut[1]), abs=1e-9)
    if np.ptp(cut[0]) == 0 == np.ptp(cut[1]):
        assert math.isnan(told.p) and math.isnan(told.seconds.low)
    elif np.ptp(cut[0]) and np.ptp(cut[1]):
        theirs = ttest_ind(*cut, equal_var=False)
        low, high = theirs.confidence_interval()
        assert told.p == pytest.approx(theirs.pvalue, abs=1e-9)
        assert (told.seconds.low, told.seconds.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
        alone = ttest_1samp(cut[0], 0).confidence_interval()
        assert told.first.mean.low == pytest.approx(max(0, alone.low), abs=1e-6)
        assert told.first.mean.high == pytest.approx(min(tau, alone.high), abs=1e-6)


@given(arms, arms)
def test_what_holds_for_any_times(first: list[Time], second: list[Time]) -> None:
    curve = kaplan_meier(first)
    assert list(curve.share) == sorted(curve.share, reverse=True) and all(0 <= share <= 1 for share in curve.share)
    assert all(
        math.isnan(low) if share == 0 else 0 <= low <= share <= high <= 1
        for low, share, high in zip(curve.low, curve.share, curve.high, strict=True)
    )
    tau = min(9.0, watched_s(first, second))
    if tau > 0:
        there, back = difference(first, second, tau), difference(second, first, tau)
        assert there.seconds.value == pytest.approx(-back.seconds.value)
        assert there.p == pytest.approx(back.p, nan_ok=True)
        assert 0 <= there.first.mean.value <= tau
    same = log_rank(first, first)
    assert math.isnan(same.p) or same.p == pytest.approx(1)


def test_edges() -> None:
    never: list[Time] = [(60.0, False)] * 4
    assert kaplan_meier([]).share == () == kaplan_meier(never).share
    assert kaplan_meier(never).at(30) == 1
    assert restricted_mean(never, 60).mean.value == 60
    assert restricted_mean(never, 60).variance == 0
    assert math.isnan(restricted_mean([], 60).mean.value)
    assert math.isnan(restricted_mean([(5.0, True)], 60).mean.low)
    assert math.isnan(difference(never, never, 60).p), "without spread there is nothing to tell"
    assert math.isnan(log_rank(never, never).p) and math.isnan(log_rank([], []).p)
    assert difference(never, [(10.0, True), (20.0, True), (60.0, False)], 60).seconds.value == pytest.approx(30)
    assert watched_s(never, [(5.0, True)]) == 60 and watched_s([(5.0, True)]) == math.inf
    assert watched_s([(5.0, True), (5.0, False)]) == 5, "one who was not healed by then is not known any further"
    with pytest.raises(ValueError, match=r"61 s is more than the 60\.0 s"):
        restricted_mean(never, 61)
    with pytest.raises(ValueError, match="positive number of seconds"):
        restricted_mean(never, 0)
    with pytest.raises(ValueError, match="at least 0"):
        kaplan_meier([(-1.0, True)])


@pytest.mark.parametrize("lost_s", [1e9, 60.0])
def test_intervals_of_the_difference_hold_the_truth(lost_s: float) -> None:
    """Exponential times with means of 20 and 30 s, watched for 60 s, 15 trials an arm; none lost, or some."""
    draw, held = np.random.default_rng(7), 0
    for _ in range(2000):
        arms: list[list[Time]] = []
        for mean_s in (20, 30):
            heals, ends = draw.exponential(mean_s, 15), np.minimum(60.0, draw.exponential(lost_s, 15))
            arms.append(list(zip(np.minimum(heals, ends).tolist(), (heals <= ends).tolist(), strict=True)))
        tau = min(25.0, watched_s(*arms))
        truth = 20 * (1 - math.exp(-tau / 20)) - 30 * (1 - math.exp(-tau / 30))
        told = difference(*arms, tau)
        held += told.seconds.low <= truth <= told.seconds.high
    assert 0.93 <= held / 2000 <= 0.97
