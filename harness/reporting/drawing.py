"""How pictures are drawn: one style, one palette, and each twice, for a desk and for a phone.

Colours are those of M. Okabe and K. Ito, "Color Universal Design", 2008, which people with any kind of colour vision
can tell apart; what they tell is told by shape, line or word as well.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.reporting.exhibit import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#1f2933", "#52606d", "#d9dee3"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
)
_NOT_DRAWN = re.compile(rb"<!DOCTYPE[^>]*>\s*|<metadata>.*?</metadata>\s*", re.DOTALL)  # addresses that nobody asks for
ARM = 26  # letters of an arm's name, in a picture
_MARKS = "osD^vPX"
_LINES = ("-", "--", "-.", ":")
_COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, INK)
_WIDE_IN, _NARROW_IN = 7.4, 3.6
_STYLE: Any = {  # matplotlib types each key by itself
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "path",
    "svg.hashsalt": "creamandonion",  # the same picture has the same bytes
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Of one arm, in all pictures of a page."""

    colour: str
    mark: str
    line: str


Draw = Callable[["Figure", bool], None]


def picture(
    title: str, alt: str, draw: Draw, *, height_in: float, narrow_in: float | None = None, note: str = ""
) -> Picture:
    """``draw(figure, narrow)`` draws it; heights in inches, of the wide picture and of the narrow one."""
    heights = {False: height_in, True: narrow_in or height_in}
    wide, narrow = (_svg(draw, narrow, heights[narrow]) for narrow in (False, True))
    return Picture(title=title, alt=alt, wide=wide, narrow=narrow, note=note)


def looks(names: Sequence[str]) -> dict[str, Look]:
    """By name. Seven have a colour of their own; further ones differ in mark and line."""
    return {
        name: Look(
            colour=_COLOURS[number % len(_COLOURS)],
            mark=_MARKS[(number + number // len(_COLOURS)) % len(_MARKS)],
            line=_LINES[(number + number // len(_COLOURS)) % len(_LINES)],
        )
        for number, name in enumerate(names)
    }


def intervals(
    axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float, float]], colours: Sequence[str]
) -> None:
    """A row each, the first on top: a point (value, low, high) with its interval."""
    for row, ((value, low, high), colour) in enumerate(zip(points, colours, strict=True)):
        if not (math.isnan(low) or math.isnan(high)):  # NaN where the data cannot tell
            axes.plot([low, high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([value], [row], "o", color=colour, markersize=6, markeredgecolor="white")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def percent(axis: Any) -> None:  # noqa: ANN401 - matplotlib's XAxis or YAxis
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415 - half a second that only pictures need

    axis.set_major_formatter(PercentFormatter(1.0))


def legend_below(figure: Figure, drawn: Sequence[Axes], columns: int) -> None:
    """Under the picture, where it hides nothing."""
    found = [pair for axes in drawn for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles, labels = zip(*found, strict=True) if found else ((), ())
    figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def short(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def label(name: str, letters: int) -> str:
    """Of a name from outside, as much as a picture has room for. A dollar is one, and begins no formula."""
    return short(name, letters).replace("$", r"\$")


def _svg(draw: Draw, narrow: bool, height_in: float) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only pictures need
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415 - the same
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    made = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_NARROW_IN if narrow else _WIDE_IN, height_in))
        draw(figure, narrow)
        canvas: Any = FigureCanvasSVG(figure)  # its printing has no types
        canvas.print_svg(made, metadata={"Date": None, "Creator": None})
    return _NOT_DRAWN.sub(b"", made.getvalue())
