"""Against published examples, statsmodels and scipy; how often the paired interval holds the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, fisher_exact, hypergeom
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from harness.model.verdict import Outcome
from harness.stats.basics import Estimate, won
from harness.stats.intervals import rate
from harness.stats.paired import (
    Pairs,
    compare,
    decide,
    fisher,
    mcnemar,
    paired_difference,
    tally,
    unpaired_difference,
    with_missing,
)

counts = st.integers(0, 30)


def of(both: int, first: int, second: int, neither: int) -> Pairs:
    return Pairs(both=both, first=first, second=second, neither=neither)


@pytest.mark.parametrize(
    ("pairs", "low", "high", "digits"),
    [
        (of(36, 12, 2, 0), 0.0569, 0.3404, 4),
        (of(1, 1, 7, 12), -0.507, -0.026, 3),
        (of(59, 6, 16, 80), -0.1186, -0.0046, 4),
    ],
)
def test_paired_differences_as_published(pairs: Pairs, low: float, high: float, digits: int) -> None:
    """R. Newcombe, Statistics in Medicine 17, 1998, 2635-2650, table II (a); M. Fagerland, S. Lydersen, P. Laake,
    Statistics in Medicine 33, 2014, 2850-2875 (airways before and after a transplantation: Bentur et al., 2009); the
    same authors' "Statistical Analysis of Contingency Tables", 2017, chapter 8 (response: Cavo et al., 2012).
    """
    told = paired_difference(pairs)
    assert (round(told.low, digits), round(told.high, digits)) == (low, high)


@pytest.mark.parametrize(
    ("hits", "n", "other", "other_n", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_unpaired_differences_as_published(
    hits: int, n: int, other: int, other_n: int, low: float, high: float
) -> None:
    """R. Newcombe, Statistics in Medicine 17, 1998, 873-890, table II, method 10; and by statsmodels."""
    told = unpaired_difference(hits, n, other, other_n)
    assert (told.low, told.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    theirs = confint_proportions_2indep(hits, n, other, other_n, compare="diff", method="newcomb")
    assert (told.low, told.high) == pytest.approx(theirs, abs=1e-9)


def test_mcnemar_as_published() -> None:
    """Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13:91, 2013: mid-p 0.0391 for 1 and 7."""
    assert mcnemar(of(1, 1, 7, 12)) == pytest.approx(0.0391, abs=5e-5)


@given(counts, counts, counts, counts)
def test_mcnemar_by_statsmodels(both: int, first: int, second: int, neither: int) -> None:
    differ = first + second
    exact = their_mcnemar([[both, first], [second, neither]], exact=True).pvalue if differ else 1.0
    if differ:
        assert exact == pytest.approx(binomtest(first, differ).pvalue)
    seen = binom.pmf(first, differ, 0.5) if differ else 0.0
    assert mcnemar(of(both, first, second, neither)) == pytest.approx(exact - (seen / 2 if first == second else seen))


@given(counts, counts, counts, counts)
def test_what_holds_for_any_pairs(both: int, first: int, second: int, neither: int) -> None:
    there, back = (compare(of(both, a, b, neither)) for a, b in ((first, second), (second, first)))
    assert -1 <= there.difference.low <= there.difference.high <= 1
    assert 0 < there.p <= 1 and there.p == back.p
    if not there.pairs.n:
        assert there.decision == "undecided" and math.isnan(there.difference.value)
        return
    assert there.difference.low - 1e-12 <= there.difference.value <= there.difference.high + 1e-12
    assert (there.difference.low, there.difference.high) == pytest.approx((-back.difference.high, -back.difference.low))
    assert {there.decision, back.decision} in ({"undecided"}, {"better", "worse"})


@given(counts, counts)
def test_pairs_that_do_not_hang_together_are_as_two_arms(both: int, first: int) -> None:
    """With phi = 0 method 10 is the hybrid score interval."""
    alone = of(both, first, both, first)
    if alone.n:
        told = paired_difference(alone)
        apart = unpaired_difference(both + first, alone.n, 2 * both, alone.n)
        assert (told.low, told.high) == pytest.approx((apart.low, apart.high))


def test_an_arm_without_trials_may_be_anything() -> None:
    known = rate(8, 10)
    told = unpaired_difference(8, 10, 0, 0)
    assert math.isnan(told.value)
    assert (told.low, told.high) == (pytest.approx(known.low - 1), pytest.approx(known.high))
    assert paired_difference(of(0, 0, 0, 0)).low == -1
    with pytest.raises(ValueError, match="3 of 2"):
        unpaired_difference(3, 2, 0, 0)
    with pytest.raises(ValueError, match="not negative"):
        of(1, -1, 0, 0)


def test_decisions() -> None:
    told = [
        decide(Estimate(value=0.1, low=low, high=low + 0.1), 0.01, margin)
        for low, margin in [(0.06, 0.05), (0.05, 0.05), (-0.16, 0.05), (-0.15, 0.05), (-0.05, 0.0), (0.001, 0.0)]
    ]
    assert told == ["better", "undecided", "worse", "undecided", "undecided", "better"]
    assert (
        compare(of(10, 12, 1, 7)).decision == "better" and compare(of(10, 12, 1, 7), margin=0.3).decision == "undecided"
    )
    with pytest.raises(ValueError, match="margin"):
        decide(Estimate(value=0, low=0, high=0), 0.01, -0.1)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 10, 20])
def test_equal_arms_are_decided_in_one_of_twenty_however_few_the_pairs(n: int) -> None:
    """Exactly, over all that can come, of two arms that heal each by itself, in half of all trials."""
    chance = {"better": 0.0, "worse": 0.0, "undecided": 0.0}
    for first in range(n + 1):
        for second in range(n + 1 - first):
            ways = math.comb(n, first) * math.comb(n - first, second) * 2 ** (n - first - second)
            chance[compare(of(0, first, second, n - first - second)).decision] += ways / 4**n
    assert sum(chance.values()) == pytest.approx(1)
    assert chance["better"] + chance["worse"] <= 0.06


@pytest.mark.parametrize("n", [2, 5, 10, 20])
def test_nor_are_arms_that_are_not_paired(n: int) -> None:
    decided = 0.0
    for first in range(n + 1):
        for second in range(n + 1):
            told = decide(unpaired_difference(first, n, second, n), fisher(first, n, second, n))
            decided += (told != "undecided") * math.comb(n, first) * math.comb(n, second) / 4**n
    assert decided <= 0.06


@settings(max_examples=50)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_fisher_by_scipy(hits: int, missed: int, other_hits: int, other_missed: int) -> None:
    """Mid-p is the mean of the exact p and what it would be without the tables that are as likely."""
    assume(
        hits + missed
        and other_hits + other_missed
        and 0 < hits + other_hits < hits + missed + other_hits + other_missed
    )
    ours = fisher(hits, hits + missed, other_hits, other_hits + other_missed)
    table = [[hits, missed], [other_hits, other_missed]]
    law = hypergeom(sum(map(sum, table)), hits + missed, hits + other_hits)
    alike = sum(law.pmf(k) for k in range(25) if law.pmf(k) == pytest.approx(law.pmf(hits), rel=1e-6, abs=0))
    assert ours == pytest.approx(float(fisher_exact(table).pvalue) - alike / 2, abs=1e-9)


def test_identical_arms() -> None:
    told = compare(of(20, 0, 0, 10))
    assert (told.difference.value, told.p, told.decision) == (0, 1, "undecided")
    assert told.difference.low < 0 < told.difference.high, "that they never differed in thirty does not mean never"


def test_what_is_missing_can_decide_or_not() -> None:
    clear = [(True, False)] * 20 + [(True, True)] * 10
    told = with_missing([*clear, (None, True), (False, None), (None, None)])
    assert (told.missing, told.seen.pairs) == (3, of(10, 20, 0, 0))
    assert told.against.pairs == of(10, 20, 3, 0), "(no, yes) each time"
    assert told.in_favour.pairs == of(11, 21, 0, 1)
    assert told.whatever_is_missing and told.seen.decision == "better"
    shaky = with_missing([(True, False)] * 7 + [(True, True)] * 10 + [(None, True)] * 6)
    assert (shaky.seen.decision, shaky.against.decision) == ("better", "undecided")
    assert not shaky.whatever_is_missing
    whole = with_missing(clear)
    assert whole.seen == whole.against == whole.in_favour


def test_outcomes_that_count() -> None:
    told = {outcome: won(outcome) for outcome in Outcome}
    assert {outcome for outcome, good in told.items() if good} == {Outcome.HEALED, Outcome.LEFT_ALONE}
    assert [outcome for outcome, good in told.items() if good is None] == [Outcome.INVALID]


@pytest.mark.parametrize(("n", "share"), [(30, 0.5), (60, 0.3), (100, 0.15)])
def test_paired_intervals_hold_the_truth(n: int, share: float) -> None:
    """Arms of rates 0.2 to 0.9 that differ by up to 0.15, in which that share of pairs goes by luck of its own."""
    draw, held = np.random.default_rng(8), 0
    for _ in range(2000):
        rates = draw.uniform(0.2, 0.8) + np.array([0.0, draw.uniform(-0.1, 0.15)])
        luck = draw.random(n)
        other = np.where(draw.random(n) < share, draw.random(n), luck)
        told = paired_difference(tally(zip((luck < rates[0]).tolist(), (other < rates[1]).tolist(), strict=True)))
        held += told.low <= rates[0] - rates[1] <= told.high
    assert 0.93 <= held / 2000 <= 0.97
