"""Measures against values worked out by hand and by another formula; what intervals and tests make of few groups."""

from __future__ import annotations

import math
import random

import pytest

from harness.stats.ranking import Source, difference, mean, ndcg, recall, reciprocal_rank

GRADES = {"a": 3, "b": 2, "c": 1}


def each_in_its_own_group(count: int) -> list[Source]:
    return [Source(group=f"g{number}", trial="t") for number in range(count)]


def test_ndcg_by_hand() -> None:
    """(3 / 1 + 7 / log2(3)) / (7 / 1 + 3 / log2(3) + 1 / 2)"""
    assert ndcg(["b", "a"], GRADES, 5) == pytest.approx((3 + 4.416508) / (7 + 1.892789 + 0.5), abs=1e-6)
    assert ndcg(["a", "b", "c"], GRADES, 5) == 1
    assert ndcg(["x", "y"], GRADES, 5) == 0 == ndcg([], GRADES, 5)
    assert ndcg(["x", "x", "x", "x", "x", "a"], GRADES, 5) > 0, "what is repeated takes no second place"
    assert math.isnan(ndcg(["a"], {}, 5))


def test_ndcg_by_another_formula() -> None:
    """The gain of a rank is the sum over grades g <= grade of 2^(g - 1); the discount ln 2 / ln(1 + rank)."""
    draw = random.Random(3)
    for _ in range(200):
        names = [f"d{number}" for number in range(9)]
        grades = {name: draw.choice([1, 2, 3]) for name in draw.sample(names, draw.randint(1, 8))}
        ranked = draw.sample(names, draw.randint(0, 9))

        def total(order: list[str], grades: dict[str, int] = grades) -> float:
            told = 0.0
            for place in range(min(5, len(order))):
                gain = sum(2 ** (grade - 1) for grade in range(1, grades.get(order[place], 0) + 1))
                told += gain * math.log(2) / math.log(place + 2)
            return told

        best = total(sorted(grades, key=lambda name: -grades[name]))
        assert ndcg(ranked, grades, 5) == pytest.approx(total(ranked) / best)


def test_reciprocal_rank_and_recall_by_hand() -> None:
    assert reciprocal_rank(["c", "x", "b", "a"], GRADES, 2) == pytest.approx(1 / 3)
    assert reciprocal_rank(["c"], GRADES, 2) == 0
    assert recall(["c", "x", "b", "y", "z", "a"], GRADES, 5, 2) == 0.5
    assert recall(["a", "b"], {"a": 3, "b": 3, "c": 3}, 2, 2) == 1, "more cannot be shown"
    assert math.isnan(recall(["a"], {"a": 1}, 5, 2)) and math.isnan(reciprocal_rank(["a"], {"a": 1}, 2))


def test_a_scenario_counts_once_however_many_queries_it_has() -> None:
    sources = [Source(group="g", trial="t1")] * 8 + [Source(group="g", trial="t2"), Source(group="h", trial="t3")]
    assert mean([1.0] * 8 + [0.0, 0.0], sources, 1).value == pytest.approx((0.5 + 0) / 2)


def test_an_interval_holds_the_mean_and_shrinks_with_groups() -> None:
    """Of the same spread: 32 times as many groups, about a sixth of the width."""
    few, many = [0.0, 1.0] * 3, [0.0, 1.0] * 96
    wide, narrow = (mean(values, each_in_its_own_group(len(values)), 1) for values in (few, many))
    assert wide.low < wide.value == 0.5 == narrow.value < wide.high
    assert 0 < narrow.high - narrow.low < (wide.high - wide.low) / 4
    assert math.isnan(mean([0.5], each_in_its_own_group(1), 1).low)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of groups drawn about 0 with spread 1; 95 % is meant, and the bootstrap is known to fall a little short."""
    draw = random.Random(9)
    held = 0
    for number in range(150):
        told = mean([draw.gauss(0, 1) for _ in range(10)], each_in_its_own_group(10), number)
        held += told.low <= 0 <= told.high
    assert 0.88 <= held / 150 <= 0.99


def test_six_groups_can_tell_and_five_cannot() -> None:
    six = difference([0.5, 0.6, 0.4, 0.5, 0.6, 0.5], [0.0] * 6, each_in_its_own_group(6), 1)
    assert (six.choice, six.better_in, six.p) == ("better", 6, pytest.approx(2 / 64))
    five = difference([0.5, 0.6, 0.4, 0.5, 0.6], [0.0] * 5, each_in_its_own_group(5), 1)
    assert (five.choice, five.p) == ("too few to tell", pytest.approx(2 / 32))
    assert difference([0.0] * 6, [0.5, 0.6, 0.4, 0.5, 0.6, 0.5], each_in_its_own_group(6), 1).choice == "worse"
    assert difference([0.3] * 6, [0.3] * 6, each_in_its_own_group(6), 1).choice == "the same"


def test_a_large_gain_in_one_group_of_six_tells_nothing() -> None:
    told = difference([1.0, 0, 0, 0, 0, 0], [0.0] * 6, each_in_its_own_group(6), 1)
    assert (told.choice, told.better_in, told.same_in) == ("too few to tell", 1, 5)
