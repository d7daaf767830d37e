"""A trial as it happens, on standard error: live on a terminal, a plain line an event anywhere else."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console as Terminal
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.model.event import (
    BaselineHeld,
    ChecksRan,
    Deployed,
    Event,
    FaultInjected,
    FixProposed,
    IncidentAnalyzed,
    IncidentCreated,
    PhaseStarted,
    SignalSeen,
    TrialEnded,
    TrialStarted,
    WindowObserved,
)
from harness.sinks import panels
from harness.sinks.lines import line, summary
from harness.sinks.screen import Screen

REFRESHES_A_SECOND = 4
_STYLES = {
    "FaultInjected": "yellow",
    "FaultBit": "yellow",
    "FixRefused": "red",
    "Deployed": "green",
    "RolledBack": "yellow",
    "IncidentResolved": "green",
    "TrialFailed": "bold red",
    "TrialInterrupted": "bold yellow",
}


class Console:
    """A sink for people. ``folder`` is the trial's result folder, named at the end; None: nothing is kept.

    On a terminal, a few lines at the bottom move (phase, routes) and all else scrolls by and stays.
    ``terminal`` is where to draw instead of ``stream``.
    """

    def __init__(
        self, folder: Path | None = None, *, stream: TextIO | None = None, terminal: Terminal | None = None
    ) -> None:
        self._stream = stream or sys.stderr
        animate = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._terminal = terminal or (Terminal(file=self._stream, highlight=False) if animate else None)
        self._folder = folder
        self._injected_s: float | None = None
        self._screen = Screen()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop moving, and give the cursor back. The last picture stays."""
        if self._live:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        if self._terminal is None:
            self._write(event)
            return
        if isinstance(event, FaultInjected):
            self._injected_s = event.at_s
        self._screen.observe(event)
        if isinstance(event, TrialStarted):
            self._terminal.print(panels.header(event))
            self._start(self._terminal)
        elif isinstance(event, TrialEnded):
            self.close()
            self._terminal.print(panels.verdict(event.verdict, self._folder))
        else:
            for block in self._blocks(event):
                self._terminal.print(block)

    def _start(self, terminal: Terminal) -> None:
        # standard output belongs to --json; standard error goes through, so that warnings do not tear the picture
        self._live = Live(self._screen, console=terminal, refresh_per_second=REFRESHES_A_SECOND, redirect_stdout=False)
        self._live.start()

    def _blocks(self, event: Event) -> list[RenderableType]:
        match event:
            case WindowObserved() | PhaseStarted() | BaselineHeld() | SignalSeen():
                return []  # the screen shows them, and what follows tells
            case ChecksRan(results=()):
                return []
            case IncidentCreated():
                return [panels.incident(event, self._injected_s)]
            case IncidentAnalyzed():
                return [_stamped(event, "retrieved"), panels.retrieved(event)]
            case FixProposed():
                return [panels.proposal(event)]
            case Deployed():
                changed = panels.diff(event)
                return [_stamped(event, line(event)), *([changed] if changed else [])]
            case _:
                return [_stamped(event, line(event))]

    def _write(self, event: Event) -> None:
        text = f"[{event.at_s:6.1f} s] {line(event)}\n"
        if isinstance(event, TrialEnded):
            text += "".join(f"{row}\n" for row in summary(event.verdict, self._folder))
        self._stream.write(text)
        self._stream.flush()


def _stamped(event: Event, text: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=9, justify="right", no_wrap=True, style="dim")
    grid.add_column(ratio=1, overflow="fold")
    grid.add_row(f"{event.at_s:.1f} s", Text(text, _STYLES.get(event.type, "")))
    return grid
