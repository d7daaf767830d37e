"""How much is fuzzed, and how long one case may take.

A test run tries the same few cases each time; `HYPOTHESIS_PROFILE=nightly` tries 10,000 new ones a test.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import HealthCheck, configuration, is_hypothesis_test, settings

CASE_S = 20.0  # a case that takes longer hangs

_ALL = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
settings.register_profile(
    "default", max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=_ALL
)
settings.register_profile(
    "nightly", max_examples=10_000, database=None, deadline=None, print_blob=True, suppress_health_check=_ALL
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """What Hypothesis keeps for itself lies with pytest's own cache."""
    configuration.set_hypothesis_home_dir(config.rootpath / ".pytest_cache" / "hypothesis")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Each case is bounded, and no test as a whole: a night of 10,000 cases takes minutes."""
    test = getattr(item, "obj", None)
    if test is not None and is_hypothesis_test(test):
        test.hypothesis.inner_test = _bounded(test.hypothesis.inner_test)
        item.add_marker(pytest.mark.timeout(0))
        item.add_marker(pytest.mark.filterwarnings("ignore:Generating overly large repr"))  # when a long case fails


def _bounded(case: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(case)
    def bounded(*args: object, **kwargs: object) -> None:
        before = signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, CASE_S)
        try:
            case(*args, **kwargs)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return bounded


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    pytest.fail(f"one case takes longer than {CASE_S:g} s")  # no Exception, which what is tested could swallow
