"""Has it become worse? A look each night, and at most one false alarm in twenty whole seasons of nights.

A test at 5 % each night cries wolf in three of four seasons of thirty nights. Here each night adds to one amount of
evidence, an e-process: a bet that the heal rate fell below a floor, of which nobody who bets while it did not can
expect to gain. That it ever grows to 1 / a has chance a at most, however many nights one looks (J. Ville, "Etude
critique de la notion de collectif", 1939; A. Ramdas et al., "Game-Theoretic Statistics and Safe Anytime-Valid
Inference", Statistical Science 38, 2023).

The bet is spread over rates below the floor (the mixture sequential probability ratio test: H. Robbins, Annals of
Mathematical Statistics 41, 1970) and over the night on which the drop began. It holds for trials of several scenarios
with rates of their own, if every night, and the baseline, counts equally many trials of each, and no other: then all
have one mean rate, and of rates with one mean, equal ones lose the least. How many they are, nothing may decide that
knows what came of them.

In simulations of thirty nights with 30 trials each, false alarms come in less than 1 season of 100: the bound of 5 % is
for any number of nights. A drop from 90 % to 70 %, against a baseline of 300 trials, is told within four nights in six
seasons of ten, within seven in nine of ten; against one of 3,000 within four nights in nine of ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALARM = 0.05  # the chance of an alarm, ever, where nothing became worse
NIGHTS = 30
_FOR_BASELINE = 0.2  # the share of that chance which the doubt about the baseline takes
_RATES = 20  # below the floor, over which the bet is spread
_ENOUGH = 1e100  # evidence is not counted beyond, or it would overflow; nor is that of one night beyond e^460
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """``hits`` of ``n`` valid trials, of one night or of the baseline. ValueError where that cannot be."""

    hits: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.n:
            raise ValueError(f"{self.hits} of {self.n} trials cannot have healed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """After a night, counted from 1. ``alarm`` stays on. ``p`` may be looked at each night: it is always valid."""

    night: int
    evidence: float  # of this night: 1 says nothing, more speaks for a drop
    p: float
    alarm: bool


def floor_of(baseline: Healed, risk: float) -> float:
    """A rate that the baseline's true one is below with chance ``risk`` at most; 0 where nothing healed, or n = 0.

    (C. Clopper, E. Pearson, Biometrika 26, 1934, one-sided.)
    """
    return float(_floors(np.array([baseline.hits]), baseline.n, risk)[0])


def against_baseline(
    nights: Sequence[Healed], baseline: Healed, alarm: float = ALARM, planned: int = NIGHTS
) -> tuple[Watch, ...]:
    """Is the heal rate below that of the baseline, which is itself known from ``n`` trials only?

    A fifth of ``alarm`` is spent on the baseline, whose lowest credible rate is the floor (``floor_of``), the rest on
    the nights. So a small baseline makes it slow and never false. ``p`` is never below that fifth. Who watches several
    things gives each its part of ``alarm``. ValueError as ``against_rate``.
    """
    spent = alarm * _FOR_BASELINE
    return _watch(nights, floor_of(baseline, spent), alarm, spent, planned)


def against_rate(
    nights: Sequence[Healed], rate: float, alarm: float = ALARM, planned: int = NIGHTS
) -> tuple[Watch, ...]:
    """Is the heal rate below ``rate``, a given one, such as what was promised? One entry for each night.

    ``planned`` is for how many nights a drop may begin; more can be watched, and a new season begins with a new call.
    ValueError where ``rate`` is not from 0 to below 1, ``alarm`` not between 0 and 1, or ``planned`` below 1.
    """
    return _watch(nights, rate, alarm, 0.0, planned)


def chance_of_alarm(
    *,
    before: float,
    after: float,
    baseline_n: int,
    per_night: int,
    seed: int,
    quiet: int = 0,
    nights: int = NIGHTS,
    alarm: float = ALARM,
    experiments: int = 2000,
) -> tuple[float, ...]:
    """By simulation: the share of seasons with an alarm by each night, ``against_baseline``.

    The baseline and the first ``quiet`` nights heal at rate ``before``, the others at ``after``. With both alike it is
    the rate of false alarms. Each share has a standard error of sqrt(share (1 - share) / experiments).
    """
    random = np.random.default_rng(seed)
    spent = alarm * _FOR_BASELINE
    floors = _floors(random.binomial(baseline_n, before, size=experiments), baseline_n, spent)
    rates = np.where(np.arange(nights) < quiet, before, after)
    hits = random.binomial(per_night, rates, size=(experiments, nights))
    evidence = _evidence(hits, np.full(nights, per_night), floors, nights)
    alarmed = np.maximum.accumulate(evidence, axis=1) >= 1 / (alarm - spent)
    return tuple(alarmed.mean(axis=0).tolist())


def _watch(nights: Sequence[Healed], floor: float, alarm: float, spent: float, planned: int) -> tuple[Watch, ...]:
    if not (0 <= floor < 1 and 0 < alarm < 1 and planned >= 1):
        raise ValueError(f"nothing can be watched: a rate of {floor}, alarms {alarm}, nights {planned}")
    if not nights:
        return ()
    hits, sizes = np.array([[night.hits for night in nights]]), np.array([night.n for night in nights])
    evidence = _evidence(hits, sizes, np.array([floor]), planned)[0]
    most = np.maximum.accumulate(evidence)
    return tuple(
        Watch(
            night=number,
            evidence=float(now),
            p=min(1.0, spent + 1 / max(float(ever), 1.0)),
            alarm=bool(ever >= 1 / (alarm - spent)),
        )
        for number, (now, ever) in enumerate(zip(evidence, most, strict=True), start=1)
    )


def _evidence(hits: NDArray[np.int64], sizes: NDArray[np.int64], floors: _Numbers, planned: int) -> _Numbers:
    """For each season (row) and night (column): what a stake of 1 has become.

    A night multiplies what is on a rate q by the likelihood of q over that of the floor. A part of 1 / planned is
    put on all rates each night, and keeps its worth until then: the sum is expected to stay 1 where the rate is the
    floor, and to shrink where it is above.
    """
    below = floors[:, None] * (np.arange(_RATES) + 0.5) / _RATES
    with np.errstate(divide="ignore", invalid="ignore"):  # a floor of 0 has nothing below
        hit = np.where(floors[:, None] > 0, np.log(below / floors[:, None]), 0.0)
    miss = np.log1p(-below) - np.log1p(-floors[:, None])
    staked = np.zeros_like(below)
    told = np.empty(hits.shape)
    for night, n in enumerate(sizes):
        healed = hits[:, night, None]
        staked += 1 / planned if night < planned else 0.0
        staked = np.minimum(staked * np.exp(np.minimum(healed * hit + (n - healed) * miss, 460.0)), _ENOUGH)
        told[:, night] = staked.mean(axis=1) + max(0, planned - night - 1) / planned
    return told


def _floors(hits: NDArray[np.int64], n: int, risk: float) -> _Numbers:
    from scipy.special import betaincinv  # noqa: PLC0415 - only who has a baseline waits for it

    floors = betaincinv(np.maximum(hits, 1), n - hits + 1, risk)
    return np.where(hits > 0, floors, 0.0)
