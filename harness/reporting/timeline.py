"""What users saw during a trial, second by second, and what was done meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.model.window import Window
from harness.reporting.drawing import BLUE, INK, ORANGE, RED, SKY, YELLOW, label, legend_below, looks, picture
from harness.reporting.exhibit import Picture
from harness.reporting.trial import Story

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PHASES = (SKY, ORANGE)  # by turns: their names stand beside them
_SHORTEST_S = 0.2  # of a phase that is drawn


def timeline(told: Story) -> Picture:
    """What users saw in each window: arrivals by what became of them, latency by route, and the phases below."""
    rows = _by_name(told)
    marks = ", ".join(f"{name} at {at_s:.0f} s" for name, at_s in told.moments)
    arrivals, bad = sum(each.arrivals for each in told.windows), sum(each.bad for each in told.windows)
    alt = f"{arrivals} arrivals, of which {bad} were slow or wrong. {marks}. Phases: " + ", ".join(
        f"{name} {sum(took for _, took in found):.1f} s" for name, found in rows.items()
    )

    def draw(figure: Figure, narrow: bool) -> None:
        above, middle, below = figure.subplots(3, sharex=True, height_ratios=(3, 3, 0.42 * max(len(rows), 3)))
        _arrivals(above, told.windows)
        _latency(middle, told)
        _phases(below, told, narrow)
        for axes in (above, middle):
            for _, at_s in told.moments:
                axes.axvline(at_s, color=INK, linewidth=0.8, linestyle=":")
        for name, at_s in _apart(told.moments, told.windows[-1].end_s / (12 if narrow else 25) if told.windows else 0):
            above.annotate(
                name,
                (at_s, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(1, 2),
                textcoords="offset points",
                rotation=35,
                fontsize=7,
            )
        below.set_xlabel("seconds since the trial began")
        legend_below(figure, (above, middle), 3 if narrow else 5)
        figure.align_ylabels()

    note = (
        "Latency counts from when a request was due, not from when it could be sent. Dashed: what the objective allows."
    )
    return picture("What users saw", alt, draw, height_in=6.2, narrow_in=6.6, note=note)


def _arrivals(axes: Axes, windows: Sequence[Window]) -> None:
    starts = [window.start_s for window in windows]
    ends = windows[-1].end_s if windows else 0.0
    under = [0.0] * len(windows)
    slow = [float(window.bad - _wrong(window)) for window in windows]
    kinds = (
        ("in time", BLUE, "", [float(window.arrivals - window.bad) for window in windows]),
        ("slow", YELLOW, "//", slow),
        ("wrong or none", RED, "xx", [float(_wrong(window)) for window in windows]),
    )
    for name, colour, hatch, counts in kinds:
        over = [below + count for below, count in zip(under, counts, strict=True)]
        edges, low, high = [*starts, ends], [*under, *under[-1:]], [*over, *over[-1:]]
        axes.fill_between(
            edges, low, high, step="post", facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name
        )
        under = over
    axes.set_ylabel("arrivals")


def _latency(axes: Axes, told: Story) -> None:
    routes = sorted({name for window in told.windows for name in window.routes})
    for name, look in looks(routes).items():
        seen = [(each.start_s, each.routes[name].p95_ms) for each in told.windows if name in each.routes]
        xs, ys = [at_s for at_s, _ in seen], [float("nan") if p95 is None else p95 for _, p95 in seen]
        axes.plot(xs, ys, look.line, color=look.colour, linewidth=1.2, label=name)
        if threshold := told.started.thresholds_ms.get(name):
            axes.axhline(threshold, color=look.colour, linewidth=0.7, linestyle="--")
    axes.set_yscale("log")
    axes.set_ylabel("p95, ms")


def _phases(axes: Axes, told: Story, narrow: bool) -> None:
    """A row a name: what comes again in a later attempt stands in the same row."""
    for row, stretches in enumerate(_by_name(told).values()):
        axes.broken_barh(stretches, (row - 0.35, 0.7), color=_PHASES[row % 2])
    rows = [f"{name} {sum(took for _, took in found):.1f} s" for name, found in _by_name(told).items()]
    axes.set_yticks(range(len(rows)), [label(row, 22) for row in rows], fontsize=6.5 if narrow else 7.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def _by_name(told: Story) -> dict[str, list[tuple[float, float]]]:
    """Phases by name, in their order: (start, length) in seconds. Too short ones are left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    for phase in told.verdict.phases:
        found.setdefault(phase.name, []).append((phase.start_s, phase.seconds))
    return {name: each for name, each in found.items() if sum(took for _, took in each) >= _SHORTEST_S}


def _apart(moments: Sequence[tuple[str, float]], least_s: float) -> list[tuple[str, float]]:
    """Those whose names do not stand on one another; all of them have a line."""
    kept: list[tuple[str, float]] = []
    for name, at_s in moments:
        if not kept or at_s - kept[-1][1] >= least_s:
            kept.append((name, at_s))
    return kept


def _wrong(window: Window) -> int:
    return sum(route.wrong for route in window.routes.values())
