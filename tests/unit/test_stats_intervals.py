"""Wilson's interval: against statsmodels, and how often it holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from harness.stats.intervals import rate


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 30), (1, 2), (7, 30), (150, 150), (81, 263)])
def test_by_statsmodels(hits: int, n: int) -> None:
    told = rate(hits, n)
    assert (told.low, told.high) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-12)


def test_by_newcombe() -> None:
    """R. Newcombe, Statistics in Medicine 17, 1998, 857-872, table I, method 3: 81/263, 15/148, 0/20, 1/29."""
    for hits, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        told = rate(hits, n)
        assert (told.low, told.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("n", [10, 30, 150])
def test_intervals_hold_the_truth(n: int) -> None:
    """Of rates that are drawn from all there are: for a single rate it is sometimes more, sometimes less."""
    draw = np.random.default_rng(5)
    truths = draw.uniform(0, 1, 2000)
    told = {hits: rate(hits, n) for hits in range(n + 1)}
    hits = draw.binomial(n, truths).tolist()
    held = sum(told[hit].low <= truth <= told[hit].high for hit, truth in zip(hits, truths.tolist(), strict=True))
    assert 0.93 <= held / 2000 <= 0.97
