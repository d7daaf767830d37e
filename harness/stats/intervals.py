"""Intervals for rates. Stands on scipy alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``hits`` of ``n``, with a 95 % interval after Wilson (E. B. Wilson, JASA 22, 1927)."""

    hits: int
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        """Such as ``0 of 150 (0.0-2.5 %)``."""
        return f"{self.hits} of {self.n} ({100 * self.low:.1f}-{100 * self.high:.1f} %)" if self.n else "0 of 0"


def rate(hits: int, n: int) -> Rate:
    """The rate with its interval; with n = 0 nothing is known, and the interval is all there is."""
    if not n:
        return Rate(hits=0, n=0, low=0.0, high=1.0)
    from scipy.stats import binomtest  # noqa: PLC0415 - half a second that only those wait who want an interval

    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return Rate(hits=hits, n=n, low=float(interval.low), high=float(interval.high))
