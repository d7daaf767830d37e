"""Is one arm better than another? Differences with their intervals, over all scenarios and for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.experiment.compare import WORTH, Measure, Report, report
from harness.experiment.compared import difference_of, notes
from harness.experiment.sides import Side, versus
from harness.reporting.drawing import BLUE, FAINT, INK, RED, intervals, label, percent, picture
from harness.reporting.exhibit import Exhibit, Exhibits, Picture, Table, Words, together
from harness.reporting.recovery import horizons_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"better": BLUE, "worse": RED, "undecided": FAINT}
_NAME = 30  # letters of an arm, in a picture
_PICTURES = 2  # comparisons, of which each has one of its scenarios


def against(given: Side, base: str | None = None, worth: float = WORTH, among: Side | None = None) -> list[Report]:
    """Each arm against ``base``, which is the first one where it is None. InputError where there is no such arm.

    What never recovered counts as in all tables of ``among``, of whose arms these are some; None: of these.
    """
    base = base or next(iter(given.arms))
    if base not in given.arms:
        raise InputError(f"{given.name} has no arm {base}", cure=f"it has {', '.join(given.arms)}")
    known = given.only([base])
    met = {scenario for scenario, _ in given.arms[base]}
    others = [
        name
        for name, trials in given.arms.items()
        if name != base and any(scenario in met for scenario, _ in trials)  # a sweep may be far from its end
    ]
    until = horizons_of(among or given)
    return [report(each, worth, until) for name in others for each in versus(given.only([name]), known)]


def of_two(first: Side, second: Side, worth: float = WORTH) -> list[Report]:
    """The arms that both have, or the one of each. InputError where they cannot be compared."""
    until = horizons_of(first, second)
    return [report(each, worth, until) for each in versus(first, second)]


def both(first: Side, second: Side) -> Side:
    """The arms of two sweeps side by side, each named by its sweep."""
    named = {f"{Path(each.name).name}: {arm}": (each, arm) for each in (first, second) for arm in each.arms}
    return Side(
        name=f"{first.name} and {second.name}",
        arms={name: each.arms[arm] for name, (each, arm) in named.items()},
        uncounted={name: each.beside(arm) for name, (each, arm) in named.items()},
    )


def forest(reports: Sequence[Report], *, measure: str = "right") -> Exhibit:
    """A row a comparison: first less second. ``measure`` is right, recover_s or another of ``harness compare``."""
    found = [(each.name, told) for each in reports if (told := _measure(each, measure))]
    title, unit = _TITLES.get(measure, (measure, ""))
    if not found:
        return Words(text=f"{title}: no two trials can be compared yet.")
    names, second = _short([name for name, _ in found])
    title = f"{title}, against {second}" if second else title
    return _forest(title, [(name, told) for name, (_, told) in zip(names, found, strict=True)], unit)


def by_scenario(told: Report) -> Picture:
    """One comparison, a row a scenario; the intervals hold for all of them together."""
    rows = [("all", told.right), *((each.scenario, each) for each in told.by_scenario)]
    return _forest(f"{told.name}: did right", rows, "points")


def by_scenarios(reports: Sequence[Report]) -> Exhibits:
    """A picture for each of one or two comparisons, a table of more."""
    if len(reports) <= _PICTURES:
        return together(by_scenario(each) for each in reports)
    scenarios = sorted({each.scenario for told in reports for each in told.by_scenario})
    cells = {(told.name, each.scenario): each for told in reports for each in told.by_scenario}
    rows = [(name, *(_cell(cells.get((told.name, name))) for told in reports)) for name in scenarios]
    note = "First less second, and n; the intervals hold for all scenarios of a comparison together."
    names, second = _short([told.name for told in reports])
    title = f"Did right, by scenario, against {second}" if second else "Did right, by scenario"
    return together([Table(title=title, head=("scenario", *names), rows=rows, note=note)])


def findings(reports: Sequence[Report]) -> Exhibits:
    """For each comparison a sentence, and what a reader must know before any number."""
    return together(
        Words(
            text=f"{told.name}: {told.right.decision}, {difference_of(told.right)}. {'; '.join(notes(told))}.",
            tone="finding",
        )
        for told in reports
    )


def table(reports: Sequence[Report], measures: Sequence[str] = ()) -> Table:
    """All measures of all comparisons, or those that are named."""
    rows = [
        (told.name, _TITLES.get(each.name, (each.name, ""))[0], difference_of(each), each.decision, str(each.n))
        for told in reports
        for each in (told.right, *told.others)
        if not measures or each.name in measures
    ]
    head = ("", "measure", "difference (95 %)", "", "n")
    methods = sorted({each.method for told in reports for each in (told.right, *told.others)})
    note = f"First less second; n counts pairs, or trials. Intervals: {'; '.join(methods)}."
    return Table(title="Measures", head=head, rows=rows, note=note)


def _short(names: Sequence[str]) -> tuple[list[str], str]:
    """Names of comparisons without what they are all held against, and that; empty where there is no such one."""
    seconds = {name.partition(" against ")[2] for name in names}
    if len(seconds) > 1 or "" in seconds:
        return [*names], ""
    return [name.partition(" against ")[0] for name in names], seconds.pop()


def _cell(measure: Measure | None) -> str:
    return "-" if measure is None else f"{measure.decision}: {difference_of(measure)}, n = {measure.n}"


def _measure(told: Report, name: str) -> Measure | None:
    return next((each for each in (told.right, *told.others) if each.name == name), None)


def _forest(title: str, rows: Sequence[tuple[str, Measure]], unit: str) -> Picture:
    alt = "; ".join(f"{name}: {difference_of(each)}, {each.decision}, n = {each.n}" for name, each in rows)

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        points = [(each.difference.value, each.difference.low, each.difference.high) for _, each in rows]
        names = [f"{label(name, 18 if narrow else _NAME)}\n{each.decision}, n = {each.n}" for name, each in rows]
        intervals(axes, names, points, [_COLOURS[each.decision] for _, each in rows])
        axes.axvline(0, color=INK, linewidth=0.9)
        if unit == "points":
            percent(axes.xaxis)
        axes.set_xlabel("difference, first less second" + ("" if unit in ("points", "") else f", {unit}"))

    note = "Intervals of 95 %. Blue: better; red: worse; grey: undecided."
    return picture(title, alt, draw, height_in=0.9 + 0.42 * len(rows), note=note)


_TITLES = {
    "right": ("Did right", "points"),
    "recover_s": ("Time to recover", "s"),
    "detect_s": ("Time to detect", "s"),
    "fixer_s": ("Fixer's time", "s"),
    "usd": ("Cost", "$"),
    "attempts": ("Attempts", ""),
}
