"""Does every healed incident make the next one faster? Trials in the order in which they were run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.experiment.results import TrialRow
from harness.experiment.sides import rows_of
from harness.reporting.drawing import ARM, FAINT, label, legend_below, looks, percent, picture
from harness.reporting.exhibit import Picture, Table, Words
from harness.stats.intervals import rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The trials of one arm that could be measured, in their order."""

    arm: str
    rows: tuple[TrialRow, ...]

    @property
    def snapshots(self) -> int:
        """How many different states of the knowledge base they met."""
        return len({row.kb for row in self.rows})


def courses(folder: Path | str) -> list[Course]:
    """By arm, from a folder of trials such as ``results/``. InputError where it holds none."""
    arms: dict[str, list[TrialRow]] = {}
    for row in sorted(rows_of(Path(folder)), key=lambda row: row.started_at):
        if row.measured:
            arms.setdefault(row.arm, []).append(row)
    return [Course(arm=arm, rows=tuple(rows)) for arm, rows in arms.items()]


def memory(found: Sequence[Course]) -> Words:
    """Whether there was anything to learn from."""
    learning = [each for each in found if each.snapshots > 1]
    if not learning:
        text = "The knowledge base was frozen: what differs from trial to trial is chance. See harness run --learn."
        return Words(text=text, tone="warning")
    told = "; ".join(f"{each.arm} met {each.snapshots} states of it" for each in learning)
    return Words(text=f"The knowledge base grew meanwhile: {told}.", tone="finding")


def curve(found: Sequence[Course]) -> Picture:
    """Time to recover of each trial, and the share that was right so far, by the number of the trial."""
    alt = "; ".join(f"{each.arm}: {_halves(each)}" for each in found)

    def draw(figure: Figure, narrow: bool) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        for each, look in zip(found, looks([each.arm for each in found]).values(), strict=True):
            _recoveries(above, each, look.colour, look.mark)
            right = [row.good for row in each.rows]
            shares = [sum(right[:number]) / number for number in range(1, len(right) + 1)]
            name = label(each.arm, ARM)
            below.plot(range(1, len(right) + 1), shares, look.line, color=look.colour, marker=look.mark, label=name)
        above.set_ylabel("s to recover")
        above.set_ylim(bottom=0)
        below.set(ylim=(-0.03, 1.05), ylabel="right so far", xlabel="trial, in order")
        percent(below.yaxis)
        legend_below(figure, [below], 1 if narrow else 3)

    note = "Hollow: it never recovered, and was watched for so long. Lines above: where the knowledge base had grown."
    height = 3.9 + 0.17 * len(found)
    return picture("Trial by trial", alt, draw, height_in=height, narrow_in=height, note=note)


def halves(found: Sequence[Course]) -> Table:
    """The first half of the trials against the second."""
    rows = []
    for each in found:
        middle = len(each.rows) // 2
        for name, part in (("first half", each.rows[:middle]), ("second half", each.rows[middle:])):
            times = [row.recover_s for row in part if row.recover_s is not None]
            mean = f"{sum(times) / len(times):.1f} s ({len(times)})" if times else "-"
            rows.append((each.arm, name, str(rate(sum(row.good for row in part), len(part))), mean))
    head = ("arm", "", "did right (95 %)", "mean time of those that recovered (n)")
    return Table(title="First and second half", head=head, rows=rows)


def _recoveries(axes: Axes, given: Course, colour: str, mark: str) -> None:
    before = given.rows[0].kb
    for number, row in enumerate(given.rows, start=1):
        if row.kb != before:
            axes.axvline(number - 0.5, color=FAINT, linewidth=0.6, linestyle=":")
            before = row.kb
        seconds, recovered = row.recovery or (math.nan, True)
        axes.plot(number, seconds, mark, color=colour, markersize=6, fillstyle="full" if recovered else "none")


def _halves(given: Course) -> str:
    middle = len(given.rows) // 2
    parts = given.rows[:middle], given.rows[middle:]
    first, second = (f"{sum(row.good for row in part)} of {len(part)}" for part in parts)
    return f"right in {first} of the first half, in {second} of the second"
