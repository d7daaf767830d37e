"""Night by night: has it become worse since the baseline?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.experiment.nights import Watched, nights_in, verdict, watched
from harness.experiment.sides import side
from harness.reporting.drawing import BLUE, FAINT, RED, label, percent, picture
from harness.reporting.exhibit import Exhibits, Picture, Table, Words, together
from harness.stats.intervals import rate
from harness.stats.sequential import ALARM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def nights(folder: Path | str, baseline: Path | str | None = None) -> list[Watched]:
    """As ``harness nightly --look``: the sweeps in the folder, against the first of them or a baseline elsewhere.

    InputError where there are none, or they cannot be compared.
    """
    first, others = nights_in(Path(folder), Path(baseline) if baseline else None)
    return watched(side(str(first)), others)


def findings(found: Sequence[Watched]) -> Exhibits:
    return together(
        Words(text=f"{each.arm}: {verdict(each)}", tone="warning" if each.alarm else "finding") for each in found
    )


def trend(given: Watched) -> Picture:
    """The share that was right each night with the baseline's interval, and how much evidence there is of a drop."""
    told = [rate(night.right.hits, night.right.n) for night in given.nights]
    alt = f"{given.arm}. Baseline {rate(given.baseline.hits, given.baseline.n)}. " + "; ".join(
        f"{night.name}: {right}, p {watch.p:.2g}"
        for night, right, watch in zip(given.nights, told, given.watch, strict=True)
    )

    def draw(figure: Figure, narrow: bool) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        _rates(above, given)
        xs = range(len(given.nights))
        below.plot(xs, [watch.p for watch in given.watch], "o-", color=BLUE)
        below.axhline(given.level, color=RED, linestyle="--", linewidth=0.9)
        below.set_yscale("log")
        below.set_ylim(top=1.5)
        below.set_ylabel("p, at any time")
        every = max(1, len(given.nights) // (5 if narrow else 12))
        below.set_xticks(
            [*xs][::every], [label(night.name, 12) for night in given.nights][::every], rotation=40, ha="right"
        )

    note = (
        "Band: the baseline, 95 %. Under the dashed line it is an alarm, "
        f"false in at most {ALARM:.0%} of seasons, over all arms together."
    )
    return picture(given.arm, alt, draw, height_in=4.2, note=note)


def table(found: Sequence[Watched]) -> Table:
    rows = [
        (each.arm, night.name, str(rate(night.right.hits, night.right.n)), f"{watch.p:.2g}", "worse" * watch.alarm)
        for each in found
        for night, watch in zip(each.nights, each.watch, strict=True)
    ]
    return Table(title="Nights", head=("arm", "night", "did right (95 %)", "p", ""), rows=rows)


def _rates(axes: Axes, given: Watched) -> None:
    known = rate(given.baseline.hits, given.baseline.n)
    axes.axhspan(known.low, known.high, color=FAINT, alpha=0.15, linewidth=0)
    axes.axhline(known.hits / known.n if known.n else 0.0, color=FAINT, linewidth=0.9)
    for x, (night, watch) in enumerate(zip(given.nights, given.watch, strict=True)):
        right, colour = rate(night.right.hits, night.right.n), RED if watch.alarm else BLUE
        axes.plot([x, x], [right.low, right.high], color=colour)
        axes.plot(x, right.hits / right.n if right.n else 0.0, "s" if watch.alarm else "o", color=colour)
    axes.set(ylim=(-0.03, 1.05), ylabel="right")
    percent(axes.yaxis)
