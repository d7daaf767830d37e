"""Against formulas that need no resampling; how often intervals hold the truth, and what becomes of few scenarios."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, t, ttest_1samp

from harness.stats.bootstrap import Resampled, Sample, clustered, paired, stratified

Draw = Callable[[np.random.Generator], list[list[float]]]


def sample(groups: list[list[float]]) -> Sample:
    return Sample(
        values=tuple(value for group in groups for value in group),
        scenarios=tuple(f"s{number}" for number, group in enumerate(groups) for _ in group),
    )


def test_pairs_are_by_scenario_and_seed() -> None:
    told = paired({("a", 1): 1.0, ("a", 2): 0.0, ("b", 1): 1.0}, {("b", 1): 0.0, ("a", 1): 1.0, ("c", 1): 0.0})
    assert (told.values, told.scenarios, told.left_out) == ((0.0, 1.0), ("a", "b"), (("a", 2), ("c", 1)))


def test_each_scenario_counts_alike() -> None:
    uneven = sample([[1.0] * 8 + [0.0] * 2, [0.0, 0.0]])
    assert stratified(uneven, 1).mean.value == pytest.approx(0.4) == clustered(uneven, 1).mean.value


def test_stratified_is_the_interval_of_satterthwaite() -> None:
    """For numbers that are normal: the mean of means, its error from the scenarios' variances, t of their freedom."""
    draw = np.random.default_rng(2)
    groups = [draw.normal(size=size).tolist() for size in (6, 9, 12, 20)]
    errors = [np.var(group, ddof=1) / len(group) / 16 for group in groups]
    freedom = sum(errors) ** 2 / sum(e**2 / (len(g) - 1) for e, g in zip(errors, groups, strict=True))
    told, half = stratified(sample(groups), 1, resamples=40_000).mean, t.ppf(0.975, freedom) * math.sqrt(sum(errors))
    middle = float(np.mean([np.mean(group) for group in groups]))
    assert (told.low, told.high) == (pytest.approx(middle - half, abs=0.02), pytest.approx(middle + half, abs=0.02))
    assert half > 0.2, "0.02 is little"


def test_clustered_is_wider_than_scipys_percentiles_by_what_few_scenarios_ask() -> None:
    draw = np.random.default_rng(3)
    groups = [draw.normal(size=4).tolist() for _ in range(12)]
    means = [float(np.mean(group)) for group in groups]
    theirs = bootstrap((means,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    told = clustered(sample(groups), 1, resamples=20_000)
    wider = (told.mean.high - told.mean.low) / (theirs.high - theirs.low)
    assert (told.method, wider) == ("clustered bootstrap", pytest.approx(2.201 / 1.960 * math.sqrt(12 / 11), rel=0.03))


def test_few_scenarios_have_students_interval() -> None:
    groups = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.5]]
    told = clustered(sample(groups), 1)
    theirs = ttest_1samp([0.5, 1.0, 0.0, 0.75], 0).confidence_interval()
    assert told.method == "t of scenarios"
    assert (told.mean.low, told.mean.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_edges() -> None:
    nothing, one = stratified(sample([]), 1), clustered(sample([[1.0, 0.0, 1.0]]), 1)
    assert math.isnan(nothing.mean.value) and (nothing.method, nothing.n) == ("none", 0)
    assert one.mean.value == pytest.approx(2 / 3) and math.isnan(one.mean.low), "one scenario is no sample of them"
    assert math.isnan(stratified(sample([[1.0], [0.0]]), 1).mean.low), "one trial has no spread"
    same = stratified(sample([[0.0] * 3] * 10), 1).mean
    assert (same.low, same.value, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="1 values have 2 scenarios"):
        Sample(values=(1.0,), scenarios=("a", "b"))
    with pytest.raises(ValueError, match="finite"):
        Sample(values=(math.nan,), scenarios=("a",))


def test_few_trials_have_students_interval() -> None:
    """Of one scenario, as by others: no mean of three resampled trials lies beyond the least and the greatest."""
    told = stratified(sample([[0.1, 1.0, 2.5]]), 1)
    theirs = ttest_1samp([0.1, 1.0, 2.5], 0).confidence_interval()
    assert told.method == "t of trials"
    assert (told.mean.low, told.mean.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert told.mean.low < 0


def test_a_scenario_with_one_trial_has_the_spread_of_the_others_and_the_question_stays() -> None:
    groups = [[1.0, 3.0], [2.0, 5.0, 5.0], [4.0]]
    pooled = (2.0 + 6.0) / 3  # squares within, over degrees of freedom
    errors = [2.0 * (1 / 2 + 1 / 3), 3.0 * (1 / 3 + 2 / 3)]  # by whose variance it is
    assert sum(errors) == pytest.approx(2.0 / 2 + 3.0 / 3 + pooled)
    half = t.ppf(0.975, sum(errors) ** 2 / (errors[0] ** 2 + errors[1] ** 2 / 2)) * math.sqrt(sum(errors)) / 3
    told = stratified(sample(groups), 1)
    assert (told.method, told.scenarios, told.n) == ("t of trials", 3, 6)
    assert (told.mean.low, told.mean.high) == (pytest.approx(10 / 3 - half), pytest.approx(10 / 3 + half))


def test_what_differs_by_rounding_has_no_spread() -> None:
    told = stratified(sample([[0.3 - 0.2, 0.4 - 0.3]]), 1).mean
    assert told.low == told.value == told.high


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=6), min_size=2, max_size=8),
    st.floats(-3, 3),
    st.sampled_from([stratified, clustered]),
)
def test_it_moves_and_grows_with_the_values(
    groups: list[list[float]], shift: float, interval: Callable[[Sample, int], Resampled]
) -> None:
    told = interval(sample(groups), 4).mean
    moved = interval(sample([[2 * value + shift for value in group] for group in groups]), 4).mean
    for before, after in ((told.low, moved.low), (told.value, moved.value), (told.high, moved.high)):
        assert after == pytest.approx(2 * before + shift, abs=1e-6)
    assert interval(sample(groups), 4).mean == told, "of one seed"


def test_ten_thousand_trials_take_two_seconds_at_most() -> None:
    draw = np.random.default_rng(1)
    many = sample(draw.integers(2, size=(10, 1000)).astype(float).tolist())
    began = time.process_time()
    told = stratified(many, 1, resamples=2000).mean
    assert time.process_time() - began < 2
    assert told.high - told.low == pytest.approx(2 * 1.96 * 0.5 / 100, rel=0.1)


def healed_or_not(rng: np.random.Generator) -> list[list[float]]:
    """Ten scenarios of rates 0.15 to 0.9 and 0.05 to 0.8, five pairs each, alike by half: differences of 0.1."""
    rates = np.linspace(0.15, 0.9, 10)[:, None]
    luck = rng.random((10, 5))
    other = np.where(rng.random((10, 5)) < 0.5, luck, rng.random((10, 5)))
    return ((luck < rates).astype(float) - (other < rates - 0.1)).tolist()


def seconds_of_three(rng: np.random.Generator) -> list[list[float]]:
    """Ten scenarios of three pairs each, whose seconds differ by 0.1, with spreads of their own."""
    return (0.1 + np.linspace(0.5, 2, 10)[:, None] * rng.normal(size=(10, 3))).tolist()


def share_that_hold(draw: Draw, interval: Callable[[Sample, int], Resampled], experiments: int = 2000) -> float:
    rng = np.random.default_rng(11)
    held = 0
    for number in range(experiments):
        told = interval(sample(draw(rng)), number).mean
        held += told.low <= 0.1 <= told.high
    return held / experiments


def of_sizes(*sizes: int) -> Draw:
    """Seconds that differ by 0.1, with spreads of 1 and 2 by turns."""
    return lambda rng: [(0.1 + (1 + n % 2) * rng.normal(size=size)).tolist() for n, size in enumerate(sizes)]


def alike_but_one(rng: np.random.Generator) -> list[list[float]]:
    """Nine scenarios of three pairs, and one that lost two of them."""
    return [(0.1 + rng.normal(size=size)).tolist() for size in [3] * 9 + [1]]


FEW = [of_sizes(2), of_sizes(3), of_sizes(4), of_sizes(3, 3), of_sizes(3, 3, 3), alike_but_one]


@pytest.mark.parametrize("draw", [healed_or_not, seconds_of_three, *FEW])
def test_stratified_intervals_hold_the_truth(draw: Draw) -> None:
    held = share_that_hold(draw, lambda values, seed: stratified(values, seed, resamples=999))
    assert 0.93 <= held <= 0.97


def test_of_two_trials_a_scenario_they_are_wider_than_need_be() -> None:
    """Satterthwaite's degrees of freedom are cautious where spreads are alike, each known from one difference."""
    held = share_that_hold(of_sizes(2, 2, 2, 2), lambda values, seed: stratified(values, seed))
    assert 0.97 <= held <= 0.985


def test_where_all_spread_is_that_of_two_trials_they_are_too_narrow() -> None:
    """As the docstring says."""

    def lopsided(rng: np.random.Generator) -> list[list[float]]:
        return [(0.1 + scale * rng.normal(size=2)).tolist() for scale in (1.0, *[0.1] * 7)]

    assert 0.88 <= share_that_hold(lopsided, lambda values, seed: stratified(values, seed)) <= 0.93


def test_the_plain_percentiles_would_not() -> None:
    """With n of n drawn in each scenario, and percentiles as they are, as bootstraps mostly do it."""
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(500):
        values = np.array(seconds_of_three(rng))
        drawn = np.take_along_axis(np.tile(values, (999, 1, 1)), rng.integers(3, size=(999, 10, 3)), axis=2)
        low, high = np.quantile(drawn.mean(axis=(1, 2)), [0.025, 0.975])
        held += low <= 0.1 <= high
    assert held / 500 < 0.91


def test_clustered_intervals_hold_the_truth_of_all_scenarios() -> None:
    """Scenarios differ by 0.5 about 0.1: ten of them by the bootstrap, four by t; the other interval is of these."""

    def some(count: int) -> Draw:
        return lambda rng: (0.1 + rng.normal(0, 0.5, (count, 1)) + rng.normal(0, 1, (count, 5))).tolist()

    for count in (10, 4):
        held = share_that_hold(some(count), lambda values, seed: clustered(values, seed, resamples=999))
        assert 0.93 <= held <= 0.97, count
    assert share_that_hold(some(10), lambda values, seed: stratified(values, seed, resamples=499), 500) < 0.9
