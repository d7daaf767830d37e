"""Is an arm as sure as it should be, and may its fixes go live by themselves?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.experiment.sides import Side
from harness.experiment.trust import Trust, Whose, advice, trust
from harness.reporting.drawing import ARM, FAINT, label, legend_below, looks, percent, picture
from harness.reporting.exhibit import Exhibits, Picture, Table, Words, together

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def trusted(given: Side, *, confidence: Whose = "stated", benefit: float = 1.0, cost: float = 5.0) -> list[Trust]:
    """For each arm whose fixes went live with a confidence. InputError where there is none."""
    return trust(given, confidence, benefit=benefit, cost=cost)


def reliability(found: Sequence[Trust]) -> Picture:
    """What was said against what came: on the diagonal a fixer is as sure as it should be."""
    alt = "; ".join(f"{each.arm}: {_said(each)}" for each in found)

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="--")
        for number, (each, look) in enumerate(zip(found, looks([each.arm for each in found]).values(), strict=True)):
            nudge = 0.006 * (number - (len(found) - 1) / 2)
            for part in each.reliability.bins:
                axes.plot([part.confidence + nudge] * 2, [part.healed.low, part.healed.high], color=look.colour)
            xs = [part.confidence + nudge for part in each.reliability.bins]
            ys = [part.healed.hits / part.healed.n for part in each.reliability.bins]
            name = f"{label(each.arm, ARM)} ({each.reliability.n})"
            axes.plot(xs, ys, look.mark, color=look.colour, markeredgecolor="white", markersize=7, label=name)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="said beforehand", ylabel="healed")
        percent(axes.xaxis)
        percent(axes.yaxis)
        legend_below(figure, [axes], 1 if narrow else 3)

    note = "Fixes that went live, in bins of a tenth, with intervals of 95 % after Wilson; in brackets how many."
    height = 3.3 + 0.17 * len(found)
    return picture("Said, and healed", alt, draw, height_in=height, narrow_in=height, note=note)


def risk(found: Sequence[Trust]) -> Picture:
    """The share of deployed fixes that do not heal, by how many are deployed: from the surest on."""
    alt = "; ".join(
        f"{each.arm}: " + ", ".join(f"at {part.coverage:.0%} deployed {part.risk:.0%} bad" for part in each.curve)
        for each in found
    )

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        for each, look in zip(found, looks([each.arm for each in found]).values(), strict=True):
            axes.plot(
                [part.coverage for part in each.curve],
                [part.risk for part in each.curve],
                look.line,
                color=look.colour,
                marker=look.mark,
                label=label(each.arm, ARM),
            )
        axes.axhline(1 - found[0].threshold.break_even, color=FAINT, linestyle="--", linewidth=0.8)
        axes.set(xlim=(0, 1.03), ylim=(-0.03, 1.03), xlabel="deployed, the surest first", ylabel="of these not healed")
        percent(axes.xaxis)
        percent(axes.yaxis)
        legend_below(figure, [axes], 1 if narrow else 3)

    benefit, cost = found[0].benefit, found[0].cost
    note = f"Under the dashed line it pays, where a good fix is worth {benefit:g} and a bad one costs {cost:g}."
    return picture("Risk and coverage", alt, draw, height_in=3.3 + 0.17 * len(found), note=note)


def scores(found: Sequence[Trust]) -> Table:
    rows = [
        (
            each.arm,
            str(each.reliability.n),
            f"{each.brier.score:.3f}",
            f"{each.brier.reliability:.3f}",
            f"{each.brier.resolution:.3f}",
            f"{each.reliability.ece:.3f}",
            f"{each.aurc:.3f}",
            "none" if math.isinf(each.threshold.confidence) else f"{each.threshold.confidence:.2f}",
            str(each.threshold.promised.scenarios),
            str(each.threshold.kept.scenarios or "none: not checked"),
        )
        for each in found
    ]
    head = (
        "arm",
        "fixes",
        "Brier",
        "its reliability",
        "its resolution",
        "ECE",
        "risk area",
        "deploy from",
        "chosen on",
        "checked on",
    )
    note = "Smaller is better, but for the resolution. The threshold is chosen and checked on other scenarios: so many."
    return Table(title="How well the confidence tells", head=head, rows=rows, note=note)


def may_deploy(found: Sequence[Trust]) -> Exhibits:
    """The advice of ``harness calibration``, arm by arm."""
    return together(
        Words(text=f"{each.arm}: " + "; ".join(line.strip() for line in advice(each)), tone="finding") for each in found
    )


def _said(given: Trust) -> str:
    return ", ".join(f"said {part.confidence:.2f}, healed {part.healed}" for part in given.reliability.bins)
