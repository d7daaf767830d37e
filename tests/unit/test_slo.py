"""Objectives, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from harness.model.scenario import BurnRate, Slo
from harness.model.window import RouteWindow, Window
from harness.trial import slo

FAST = Slo.model_validate({"name": "fast", "routes": ["browse"], "latency": {"p95Ms": 300}, "objective": 0.99})
LAX = Slo.model_validate({"name": "lax", "routes": ["browse", "buy"], "latency": {"p95Ms": 300}, "objective": 0.5})


def window(index: int = 0, *, span_s: float = 1.0, **routes: RouteWindow) -> Window:
    return Window(index=index, start_s=index * span_s, end_s=(index + 1) * span_s, routes=routes)


def browsed(ok: int = 0, **others: int) -> Window:
    return window(browse=RouteWindow(ok=ok, **others))


# --- one window ---


@pytest.mark.parametrize(
    ("ok", "others", "holds"),
    [
        (100, {}, True),
        (99, {"failed": 1}, True),  # 1 % is the budget
        (98, {"failed": 2}, False),
        (95, {"slow": 5}, True),  # the 95th of 100 is in time
        (94, {"slow": 6}, False),
        (94, {"slow": 5, "failed": 1}, False),  # a wrong answer is infinitely late
        (99, {"dropped": 1}, True),
        (99, {"pending": 1}, True),
        (98, {"dropped": 1, "pending": 1}, False),
        (1, {}, True),
        (0, {"slow": 1}, False),
        (9, {"slow": 1}, False),  # of 10, the p95 is the 10th
        (19, {"slow": 1}, True),  # of 20, it is the 19th
        (18, {"slow": 2}, False),
        (0, {}, False),  # no arrivals is not health
    ],
)
def test_an_objective_holds_when_enough_are_right_and_enough_are_in_time(
    ok: int, others: dict[str, int], holds: bool
) -> None:
    assert slo.holds(FAST, browsed(ok, **others)) is holds


def nearest_rank_p95(latencies: Sequence[float]) -> float:
    return sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]


def test_it_holds_exactly_when_the_nearest_rank_p95_over_all_arrivals_is_in_time() -> None:
    for arrivals in range(1, 130):
        for late in range(arrivals + 1):
            latencies = [10.0] * (arrivals - late) + [math.inf] * late
            assert slo.holds(LAX, browsed(arrivals - late, slow=late)) is (nearest_rank_p95(latencies) <= 300)


def test_routes_of_one_objective_count_together_and_others_do_not() -> None:
    both = window(browse=RouteWindow(ok=96), buy=RouteWindow(slow=4), other=RouteWindow(failed=900))
    assert slo.holds(LAX, both) and slo.holds(FAST, both)
    assert not slo.holds(LAX, window(browse=RouteWindow(ok=90), buy=RouteWindow(slow=10)))
    assert not slo.holds(FAST, window(buy=RouteWindow(ok=100))), "its route was not asked for"


def test_a_window_is_good_when_all_hold_and_enough_arrived() -> None:
    assert slo.good([FAST, LAX], browsed(20), 20)
    assert not slo.good([FAST], browsed(19), 20)
    assert not slo.good([FAST, LAX], window(browse=RouteWindow(ok=90), buy=RouteWindow(failed=60)), 20)


def test_broken_objectives_are_those_that_arrivals_are_seen_to_break() -> None:
    assert slo.broken([FAST, LAX], window(browse=RouteWindow(ok=97, failed=3))) == ["fast"]
    assert slo.broken([FAST, LAX], browsed(0, failed=9)) == ["fast", "lax"]
    assert slo.broken([FAST, LAX], browsed(0)) == []


# --- burn rate ---


def run(*bad: int, arrivals: int = 20) -> list[Window]:
    """One window of a second after the other, with so many bad arrivals each."""
    return [window(n, browse=RouteWindow(ok=arrivals - count, failed=count)) for n, count in enumerate(bad)]


def test_the_burn_rate_is_the_wrong_share_over_the_objectives_or_the_bad_share_over_the_p95s_allowance() -> None:
    assert slo.burn_rate(FAST, [browsed(75, slow=25)]) == pytest.approx(5)  # 25 % too late, 5 % may be
    assert slo.burn_rate(LAX, [browsed(40, failed=60)]) == pytest.approx(12)  # 60 % wrong: 1.2 times, and bad: 12 times
    assert slo.burn_rate(FAST, run(2)) == pytest.approx(10)  # 10 % bad, 1 % allowed
    assert slo.burn_rate(FAST, run(0, 2)) == pytest.approx(5)
    assert slo.burn_rate(FAST, []) == slo.burn_rate(FAST, run(0, arrivals=0)) == 0


@pytest.mark.parametrize(
    ("bad", "burns"),
    [
        ((0, 0, 0, 0, 4, 8), True),  # long 12 of 120 = 10 times, short 12 of 40 = 30 times
        ((0, 0, 0, 0, 4, 7), False),  # long 11 of 120 = 9.2 times
        ((20, 20, 20, 20, 0, 0), False),  # it is over: short 0
        ((20, 20, 20, 20, 0, 4), True),  # short 4 of 40 = 10 times
        ((20, 20, 20, 20, 0, 3), False),
        ((20, 0, 0, 0, 0, 0, 8), False),  # the first is older than the long window: 8 of 120 = 6.7 times
        ((20, 20, 20, 20, 20, 0, 0, 0, 0, 0, 0), False),
        ((2,), True),  # the only one there is so far
        ((), False),
    ],
)
def test_it_burns_when_the_long_and_the_short_window_do(bad: tuple[int, ...], burns: bool) -> None:
    rule = BurnRate.model_validate({"factor": 10, "long": 6, "short": 2})
    assert bool(slo.burning([FAST], run(*bad), rule)) is burns


def test_what_burns_is_told_with_its_numbers() -> None:
    rule = BurnRate.model_validate({"factor": 10, "long": 6, "short": 2})
    told = slo.burning([LAX, FAST], run(0, 0, 0, 0, 4, 8), rule)
    assert told == "fast burns its error budget 10 times too fast over 6 s and 30 times over 2 s"


def test_windows_shorter_than_a_second_are_counted_by_their_time() -> None:
    rule = BurnRate.model_validate({"factor": 10, "long": 1, "short": 0.5})
    early = [window(n, span_s=0.25, browse=RouteWindow(failed=10)) for n in range(4)]
    late = [window(n, span_s=0.25, browse=RouteWindow(ok=10)) for n in range(4, 6)]
    assert slo.burning([FAST], early, rule)
    assert not slo.burning([FAST], early + late, rule)


# --- over a whole trial ---


def test_the_budget_burned_counts_bad_arrivals_against_those_allowed() -> None:
    assert slo.budget_burned([FAST], run(0, 1, arrivals=50)) == pytest.approx(1)  # 1 bad of 100, 1 allowed
    assert slo.budget_burned([FAST], run(20, 20)) == pytest.approx(100)
    two = window(browse=RouteWindow(ok=90, slow=10), buy=RouteWindow(ok=40, failed=60))
    assert slo.budget_burned([FAST], [two]) == pytest.approx(2)  # 10 % too late, 5 % may be
    assert slo.budget_burned([FAST, LAX], [two]) == pytest.approx(7), "70 of 200 bad, 10 may be: who suffered most"
    assert slo.budget_burned([FAST], []) == 0


def test_the_first_good_run_is_the_first_that_is_long_enough() -> None:
    windows = run(0, 0, 9, 0, 0, 0, 0, 9, 0, 0, 0)
    found = slo.first_good_run([FAST], windows, 20, 3)
    assert found and (found[0].index, found[1].index) == (3, 5)
    assert slo.first_good_run([FAST], windows, 20, 5) is None
    assert slo.first_good_run([FAST], windows, 21, 1) is None
    one = slo.first_good_run([FAST], windows, 20, 1)
    assert one and one[0] is one[1] is windows[0]
