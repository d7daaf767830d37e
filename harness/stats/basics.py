"""What all measures share: a value with its interval, what counts as success, and a quantile that needs no scipy."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from harness.model.verdict import Outcome

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its interval, of the level that was asked for. NaN stands for what the data cannot tell."""

    value: float
    low: float
    high: float


def won(outcome: Outcome) -> bool | None:
    """Whether a trial counts for its arm: healed, or left alone what was not broken. None: not measured, INVALID."""
    if outcome is Outcome.INVALID:
        return None
    return outcome in {Outcome.HEALED, Outcome.LEFT_ALONE}


def normal_quantile(share: float) -> float:
    """How many standard deviations above the mean that share of a normal distribution ends."""
    return NormalDist().inv_cdf(share)


def two_sided(level: float) -> float:
    """1.96 for a level of 0.95. ValueError unless the level is between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"a level is between 0 and 1, not {level}")
    return normal_quantile((1 + level) / 2)
