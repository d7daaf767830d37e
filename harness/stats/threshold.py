"""From which confidence on may fixes go live by themselves?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from harness.stats.basics import LEVEL, Estimate
from harness.stats.calibration import Claim, risk_coverage
from harness.stats.intervals import Rate, rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What a threshold makes of some claims. ``gain`` is per claim, those that are not deployed counted as 0.

    Its interval of 95 % has the lower low and the higher high of two: Wilson's for the share that healed of those that
    were deployed, in units of gain, and Student's for the mean gain of a scenario, cut at what is possible. Wilson's
    takes claims of a scenario for independent, and is all there is where scenarios do not differ at all. One scenario
    tells nothing of others: from all bad to all good. Without claims the gain is NaN.
    """

    claims: int
    scenarios: int
    healed: Rate  # of those deployed
    gain: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """``confidence`` is the least to deploy with; infinite: deploy nothing. ``break_even`` is what must heal to pay."""

    confidence: float
    break_even: float
    promised: Deployed  # on the half on which it was chosen: the best of many, and so flattered
    kept: Deployed  # on the other half, of other scenarios; without claims where there is one scenario alone


def threshold(claims: Sequence[Claim], *, benefit: float, cost: float, salt: str = "") -> Threshold:
    """From which confidence on deploying pays, where a good fix is worth ``benefit`` and a bad one costs ``cost``.

    Chosen on one half of the scenarios: the confidence with the greatest gain, the highest of equal ones, since what
    gains nothing need not be deployed. Checked on the other, scenarios that the choice has not seen: seeds of a
    scenario are near copies of one another. Scenarios go to the halves in turn, in the order of a hash of ``salt`` and
    name, so more trials of the same ones move none; another scenario may move others. In the long run a deployment pays
    if more than cost / (benefit + cost) of them heal (C. Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI
    2001).

    ValueError unless benefit and cost are positive and finite.
    """
    if not (0 < benefit < math.inf and 0 < cost < math.inf):
        raise ValueError(f"benefit and cost are positive, not {benefit} and {cost}")
    halves: tuple[list[Claim], list[Claim]] = [], []
    half_of = _halves({claim.scenario for claim in claims}, salt)
    for claim in claims:
        halves[half_of[claim.scenario]].append(claim)
    best, most = math.inf, 0.0
    for point in risk_coverage(halves[0]):
        gain = point.n * (benefit * (1 - point.risk) - cost * point.risk)
        if gain > most + 1e-9 * (benefit + cost):
            best, most = point.confidence, gain
    promised, kept = (_deployed(half, best, benefit, cost) for half in halves)
    return Threshold(confidence=best, break_even=cost / (benefit + cost), promised=promised, kept=kept)


def _deployed(claims: Sequence[Claim], least: float, benefit: float, cost: float) -> Deployed:
    live = [claim.healed for claim in claims if claim.confidence >= least]
    healed = rate(sum(live), len(live))
    gains: dict[str, list[float]] = {}
    for claim in claims:
        gain = 0.0 if claim.confidence < least else benefit if claim.healed else -cost
        gains.setdefault(claim.scenario, []).append(gain)
    told = Estimate(value=math.nan, low=math.nan, high=math.nan)
    if claims:
        share = len(live) / len(claims)
        possible = (0.0, 0.0) if math.isinf(least) else (-cost, benefit)
        low, high = _of_scenarios([fmean(each) for each in gains.values()], *possible)
        told = Estimate(
            value=fmean(gain for each in gains.values() for gain in each),
            low=min(low, share * (healed.low * (benefit + cost) - cost)),
            high=max(high, share * (healed.high * (benefit + cost) - cost)),
        )
    return Deployed(claims=len(claims), scenarios=len(gains), healed=healed, gain=told)


def _of_scenarios(means: Sequence[float], least: float, most: float) -> tuple[float, float]:
    """Student's interval of the mean of these, one a scenario, within what is possible: all of that, of one alone."""
    if len(means) < 2:
        return least, most
    from scipy.special import stdtrit  # noqa: PLC0415 - only who wants an interval waits for it

    half = float(stdtrit(len(means) - 1, (1 + LEVEL) / 2)) * stdev(means) / math.sqrt(len(means))
    return max(least, fmean(means) - half), min(most, fmean(means) + half)


def _halves(scenarios: Iterable[str], salt: str) -> dict[str, int]:
    """For each whether it is in half 0 or 1: in turn, by a hash."""
    order = sorted(scenarios, key=lambda name: hashlib.sha256(f"{salt}\0{name}".encode()).digest())
    return {name: place % 2 for place, name in enumerate(order)}
