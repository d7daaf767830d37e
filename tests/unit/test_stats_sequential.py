"""Thirty nights at one rate cry wolf in one season of twenty at most; a drop is told within days."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from harness.stats.sequential import Healed, against_baseline, against_rate, chance_of_alarm, floor_of


def nights(*hits: int, n: int = 30) -> list[Healed]:
    return [Healed(hits=each, n=n) for each in hits]


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("baseline_n", [30, 300, 100_000])
def test_seasons_without_a_drop_have_an_alarm_in_one_of_twenty_at_most(rate: float, baseline_n: int) -> None:
    alarms = chance_of_alarm(before=rate, after=rate, baseline_n=baseline_n, per_night=30, seed=1)
    assert alarms[-1] <= 0.05


def test_against_a_given_rate_alarms_are_rare_and_not_unheard_of() -> None:
    """At that very rate, where the test has no slack but its jumps: 2,000 seasons."""
    draw = np.random.default_rng(2)
    seasons = draw.binomial(30, 0.8, size=(2000, 30)).tolist()
    alarms = sum(against_rate(nights(*season), 0.8)[-1].alarm for season in seasons) / 2000
    assert 0.002 <= alarms <= 0.05


def test_a_test_each_night_would_cry_wolf() -> None:
    """The same seasons with a binomial test at 5 % each night."""
    draw = np.random.default_rng(2)
    worst = draw.binomial(30, 0.8, size=(2000, 30)).min(axis=1)
    assert np.mean(binom.cdf(worst, 30, 0.8) <= 0.05) > 0.5


def test_a_drop_of_twenty_points_is_told() -> None:
    """From 90 % to 70 % after ten quiet nights, 30 trials a night, against a baseline of 300."""
    told = chance_of_alarm(before=0.9, after=0.7, baseline_n=300, per_night=30, quiet=10, seed=3)
    assert told[9] <= 0.05
    assert told[10 + 4] >= 0.5, "within five nights"
    assert told[10 + 9] >= 0.9, "within ten"
    surer = chance_of_alarm(before=0.9, after=0.7, baseline_n=3000, per_night=30, quiet=10, seed=3)
    assert surer[10 + 4] > told[10 + 4] + 0.1, "the more is known of the baseline"


def test_evidence_is_expected_to_stay_one_at_the_floor_and_to_shrink_above() -> None:
    """Exactly, over all that two nights of four trials can bring."""

    def expected(rate: float, floor: float) -> float:
        return sum(
            float(binom.pmf(a, 4, rate) * binom.pmf(b, 4, rate)) * against_rate(nights(a, b, n=4), floor)[1].evidence
            for a in range(5)
            for b in range(5)
        )

    assert expected(0.7, 0.7) == pytest.approx(1)
    assert expected(0.8, 0.7) < 1
    assert expected(0.5, 0.7) > 1.2


def test_scenarios_with_rates_of_their_own_do_no_harm() -> None:
    """Trials of rates 0.4, 0.7, 1.0 and 0.7, and four of 0.7: the former's evidence is expected to grow less."""
    chances = np.array([1.0])
    for rate in (0.4, 0.7, 1.0, 0.7):
        chances = np.convolve(chances, [1 - rate, rate])
    told = sum(float(chance) * against_rate(nights(hits, n=4), 0.7)[0].evidence for hits, chance in enumerate(chances))
    assert told < 1


def test_evidence_by_hand() -> None:
    """One night planned: the mean over rates q below 0.5 of (q / 0.5)^1 ((1 - q) / 0.5)^2, for 1 of 3."""
    rates = (np.arange(20) + 0.5) / 40
    told = against_rate(nights(1, n=3), 0.5, planned=1)
    assert told[0].evidence == pytest.approx(float(np.mean(rates * (1 - rates) ** 2 / 0.125)))
    later = against_rate(nights(1, 0, n=3), 0.5, planned=1)
    assert later[1].evidence == pytest.approx(float(np.mean(rates * (1 - rates) ** 5 / 0.125**2))), "no new stake"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=35), st.floats(0.05, 0.99), st.data())
def test_worse_nights_are_never_less_evidence(hits: list[int], rate: float, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(hits) - 1))
    worse = [max(0, each - 3) if night == at else each for night, each in enumerate(hits)]
    before, after = against_rate(nights(*hits), rate), against_rate(nights(*worse), rate)
    assert all(b.evidence >= a.evidence * (1 - 1e-9) for a, b in zip(before, after, strict=True))
    assert [each.night for each in before] == list(range(1, len(hits) + 1))
    ps = [each.p for each in before]
    assert ps == sorted(ps, reverse=True) and all(0 < p <= 1 for p in ps)
    assert all((each.p <= 0.05) == each.alarm for each in before), "p and alarm agree"


def test_an_alarm_stays_and_nights_without_trials_say_nothing() -> None:
    told = against_baseline(nights(15, 15, 30, 30, 30), Healed(hits=290, n=300))
    assert [night.alarm for night in told][-3:] == [True] * 3
    empty = against_rate([*nights(20), Healed(hits=0, n=0)], 0.8)
    assert empty[0].evidence == pytest.approx(empty[1].evidence)
    assert against_rate([], 0.8) == ()


def test_months_of_outage_do_not_overflow() -> None:
    told = against_rate(nights(*[0] * 60, *[1000] * 60, n=1000), 0.999)
    assert all(math.isfinite(night.evidence) for night in told) and told[-1].alarm


def test_the_floor_is_that_of_clopper_and_pearson() -> None:
    for hits, n in ((270, 300), (1, 5), (30, 30)):
        theirs = binomtest(hits, n).proportion_ci(0.98, method="exact").low
        assert floor_of(Healed(hits=hits, n=n), 0.01) == pytest.approx(theirs)
    assert floor_of(Healed(hits=0, n=30), 0.01) == 0 == floor_of(Healed(hits=0, n=0), 0.01)
    nothing = against_baseline(nights(0, 0, 0), Healed(hits=0, n=0))
    assert [night.p for night in nothing] == [1, 1, 1], "below 0 nothing can drop"


@pytest.mark.parametrize(
    ("rate", "alarm", "planned"), [(1.0, 0.05, 30), (-0.1, 0.05, 30), (0.5, 0, 30), (0.5, 0.05, 0)]
)
def test_what_cannot_be_watched(rate: float, alarm: float, planned: int) -> None:
    with pytest.raises(ValueError, match="nothing can be watched"):
        against_rate(nights(1), rate, alarm, planned)


def test_what_cannot_have_healed() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        Healed(hits=3, n=2)
