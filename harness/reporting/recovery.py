"""How fast arms recover, where some never did while they were watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from harness.experiment.recoveries import horizons, outage
from harness.experiment.results import TrialRow
from harness.experiment.sides import Key, Side
from harness.reporting.drawing import ARM, label, legend_below, looks, percent, picture
from harness.reporting.exhibit import Picture, Table
from harness.stats.bootstrap import Sample, stratified
from harness.stats.survival import kaplan_meier, restricted_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEVER = "What never did counts with the longest time for which an outage of its scenario was watched."
_SEED = 1  # of resampling: the same page each time
_SHADED = 3  # more arms than that, and their bands hide one another
_Trials = Mapping[Key, TrialRow]


def curves(given: Side) -> Picture:
    """The share that has recovered by each second after the fault, of outages; what never did is watched to the end."""
    end = max(horizons_of(given).values(), default=1.0)
    until = dict.fromkeys(horizons_of(given), end)
    times = {
        name: found
        for name, trials in given.arms.items()
        if (found := [time for row in trials.values() if (time := outage(row, until))])
    }
    told = {name: kaplan_meier(each) for name, each in times.items()}
    alt = "; ".join(
        f"{name}: {sum(seen for _, seen in times[name])} of {len(times[name])} recovered"
        + (f", half of them by {half:.0f} s" if (half := _median(curve.seconds, curve.share)) else "")
        for name, curve in told.items()
    )

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        for name, look in looks([*told]).items():
            curve = told[name]
            xs = [0.0, *curve.seconds, end]
            recovered = [0.0, *(1 - share for share in curve.share)]
            axes.step(
                xs,
                [*recovered, recovered[-1]],
                where="post",
                color=look.colour,
                linestyle=look.line,
                label=f"{label(name, ARM)} ({len(times[name])})",
            )
            if len(told) <= _SHADED:
                low, high = ([0.0, *(1 - each for each in ends)] for ends in (curve.high, curve.low))
                axes.fill_between(
                    xs, [*low, low[-1]], [*high, high[-1]], step="post", color=look.colour, alpha=0.15, linewidth=0
                )
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(0, end)
        percent(axes.yaxis)
        axes.set_xlabel("seconds since the fault")
        axes.set_ylabel("recovered")
        legend_below(figure, [axes], 1 if narrow else 3)

    note = "All scenarios together, with Kaplan and Meier's intervals; in brackets how many outages."
    return picture("How fast they recover", alt, draw, height_in=3.6, narrow_in=3.4 + 0.17 * len(told), note=note)


def by_scenario(given: Side) -> Table:
    """Mean seconds from the fault to the first good window, with how many recovered."""
    until = horizons_of(given)
    rows = []
    for name in sorted({row.scenario for trials in given.arms.values() for row in trials.values() if not row.control}):
        told = []
        for trials in given.arms.values():
            times = [found for row in trials.values() if row.scenario == name and (found := outage(row, until))]
            mean = f"{restricted_mean(times, until[name]).mean.value:.1f} s" if times else ""
            told.append(f"{mean} ({sum(healed for _, healed in times)} of {len(times)})" if times else "-")
        rows.append((name, *told))
    note = f"In brackets how many recovered. {NEVER}"
    return Table(title="Time to recover, by scenario", head=("scenario", *given.arms), rows=rows, note=note)


def recovery(given: Side, trials: _Trials) -> str:
    """The mean over scenarios of the mean of each, with its interval, and what it were, had nothing recovered."""
    until = horizons_of(given)
    known = [(row.scenario, found[0]) for row in trials.values() if (found := outage(row, until))]
    if not known:
        return "-"
    mean = stratified(Sample(values=tuple(s for _, s in known), scenarios=tuple(name for name, _ in known)), _SEED).mean
    most = fmean(until[name] for name in {name for name, _ in known})
    low, high = max(0.0, mean.low), min(most, mean.high)
    spread = f" ({low:.1f} to {high:.1f})" if mean.low < mean.high else ""
    return f"{mean.value:.1f} s{spread}, of at most {most:.0f}"


def horizons_of(*given: Side) -> dict[str, float]:
    """Of all their arms: one for all tables and pictures that stand together."""
    return horizons(row for each in given for trials in each.arms.values() for row in trials.values())


def _median(seconds: Sequence[float], share: Sequence[float]) -> float | None:
    return next((at_s for at_s, left in zip(seconds, share, strict=True) if left <= 0.5), None)
