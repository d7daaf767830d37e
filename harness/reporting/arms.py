"""What the arms of a sweep did: how often each was right, where, how fast, and what decided. An arm is a fixer with a
retriever.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from harness.experiment.manifest import PLAN, manifest_of
from harness.experiment.results import TrialRow
from harness.experiment.sides import Key, Side, side
from harness.experiment.tries import measured_by_all, most_tries, sample_of, tallies
from harness.reporting.drawing import ARM, INK, intervals, label, looks, percent, picture
from harness.reporting.exhibit import Picture, Table
from harness.reporting.recovery import NEVER, recovery
from harness.stats.intervals import Rate, rate
from harness.stats.power import noise_floor
from harness.stats.repeats import pass_at_k, pass_hat_k

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SEED = 1  # of resampling: the same page each time
_Trials = Mapping[Key, TrialRow]


def trials(folder: Path | str) -> Side:
    """What ``harness compare`` takes: a folder, or FOLDER:ARM. A sweep's arms come in the order of its plan."""
    found = side(str(folder))
    plan = Path(str(folder).partition(":")[0])
    if not (plan / PLAN).exists():
        return found
    order = [arm.name for arm in manifest_of(plan).experiment.arms]
    return found.only(sorted(found.arms, key=lambda name: order.index(name) if name in order else len(order)))


def right_of(trials: _Trials) -> Rate:
    """Of the trials that could be measured, those in which the right was done."""
    measured = [row for row in trials.values() if row.measured]
    return rate(sum(row.good for row in measured), len(measured))


def overview(given: Side) -> Table:
    """A line an arm. All but INVALID is of the trials that could be measured."""
    met = [name for name, trials in given.arms.items() if any(row.measured for row in trials.values())]
    shared, too_few = measured_by_all([tallies(given.arms[name], _scenarios(given)) for name in met])
    k, found = most_tries(shared), dict(zip(met, shared, strict=True))
    rows = []
    for name, trials in given.arms.items():
        at, hat = (chance(found.get(name, {}), k) for chance in (pass_at_k, pass_hat_k))
        measured = [row for row in trials.values() if row.measured]
        costs = [row.usd for row in measured if row.usd is not None]
        rows.append(
            (
                name,
                str(right_of(trials)),
                _lost(len(trials) - len(measured), len(given.beside(name).again)),
                f"{_share(at.value)}, {_share(hat.value)}",
                recovery(given, trials),
                f"{fmean(row.fixer_s for row in measured):.1f} s" if measured else "-",
                f"${fmean(costs):.4f}" if costs else "no price",
            )
        )
    head = ("arm", "did right (95 %)", "INVALID", f"pass@{k}, pass^{k}", "time to recover", "fixer's time", "cost")
    note = (
        f"pass@{k}: at least one of {k} tries at an incident is right; pass^{k}: all are. Time to recover is the mean "
        f"of each scenario, then over scenarios. {NEVER}"
    )
    if too_few:
        note += f" pass@{k} and pass^{k} leave out {', '.join(too_few)}: not measured of every arm."
    if repeats := {name: len(each.repeats) for name, each in given.uncounted.items() if each.repeats}:
        told = ", ".join(f"{count} of {name}" for name, count in repeats.items())
        note += f" Left out, as repeats of measured trials: {told}."
    return Table(title="Arm by arm", head=head, rows=rows, note=note)


def rates(given: Side) -> Picture:
    """How often each arm was right, with 95 % intervals."""
    found = {name: right_of(trials) for name, trials in given.arms.items()}
    alt = "; ".join(f"{name}: {told}" for name, told in found.items())

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        points = [(each.hits / each.n if each.n else math.nan, each.low, each.high) for each in found.values()]
        names = [f"{label(name, ARM)}\n{each.hits} of {each.n}" for name, each in found.items()]
        intervals(axes, names, points, [looks([*found])[name].colour for name in found])
        axes.set_xlim(-0.02, 1.02)
        percent(axes.xaxis)
        axes.set_xlabel("healed, or rightly left alone")

    height = 0.9 + 0.42 * len(found)
    return picture("How often each was right", alt, draw, height_in=height, note="Intervals of 95 % after Wilson.")


def heat_map(given: Side, *, by: str = "scenario") -> Picture:
    """Arms against scenarios, or fault classes (``by="fault_class"``): right of all that could be measured."""
    columns = list(dict.fromkeys(sorted(getattr(row, by) for row in _rows(given) if row.measured)))
    cells = {
        (name, column): right_of({key: row for key, row in trials.items() if getattr(row, by) == column})
        for name, trials in given.arms.items()
        for column in columns
    }
    alt = "; ".join(
        f"{name}: " + ", ".join(f"{column} {cells[name, column].hits} of {cells[name, column].n}" for column in columns)
        for name in given.arms
    )

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        across, down = ([*given.arms], columns) if narrow else (columns, [*given.arms])
        shares = [[_cell(cells, one, other, narrow=narrow) for one in across] for other in down]
        axes.pcolormesh(
            [[each.hits / each.n if each.n else math.nan for each in line] for line in shares],
            cmap="cividis",
            vmin=0,
            vmax=1,
            edgecolors="white",
            linewidth=1,
        )
        for y, line in enumerate(shares):
            for x, each in enumerate(line):
                light = each.n and each.hits / each.n > 0.5
                axes.text(
                    x + 0.5,
                    y + 0.5,
                    f"{each.hits}/{each.n}" if each.n else "-",
                    ha="center",
                    va="center",
                    color=INK if light or not each.n else "white",
                    fontsize=8,
                )
        axes.invert_yaxis()
        axes.set_xticks(
            [x + 0.5 for x in range(len(across))], [label(name, ARM) for name in across], rotation=40, ha="left"
        )
        axes.set_yticks([y + 0.5 for y in range(len(down))], [label(name, ARM) for name in down])
        axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)

    many, few = len(given.arms), len(columns)
    return picture(
        f"Right, by {by.replace('_', ' ')}",
        alt,
        draw,
        height_in=1.5 + 0.36 * many,
        narrow_in=1.6 + 0.32 * few,
        note="Right of all that could be measured; light is more.",
    )


def cells(given: Side) -> Table:
    """The same as a table: scenarios against arms, right of all that could be measured."""
    names = sorted({row.scenario for row in _rows(given)})
    rows = []
    for name in names:
        told = [right_of({key: row for key, row in each.items() if key[0] == name}) for each in given.arms.values()]
        rows.append((name, *(f"{each.hits} of {each.n}" for each in told)))
    return Table(title="Right, by scenario", head=("scenario", *given.arms), rows=rows)


def what_decided(given: Side) -> Table:
    """How often each rule decided, by arm."""
    counts = {name: Counter(row.rule for row in trials.values()) for name, trials in given.arms.items()}
    rules = [rule for rule, _ in sum(counts.values(), Counter[str]()).most_common()]
    rows = [(rule, *(str(counts[name][rule] or "-") for name in given.arms)) for rule in rules]
    return Table(title="What decided", head=("rule", *given.arms), rows=rows)


def noise(given: Side) -> Table:
    """The A/A noise floor: by how much the halves of one and the same arm differ, by chance."""
    rows = []
    for name, trials in given.arms.items():
        found = noise_floor(sample_of(trials), _SEED)
        told = "-" if math.isnan(found.quantile) else f"{100 * found.quantile:.0f} points"
        rows.append((name, told, str(found.per_arm), str(found.scenarios)))
    head = ("arm", "19 of 20 halves differ by less than", "trials in a half", "scenarios with two or more")
    note = "Two arms that differ by less than that may be the same. For arms k times as large divide by the root of k."
    return Table(title="How much is chance", head=head, rows=rows, note=note)


def invalid(given: Side) -> Table:
    """Trials that could not be measured, those that were run again too."""
    rows = [(row.trial, row.arm, row.rule, "") for row in _rows(given) if not row.measured]
    rows += [(row.trial, row.arm, row.rule, "run again") for each in given.uncounted.values() for row in each.again]
    head = ("trial", "arm", "rule", "")
    return Table(title="INVALID: count for nobody", head=head, rows=rows or [("none", "", "", "")])


def _rows(given: Side) -> list[TrialRow]:
    return [row for trials in given.arms.values() for row in trials.values()]


def _scenarios(given: Side) -> list[str]:
    return sorted({name for trials in given.arms.values() for name, _ in trials})


def _cell(cells: Mapping[tuple[str, str], Rate], one: str, other: str, *, narrow: bool) -> Rate:
    return cells[(one, other) if narrow else (other, one)]


def _lost(invalid: int, again: int) -> str:
    return f"{invalid}, and {again} run again" if again else str(invalid)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"
