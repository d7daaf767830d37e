"""How fast arms recover, where some never did while they were watched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.experiment.results import TrialRow
from harness.experiment.sides import Key, Side
from harness.reporting.drawing import ARM, label, legend_below, looks, percent, picture
from harness.reporting.exhibit import Picture, Table
from harness.stats.survival import Time, kaplan_meier, restricted_mean, watched_s

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHADED = 3  # more arms than that, and their bands hide one another
_Trials = Mapping[Key, TrialRow]


def curves(given: Side) -> Picture:
    """The share that has recovered by each second after the fault, of outages; what was never seen to is censored."""
    times = {name: found for name, trials in given.arms.items() if (found := _times(trials))}
    end = max((seconds for each in times.values() for seconds, _ in each), default=1.0)
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

    note = "Kaplan-Meier, all scenarios together, which are watched for different times; in brackets how many."
    return picture("How fast they recover", alt, draw, height_in=3.6, narrow_in=3.4 + 0.17 * len(told), note=note)


def by_scenario(given: Side) -> Table:
    """Mean seconds from the fault to the first good window of those trials that recovered, with how many these were."""
    rows = []
    for name in sorted({row.scenario for trials in given.arms.values() for row in trials.values() if not row.control}):
        told = []
        for trials in given.arms.values():
            seen = [
                row.recovery[0] for (at, _), row in trials.items() if at == name and row.recovery and row.recovery[1]
            ]
            told.append(f"{sum(seen) / len(seen):.1f} s ({len(seen)})" if seen else "-")
        rows.append((name, *told))
    note = "Means of those alone that recovered, and how many; not to be compared between arms that heal other shares."
    return Table(title="Time to recover, by scenario", head=("scenario", *given.arms), rows=rows, note=note)


def recovery(given: Side, trials: _Trials) -> str:
    """The restricted mean up to the time for which all arms were watched, with its interval."""
    everybody = [_times(each) for each in given.arms.values()]
    times = _times(trials)
    longest = max((seconds for each in everybody for seconds, _ in each), default=0.0)
    tau_s = min(watched_s(*everybody), longest)
    if not times or tau_s <= 0:
        return "-"
    mean = restricted_mean(times, tau_s).mean
    spread = "" if math.isnan(mean.low) else f" ({mean.low:.1f} to {mean.high:.1f})"
    return f"{mean.value:.1f} s{spread}, of at most {tau_s:.0f}"


def _times(trials: _Trials) -> list[Time]:
    return [row.recovery for row in trials.values() if row.recovery]


def _median(seconds: Sequence[float], share: Sequence[float]) -> float | None:
    return next((at_s for at_s, left in zip(seconds, share, strict=True) if left <= 0.5), None)
