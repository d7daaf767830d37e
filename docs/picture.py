"""Draws the terminal of a recorded trial: ``python docs/picture.py RESULT_FOLDER`` makes docs/run.svg.

The trial's journal is played through the console that ``harness run`` shows. Windows are not kept with the moment at
which they were decided; they are put where they were due, as they had settled when the trial ended.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from rich.console import Console as Terminal
from rich.text import Text

from harness.errors import HarnessError, InputError
from harness.model.event import Event, TrialEnded, TrialStarted, WindowObserved
from harness.model.scenario import Scenario
from harness.sinks.console import Console
from harness.sinks.journal import read_events, read_windows
from harness.trial import slo

PICTURE = Path(__file__).with_name("run.svg")
SETTLE_MARGIN_S = 0.1  # as in harness/load/samples.py
FONT_ASPECT_RATIO = 0.602  # of Menlo and DejaVu Sans Mono
# Rich's own format fetches its font from a server; this one takes what the reader's machine has
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">{matrix}</g>
</g>
</svg>
"""


def picture(folder: Path, width: int) -> str:
    """The terminal at the end of the trial, as SVG. InputError where the folder holds no whole trial."""
    events = list(read_events(folder))
    if not events or not isinstance(events[0], TrialStarted) or not isinstance(events[-1], TrialEnded):
        raise InputError(f"{folder} holds no trial that has ended", cure="name the result folder of one that has")
    # not a terminal: what moves is drawn once, as it was at the end
    terminal = Terminal(record=True, file=io.StringIO(), width=width, height=50, force_terminal=False, highlight=False)
    trial = events[0].trial
    chosen = f" --fixer {trial.fixer}" if "--fixer" in events[0].fixer_reason else ""
    terminal.print(Text.assemble(("$ ", "green"), (f"harness run scenarios/{trial.scenario}.yml{chosen}", "bold")))
    with Console(Path("results") / trial.id, terminal=terminal) as console:
        for event in _with_windows(folder, events, events[0]):
            if isinstance(event, TrialEnded):
                console.close()
                terminal.line()  # rich ends the last picture with one on terminals alone
            console(event)
    return terminal.export_svg(
        title="harness", code_format=FORMAT, font_aspect_ratio=FONT_ASPECT_RATIO, unique_id="run"
    )


def _with_windows(folder: Path, events: list[Event], started: TrialStarted) -> Iterator[Event]:
    """The events in the order of their time, those of windows among them."""
    file = folder / "scenario.yml"
    try:
        scenario = Scenario.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{file}: {error}", cure="run the trial again") from error
    settle_s = max(started.thresholds_ms.values(), default=0.0) / 1000 + SETTLE_MARGIN_S
    windows = [
        WindowObserved(
            at_s=window.end_s + settle_s,
            window=window,
            slo_held=slo.good(scenario.slos, window, scenario.recovery.min_requests),
        )
        for window in read_windows(folder)
    ]
    seen = [window for window in windows if window.at_s <= events[-1].at_s]
    yield from sorted([*events, *seen], key=lambda event: event.at_s)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="docs/picture.py", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="RESULT_FOLDER")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the file to write (default: docs/run.svg)")
    parser.add_argument("--width", type=int, default=100, help="columns of the terminal (default: 100)")
    given = parser.parse_args(words)
    try:
        svg = picture(given.folder, given.width)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    given.out.write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
