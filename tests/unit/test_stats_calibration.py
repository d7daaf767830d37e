"""Against scikit-learn, worked numbers, identities; thresholds on claims whose truth is known."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from harness.stats.basics import Estimate
from harness.stats.calibration import Claim, aurc, brier, reliability, risk_coverage
from harness.stats.intervals import rate
from harness.stats.threshold import threshold

claims_of_any_kind = st.lists(
    st.builds(Claim, confidence=st.floats(0, 1), healed=st.booleans(), scenario=st.sampled_from("abc")),
    min_size=1,
    max_size=40,
)


def claims(*told: tuple[float, bool]) -> list[Claim]:
    """Each of a scenario of its own."""
    return [
        Claim(confidence=confidence, healed=healed, scenario=str(number))
        for number, (confidence, healed) in enumerate(told)
    ]


def drawn(count: int, seed: int) -> list[Claim]:
    """Perfectly calibrated ones, of ten scenarios."""
    draw = np.random.default_rng(seed)
    return [
        Claim(confidence=sure, healed=bool(draw.random() < sure), scenario=f"s{number % 10}")
        for number, sure in enumerate(draw.random(count).tolist())
    ]


def test_brier_by_hand() -> None:
    """Two bins, each of equally sure claims: the three parts of Murphy, and nothing within."""
    told = brier(claims((0.8, True), (0.8, True), (0.8, True), (0.8, False), (0.3, False), (0.3, True)))
    assert told.score == pytest.approx((3 * 0.04 + 0.64 + 0.09 + 0.49) / 6)
    assert told.reliability == pytest.approx((4 * 0.05**2 + 2 * 0.2**2) / 6)
    assert told.resolution == pytest.approx((4 * (1 / 12) ** 2 + 2 * (1 / 6) ** 2) / 6)
    assert told.uncertainty == pytest.approx(4 / 6 * 2 / 6)
    assert (told.spread_within, told.covariance_within) == (pytest.approx(0, abs=1e-15), pytest.approx(0, abs=1e-15))


@given(claims_of_any_kind, st.integers(1, 12))
def test_the_parts_make_the_score_and_the_score_is_sklearns(told: list[Claim], bins: int) -> None:
    parts = brier(told, bins)
    whole = parts.reliability - parts.resolution + parts.uncertainty + parts.spread_within - parts.covariance_within
    assert whole == pytest.approx(parts.score, abs=1e-12)
    theirs = brier_score_loss([int(c.healed) for c in told], [c.confidence for c in told], pos_label=1)
    assert parts.score == pytest.approx(theirs, abs=1e-12)


def test_the_table_by_sklearn() -> None:
    told = drawn(300, 3)
    rates, means = calibration_curve([c.healed for c in told], [c.confidence for c in told], n_bins=10)
    table = reliability(told)
    assert [row.healed.hits / row.healed.n for row in table.bins] == pytest.approx(rates)
    assert [row.confidence for row in table.bins] == pytest.approx(means)
    assert sum(row.healed.n for row in table.bins) == table.n == 300
    by_hand = sum(row.healed.n / 300 * abs(row.confidence - row.healed.hits / row.healed.n) for row in table.bins)
    assert table.ece == pytest.approx(by_hand)


def test_the_table_has_bins_that_have_claims_and_the_last_one_holds_1() -> None:
    table = reliability(claims((1.0, True), (0.95, False), (0.0, False), (0.1, False)))
    assert [(row.low, row.high, row.healed.n) for row in table.bins] == [(0.0, 0.1, 1), (0.1, 0.2, 1), (0.9, 1.0, 2)]
    assert table.ece == pytest.approx((0.95 + 0.1) / 4)


def test_ece_shrinks_with_claims_though_calibration_is_the_same() -> None:
    assert reliability(drawn(50, 1)).ece > 2 * reliability(drawn(5000, 1)).ece > 0


def test_risk_and_coverage_by_hand() -> None:
    told = claims((0.9, True), (0.8, False), (0.8, True), (0.1, False))
    assert [(p.confidence, p.coverage, p.risk, p.n) for p in risk_coverage(told)] == [
        (0.9, 0.25, 0, 1),
        (0.8, 0.75, pytest.approx(1 / 3), 3),
        (0.1, 1, 0.5, 4),
    ]


def test_aurc_is_the_mean_over_all_orders_of_equally_sure_ones() -> None:
    tied = [(0.8, False), (0.8, True), (0.8, False), (0.8, True)]

    def area(order: tuple[tuple[float, bool], ...]) -> float:
        wrong = np.cumsum([not healed for _, healed in ((0.9, True), *order, (0.1, False))])
        return float(np.mean(wrong / np.arange(1, 7)))

    assert aurc(claims((0.1, False), *tied, (0.9, True))) == pytest.approx(
        np.mean([area(o) for o in permutations(tied)])
    )


@given(claims_of_any_kind)
def test_aurc_is_least_where_the_surest_heal(told: list[Claim]) -> None:
    best = [Claim(confidence=1.0 if claim.healed else 0.0, healed=claim.healed) for claim in told]
    worst = [Claim(confidence=0.0 if claim.healed else 1.0, healed=claim.healed) for claim in told]
    assert aurc(best) - 1e-12 <= aurc(told) <= aurc(worst) + 1e-12
    assert aurc(told) == pytest.approx(aurc(told[::-1]))


def test_a_threshold_is_near_break_even_where_claims_are_calibrated() -> None:
    told = threshold(drawn(20_000, 4), benefit=1, cost=3)
    assert told.break_even == 0.75
    assert told.confidence == pytest.approx(0.75, abs=0.1)
    expected = 2 * (1 - told.confidence**2) - 3 * (1 - told.confidence)  # of 4 c - 3, from there to 1
    assert told.kept.gain.low <= expected <= told.kept.gain.high
    assert told.promised.gain.value == pytest.approx(expected, abs=0.03)
    assert (told.promised.claims, told.kept.claims) == (10_000, 10_000)
    assert (told.promised.scenarios, told.kept.scenarios) == (5, 5)


def test_what_a_threshold_promises_is_more_than_what_it_keeps() -> None:
    """On claims of which confidence tells nothing, and deploying costs on average."""
    draw = np.random.default_rng(6)
    promised, kept = [], []
    for _ in range(100):
        some = claims(*((float(draw.random()), bool(draw.random() < 0.6)) for _ in range(60)))
        told = threshold(some, benefit=1, cost=2)
        promised.append(told.promised.gain.value)
        kept.append(told.kept.gain.value)
    assert np.mean(promised) > 0.01 and np.mean(kept) < 0


def test_it_deploys_nothing_where_nothing_pays_and_all_where_all_does() -> None:
    none = threshold(claims(*[(0.9, False)] * 20), benefit=5, cost=1)
    assert none.confidence == math.inf
    assert (none.kept.healed.n, none.kept.gain.value, none.kept.gain.high) == (0, 0, 0)
    every = threshold(claims(*[(0.2, True)] * 20), benefit=5, cost=1)
    assert every.confidence == 0.2
    assert every.kept.gain.value == 5 == every.promised.gain.value
    assert every.kept.gain.low < 5, "that ten of ten healed does not mean that all do"
    nothing = threshold([], benefit=1, cost=1)
    assert (nothing.confidence, nothing.kept.claims, nothing.kept.scenarios) == (math.inf, 0, 0)
    for benefit, cost in ((0, 1), (1, -1), (math.inf, 1)):
        with pytest.raises(ValueError, match="positive"):
            threshold([], benefit=benefit, cost=cost)


def test_a_scenario_is_in_one_half_whatever_its_trials_are() -> None:
    """Seven scenarios of different sizes, in turn in one half and the other: no trial moves one, but another salt."""
    told = [Claim(confidence=0.5, healed=True, scenario=f"s{size}") for size in range(7) for _ in range(2**size)]

    def half(of: list[Claim], salt: str = "") -> int:
        """Which scenarios are in the first half, a bit each."""
        found = threshold(of, benefit=1, cost=1, salt=salt)
        assert (found.promised.scenarios, found.kept.scenarios) == (4, 3)
        assert found.promised.claims + found.kept.claims == len(of)
        return found.promised.claims

    first = half(told)
    assert half(told[::-1]) == first
    assert half([Claim(confidence=0.5, healed=False, scenario=each.scenario) for each in told]) == first
    assert half(told * 3) == 3 * first
    assert len({half(told, salt) for salt in "abcdef"}) > 1


def test_of_one_scenario_there_is_nothing_left_to_check_on() -> None:
    told = threshold([Claim(confidence=0.9, healed=True, scenario="a")] * 50, benefit=2, cost=3)
    assert (told.confidence, told.promised.claims, told.promised.gain.value) == (0.9, 50, 2)
    assert (told.promised.gain.low, told.promised.gain.high) == (-3, 2), "fifty seeds of it tell nothing of others"
    assert (told.kept.claims, told.kept.scenarios) == (0, 0)
    assert math.isnan(told.kept.gain.value) and math.isnan(told.kept.gain.low)


def test_who_deploys_nothing_gains_nothing_for_sure() -> None:
    told = threshold([Claim(confidence=0.9, healed=False, scenario="a")] * 50, benefit=2, cost=3)
    assert told.promised.gain == Estimate(value=0, low=0, high=0)


def test_the_interval_is_the_wider_of_two() -> None:
    """Of claims alike in all scenarios it is Wilson's of claims; where scenarios differ it is Student's of these."""
    alike = [Claim(confidence=0.9, healed=n % 5 > 0, scenario=f"s{n // 20}") for n in range(200)]
    told = threshold(alike, benefit=1, cost=1).kept
    wilson = rate(80, 100)
    assert (told.healed, told.scenarios) == (wilson, 5)
    assert (told.gain.low, told.gain.high) == pytest.approx((2 * wilson.low - 1, 2 * wilson.high - 1))
    good = {f"s{number}": 10 + 2**number for number in range(4)}  # of fifty: no two pairs have as many together
    apart = [Claim(confidence=0.9, healed=n < hits, scenario=name) for name, hits in good.items() for n in range(50)]
    told = threshold(apart, benefit=3, cost=0.1).kept
    (pair,) = (pair for pair in combinations(good.values(), 2) if sum(pair) == told.healed.hits)
    student = ttest_1samp([hits / 50 * 3.1 - 0.1 for hits in pair], 0).confidence_interval()
    assert told.gain.low == pytest.approx(max(-0.1, student.low))
    assert told.gain.high == pytest.approx(min(3, student.high))


@pytest.mark.parametrize("salt", [*"abcdefghij"])
def test_a_confidence_that_only_tells_scenarios_apart_is_not_confirmed(salt: str) -> None:
    """The surest scenario always heals, the next one never, and so on: where seeds are split, both halves agree."""
    told = [
        Claim(confidence=0.95 - 0.05 * number, healed=number % 2 == 0, scenario=f"s{number}")
        for number in range(12)
        for _ in range(20)
    ]
    assert threshold(told, benefit=1, cost=1, salt=salt).kept.gain.low <= 0


@pytest.mark.parametrize(("scenarios", "at_most"), [(4, 0.1), (12, 0.03)])
def test_what_tells_nothing_of_other_scenarios_is_rarely_confirmed(scenarios: int, at_most: float) -> None:
    """Simulated: whether a scenario heals, with all of its twenty seeds, is a coin's, and its confidence its own."""
    draw, confirmed, chosen = np.random.default_rng(11), 0, 0
    for experiment in range(300):
        told = [
            Claim(confidence=sure, healed=healed, scenario=f"{experiment} {number}")
            for number, (sure, healed) in enumerate(
                zip(draw.random(scenarios), draw.random(scenarios) < 0.5, strict=True)
            )
            for _ in range(20)
        ]
        found = threshold(told, benefit=1, cost=1)
        chosen += math.isfinite(found.confidence)
        confirmed += found.kept.gain.low > 0
    assert chosen > 100
    assert confirmed / chosen < at_most


def test_edges() -> None:
    assert math.isnan(brier([]).score) and math.isnan(reliability([]).ece) and math.isnan(aurc([]))
    assert risk_coverage([]) == () == reliability([]).bins
    with pytest.raises(ValueError, match="between 0 and 1"):
        Claim(confidence=1.1, healed=True)
    with pytest.raises(ValueError, match="0 bins"):
        brier(claims((0.5, True)), 0)
