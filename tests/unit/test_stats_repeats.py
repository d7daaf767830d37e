"""pass@k and pass^k against counting, and against what their authors print."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.repeats import Repeats, Tally, pass_at_k, pass_hat_k


def of_one(measure: object, successes: int, n: int, k: int) -> float:
    assert callable(measure)
    told = measure({"s": Tally(successes=successes, n=n)}, k)
    assert isinstance(told, Repeats)
    return told.value


def test_both_by_counting_all_ways_to_draw() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            ends = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                draws = list(combinations(ends, k))
                assert of_one(pass_at_k, c, n, k) == pytest.approx(sum(map(any, draws)) / len(draws))
                assert of_one(pass_hat_k, c, n, k) == pytest.approx(sum(map(all, draws)) / len(draws))


def test_by_the_program_of_chen_et_al() -> None:
    """Figure 3 of arXiv:2107.03374: 1 - prod(1 - k / (n - c + 1 .. n))."""
    for n, c, k in [(200, 3, 10), (200, 57, 100), (100, 1, 99), (20, 20, 5), (20, 0, 5)]:
        printed = 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
        assert of_one(pass_at_k, c, n, k) == pytest.approx(printed)


@given(st.integers(1, 30), st.floats(0, 1), st.data())
def test_neither_is_biased(n: int, p: float, data: st.DataObject) -> None:
    """Over all that n trials of rate p can bring: 1 - (1 - p)^k, and p^k."""
    k = data.draw(st.integers(1, n))
    chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    at = sum(chance * of_one(pass_at_k, c, n, k) for c, chance in enumerate(chances))
    hat = sum(chance * of_one(pass_hat_k, c, n, k) for c, chance in enumerate(chances))
    assert at == pytest.approx(1 - (1 - p) ** k, abs=1e-9)
    assert hat == pytest.approx(p**k, abs=1e-9)


@given(st.integers(2, 40), st.data())
def test_more_tries_help_the_one_and_hurt_the_other(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(1, n - 1))
    at, hat = ([of_one(measure, c, n, k) for k in range(1, n + 1)] for measure in (pass_at_k, pass_hat_k))
    assert at[0] == pytest.approx(c / n) == pytest.approx(hat[0])
    assert at == sorted(at) and at[-1] == 1
    assert hat == sorted(hat, reverse=True) and hat[-1] == 0


def test_a_scenario_counts_once_and_one_with_too_few_trials_is_named() -> None:
    told = pass_hat_k({"a": Tally(successes=9, n=9), "b": Tally(successes=1, n=2), "c": Tally(successes=1, n=1)}, 2)
    assert (told.value, told.by_scenario, told.too_few) == (0.5, {"a": 1.0, "b": 0.0}, ("c",))


def test_what_cannot_be() -> None:
    assert math.isnan(pass_at_k({}, 1).value)
    assert math.isnan(pass_at_k({"a": Tally(successes=0, n=0)}, 1).value)
    with pytest.raises(ValueError, match="0 tries"):
        pass_at_k({}, 0)
    with pytest.raises(ValueError, match="3 of 2"):
        Tally(successes=3, n=2)
