"""Is an arm as sure as it should be, and from which confidence on may its fixes go live by themselves?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from harness.errors import InputError
from harness.experiment.results import TrialRow
from harness.experiment.sides import Side
from harness.model.confidence import HowSure
from harness.model.plain import without_nan
from harness.model.verdict import Outcome
from harness.stats.calibration import (
    Brier,
    Claim,
    Point,
    Reliability,
    brier,
    reliability,
    risk_coverage,
)
from harness.stats.calibration import aurc as area
from harness.stats.threshold import Deployed, Threshold, threshold

Whose = Literal["stated", "retrieval", "combined"]
_FIELDS: Mapping[Whose, str] = {
    "stated": "confidence",
    "retrieval": "retriever_confidence",
    "combined": "combined_confidence",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Of one arm: each fix that went live with a confidence, of which a trial of several attempts may have several.

    ``silent``: trials that could be measured, in which there was none. ``lacking``: trials of which more than one may
    have gone live, and an older harness kept the last alone; those before it healed nothing, and are not counted.
    """

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
    lacking: int


def trust(given: Side, whose: Whose, *, benefit: float, cost: float) -> list[Trust]:
    """For each arm that stated any. A fix that went live and did not heal, or that nobody needed, is a bad one.

    InputError where there is none.
    """
    found = []
    for arm, trials in given.arms.items():
        measured = [row for row in trials.values() if row.measured]
        told = [[*_claims(row, whose)] for row in measured]
        claims = [claim for of_trial in told for claim in of_trial]
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
                    silent=sum(not of_trial for of_trial in told),
                    lacking=sum(row.live and row.live_fixes is None and row.attempts > 1 for row in measured),
                )
            )
    if not found:
        cure = "choose another: --confidence stated, retrieval or combined"
        raise InputError(f"{given.name}: no fix went live with a confidence ({whose})", cure=cure)
    return found


def _claims(row: TrialRow, whose: Whose) -> Iterator[Claim]:
    """Of a trial. What the guard or the review refuses costs nothing, and is none."""
    live = _live(row)
    for number, fix in enumerate(live, start=1):
        value = getattr(fix, _FIELDS[whose])
        if value is not None:
            healed = row.outcome is Outcome.HEALED and number == len(live)
            yield Claim(confidence=value, healed=healed, scenario=row.scenario)


def _live(row: TrialRow) -> Sequence[HowSure]:
    """All fixes that went live, in order; of an older row the last."""
    if row.live_fixes is not None:
        return row.live_fixes
    last = HowSure(
        confidence=row.confidence,
        retriever_confidence=row.retriever_confidence,
        combined_confidence=row.combined_confidence,
    )
    return [last] if row.live else []


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
    if found.lacking:
        lines.append(
            f"  of {found.lacking} trials with several attempts an older harness kept the last fix alone: what went "
            "live before it and failed is not counted here, so fewer may heal than is said"
        )
    if math.isinf(chosen.confidence):
        return [*lines, f"  deploy none by itself: on {_fixes(chosen.promised)} no threshold paid"]
    lines.append(f"  deploy by itself from a confidence of {chosen.confidence:.2f} on")
    lines.append(f"    chosen on {_deployed(chosen.promised)}")
    if not chosen.kept.scenarios:
        return [
            *lines,
            "  not checked: there is one scenario, and none is left to check on; nothing is known of others",
        ]
    lines.append(f"    checked on {_deployed(chosen.kept)}")
    if chosen.kept.gain.low <= 0:
        lines.append("  the check does not show that it pays: more scenarios, or people who look first")
    return lines


def _deployed(half: Deployed) -> str:
    gain = half.gain
    told = f"{half.healed} healed: {gain.value:+.2f} a fix ({gain.low:.2f} to {gain.high:.2f})"
    return f"{_fixes(half)}  {told}"


def _fixes(half: Deployed) -> str:
    """Such as ``40 fixes of 2 scenarios``."""
    return f"{half.claims} fixes of {half.scenarios} scenario{'' if half.scenarios == 1 else 's'}"
