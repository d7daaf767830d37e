"""What several tries at one incident are worth: pass@k, at least one of k heals; pass^k, all of k heal.

pass@k is what a fixer can do when it may try again, pass^k how far it can be relied on. With k = 1 both are the heal
rate. They are estimated from n trials of a scenario, of which some healed, and are averaged over scenarios, each
counted alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """``successes`` of ``n`` valid trials of one scenario. ValueError where that cannot be."""

    successes: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.n:
            raise ValueError(f"{self.successes} of {self.n} trials cannot have been successes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """The mean over scenarios, NaN where there is none. ``too_few`` names those that have not k trials: left out."""

    k: int
    value: float
    by_scenario: Mapping[str, float]
    too_few: tuple[str, ...]


def pass_at_k(tallies: Mapping[str, Tally], k: int) -> Repeats:
    """The chance that at least one of ``k`` trials heals.

    1 - C(n - c, k) / C(n, k) for c successes of n, which is unbiased (M. Chen et al., "Evaluating Large Language Models
    Trained on Code", 2021, arXiv:2107.03374, equation 1). ValueError for k < 1.
    """
    return _mean(tallies, k, lambda tally: 1 - math.comb(tally.n - tally.successes, k) / math.comb(tally.n, k))


def pass_hat_k(tallies: Mapping[str, Tally], k: int) -> Repeats:
    """pass^k, the chance that all of ``k`` trials heal.

    C(c, k) / C(n, k) for c successes of n, which is unbiased (S. Yao et al., "tau-bench: A Benchmark for
    Tool-Agent-User Interaction in Real-World Domains", 2024, arXiv:2406.12045). ValueError for k < 1.
    """
    return _mean(tallies, k, lambda tally: math.comb(tally.successes, k) / math.comb(tally.n, k))


def _mean(tallies: Mapping[str, Tally], k: int, chance: Callable[[Tally], float]) -> Repeats:
    if k < 1:
        raise ValueError(f"there is no such thing as {k} tries")
    values = {name: chance(tally) for name, tally in tallies.items() if tally.n >= k}
    return Repeats(
        k=k,
        value=fmean(values.values()) if values else math.nan,
        by_scenario=values,
        too_few=tuple(name for name in tallies if name not in values),
    )
