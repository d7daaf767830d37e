"""Against statsmodels, published numbers, and simulated experiments of the size that was reckoned."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from harness.stats.bootstrap import Sample
from harness.stats.paired import Pairs, compare, mcnemar
from harness.stats.power import detectable_paired, detectable_unpaired, more_runs, noise_floor, pairs_needed


def pairs(first: int, second: int, n: int) -> Pairs:
    return Pairs(both=n - first - second, first=first, second=second, neither=0)


def arm(scenarios: int, trials: int, seed: int) -> Sample:
    draw = np.random.default_rng(seed)
    values = (draw.random((scenarios, trials)) < np.linspace(0.2, 0.95, scenarios)[:, None]).astype(float)
    return Sample(
        values=tuple(values.ravel().tolist()),
        scenarios=tuple(f"s{number}" for number in range(scenarios) for _ in range(trials)),
    )


def test_the_noise_floor_is_that_of_two_arms_of_its_halves() -> None:
    """1.96 standard errors of a difference: the variances within scenarios, two arms of ten trials in each."""
    values = np.random.default_rng(1).normal(size=(10, 20)) * np.linspace(0.5, 2, 10)[:, None]
    names = tuple(f"s{number}" for number in range(10) for _ in range(20))
    told = noise_floor(Sample(values=tuple(values.ravel().tolist()), scenarios=names), 2, splits=5000)
    error = math.sqrt(2 * float(values.var(axis=1, ddof=1).sum()) / 10) / 10
    assert told.quantile == pytest.approx(1.96 * error, rel=0.06)
    assert (told.per_arm, told.scenarios, told.too_few) == (100, 10, ())


def test_differences_between_equal_arms_exceed_the_floor_in_one_of_twenty() -> None:
    draw, exceeded = np.random.default_rng(3), 0
    for number in range(400):
        floor = noise_floor(arm(6, 20, 1000 + number), number, splits=400).quantile
        rates = np.linspace(0.2, 0.95, 6)[:, None]
        one, two = ((draw.random((6, 10)) < rates).mean() for _ in range(2))
        exceeded += abs(one - two) > floor + 1e-9
    assert 0.02 <= exceeded / 400 <= 0.08


def test_a_noise_floor_of_little() -> None:
    odd = noise_floor(Sample(values=(1.0, 1.0, 1.0, 0.0), scenarios=("a", "a", "a", "b")), 1)
    assert (odd.quantile, odd.per_arm, odd.too_few) == (0, 1, ("b",))
    assert math.isnan(noise_floor(Sample(values=(), scenarios=()), 1).quantile)


def test_pairs_needed_by_hand() -> None:
    """(1.96 sqrt(0.4) + 0.8416 sqrt(0.4 - 0.04))^2 / 0.04 = 76.09: Connor's formula for 0.3 against 0.1."""
    assert pairs_needed(0.2, 0.4) == 77
    assert pairs_needed(-0.2, 0.4) == 77
    assert pairs_needed(0.2, 0.4, margin=0.05) > 120
    for difference, discordant in ((0.0, 0.4), (0.5, 0.4)):
        with pytest.raises(ValueError, match="no pairs show"):
            pairs_needed(difference, discordant)


@pytest.mark.parametrize(("first", "second"), [(0.3, 0.1), (0.15, 0.05), (0.4, 0.25)])
def test_as_many_pairs_have_the_power(first: float, second: float) -> None:
    """Simulated, decided by the mid-p test: 80 %, and with a quarter of the pairs far less."""
    n, draw = pairs_needed(first - second, first + second), np.random.default_rng(4)

    def power(size: int) -> float:
        ends = draw.multinomial(size, [first, second, 1 - first - second], size=2000).tolist()
        return sum(mcnemar(pairs(a, b, size)) <= 0.05 for a, b, _ in ends) / 2000

    assert power(n) == pytest.approx(0.8, abs=0.05)
    assert power(n // 4) < 0.5


def test_detectable_unpaired_by_statsmodels() -> None:
    for n, before in ((30, 0.5), (50, 0.9), (200, 0.7)):
        drop = detectable_unpaired(n, before, "drop")
        theirs = samplesize_proportions_2indep_onetail(-drop, before, 0.8, alpha=0.05, alternative="two-sided")
        assert theirs == pytest.approx(n, rel=0.03)
    assert detectable_unpaired(100, 0.4, "rise") == pytest.approx(detectable_unpaired(100, 0.6, "drop"))


def test_detectable_paired_is_the_other_way_round() -> None:
    assert detectable_paired(76, 0.4) == pytest.approx(0.2, abs=2e-3)
    assert detectable_paired(100, 0.3) > detectable_paired(400, 0.3) > 0
    assert detectable_paired(100, 0.1) < detectable_paired(100, 0.4), "pairs that agree are no noise"


def test_nothing_is_detectable_with_too_few() -> None:
    assert math.isnan(detectable_paired(5, 0.3))
    assert math.isnan(detectable_unpaired(3, 0.99, "rise")) and math.isnan(detectable_unpaired(10, 0.0, "drop"))
    with pytest.raises(ValueError, match="no experiment"):
        detectable_paired(0, 0.3)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 25))
def test_more_runs_of_any_pairs(first: int, second: int, alike: int) -> None:
    seen = pairs(first, second, first + second + alike)
    told = more_runs(seen, worth=0.1)
    if compare(seen).decision != "undecided":
        assert (told.as_seen, told.if_worth) == (0, 0)
    else:
        assert (told.as_seen is None) == (first == second)
        assert told.if_worth >= 0 and told.so_far == seen.n
        assert more_runs(seen, worth=0.2).if_worth <= told.if_worth


def test_more_runs() -> None:
    undecided = pairs(6, 3, 20)
    told = more_runs(undecided, worth=0.2)
    assert told.as_seen == pairs_needed(0.15, 10 / 22) - 20
    assert told.if_worth == pairs_needed(0.2, 10 / 22) - 20
    assert more_runs(undecided, worth=0.3, margin=0.2).as_seen is None
    nothing = more_runs(pairs(0, 0, 0), worth=0.2)
    assert (nothing.as_seen, nothing.if_worth) == (None, pairs_needed(0.2, 0.5))
    with pytest.raises(ValueError, match="not beyond"):
        more_runs(undecided, worth=0.1, margin=0.1)
