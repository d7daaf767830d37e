"""Is an arm as sure as it should be, and from which confidence on may its fixes go live by themselves?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from harness.errors import InputError
from harness.experiment.results import TrialRow
from harness.experiment.sides import Side
from harness.model.plain import without_nan
from harness.model.verdict import Outcome
from harness.stats.calibration import (
    Brier,
    Claim,
    Deployed,
    Point,
    Reliability,
    Threshold,
    brier,
    reliability,
    risk_coverage,
    threshold,
)
from harness.stats.calibration import aurc as area

Whose = Literal["stated", "retrieval", "combined"]
_FIELDS: Mapping[Whose, str] = {
    "stated": "confidence",
    "retrieval": "retriever_confidence",
    "combined": "combined_confidence",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Of one arm. ``silent``: trials that could be measured, in which no fix with a confidence went live."""

    arm: str
    whose: Whose
    brier: Brier
    reliability: Reliability
    curve: tuple[Point, ...]
    aurc: float
    threshold: Threshold
    benefit: float
    cost: float
    silent: int


def trust(given: Side, whose: Whose, *, benefit: float, cost: float) -> list[Trust]:
    """For each arm that stated any. A fix that went live and did not heal, or that nobody needed, is a bad one.

    InputError where there is none.
    """
    found = []
    for arm, trials in given.arms.items():
        measured = [row for row in trials.values() if row.measured]
        claims = [*_claims(measured, whose)]
        if claims:
            found.append(
                Trust(
                    arm=arm,
                    whose=whose,
                    brier=brier(claims),
                    reliability=reliability(claims),
                    curve=risk_coverage(claims),
                    aurc=area(claims),
                    threshold=threshold(claims, benefit=benefit, cost=cost),
                    benefit=benefit,
                    cost=cost,
                    silent=len(measured) - len(claims),
                )
            )
    if not found:
        cure = "choose another: --confidence stated, retrieval or combined"
        raise InputError(f"{given.name}: no fix went live with a confidence ({whose})", cure=cure)
    return found


def _claims(rows: Iterable[TrialRow], whose: Whose) -> Iterable[Claim]:
    for row in rows:
        value = getattr(row, _FIELDS[whose])
        if row.live and value is not None:  # what the guard or the review refuses costs nothing
            yield Claim(confidence=value, healed=row.outcome is Outcome.HEALED, scenario=row.scenario, seed=row.seed)


def text(found: Sequence[Trust]) -> str:
    return "\n\n".join(_text(each) for each in found)


def as_json(found: Sequence[Trust]) -> str:
    """What is unknown, or infinite, is null."""
    return json.dumps(without_nan([asdict(each) for each in found]), indent=2)


def _text(found: Trust) -> str:
    parts, told = found.brier, found.reliability
    silent = f"; {found.silent} more trials without" if found.silent else ""
    lines = [
        f"{found.arm}: {told.n} fixes went live with a confidence ({found.whose}){silent}",
        f"  Brier score {parts.score:.3f}: reliability {parts.reliability:.3f} (0 is best), resolution "
        f"{parts.resolution:.3f}, uncertainty {parts.uncertainty:.3f}",
        f"  expected calibration error {told.ece:.3f}, of {told.n}; area under risk and coverage {found.aurc:.3f}",
        "",
        "  said          on average  healed",
    ]
    lines += [
        f"  {each.low:.1f} to {each.high:.1f}    {each.confidence:.2f}        {each.healed}" for each in told.bins
    ]
    return "\n".join([*lines, "", *advice(found)])


def advice(found: Trust) -> list[str]:
    chosen = found.threshold
    pays = f"a good fix is worth {found.benefit:g}, a bad one costs {found.cost:g}"
    lines = [f"  {pays}: it pays where more than {chosen.break_even:.0%} heal"]
    if math.isinf(chosen.confidence):
        return [
            *lines,
            f"  deploy none by itself: on half of the incidents ({chosen.promised.claims}) no threshold paid",
        ]
    lines.append(f"  deploy by itself from a confidence of {chosen.confidence:.2f} on")
    lines.append(f"    on the half by which that was chosen  {_deployed(chosen.promised)}")
    lines.append(f"    on the other half                     {_deployed(chosen.kept)}")
    if chosen.kept.gain.low <= 0:
        lines.append("  the other half does not show that it pays: more trials, or people who look first")
    return lines


def _deployed(half: Deployed) -> str:
    gain = half.gain
    return f"{half.healed} healed, of {half.claims}: {gain.value:+.2f} an incident ({gain.low:.2f} to {gain.high:.2f})"
