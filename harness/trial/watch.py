"""Keeps windows and log lines flowing while the trial waits for something."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from harness.errors import MeasurementError
from harness.model.event import PhaseStarted, SignalSeen, WindowObserved
from harness.model.incident import Incident, Signal, SignalKind
from harness.model.window import Window
from harness.ports import Traffic
from harness.redaction import redacted_incident
from harness.trial import slo
from harness.trial.detect import describe, detect
from harness.trial.world import World

Result = TypeVar("Result")

_POLL_S = 0.02
_LOG_LINES_KEPT = 5000
_LINE_CHARACTERS = 2000  # of a line of log that the healer gets to see


class Watch:
    """The eyes of a trial: phases, windows, log lines and the signals found in them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.windows: list[Window] = []
        self.lines: deque[str] = deque(maxlen=_LOG_LINES_KEPT)
        self.signals: dict[SignalKind, Signal] = {}
        self.armed_s: float | None = None  # from when on signals count: the injection
        self.bit_s: float | None = None  # when the SLOs were seen to break under the fault
        self.secrets: frozenset[str] = frozenset()  # of the app
        self._traffic: Traffic | None = None

    def watching(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def settled(self) -> Sequence[Window]:
        """All windows with what became of late requests; none where no load has begun."""
        return self._traffic.settled() if self._traffic else ()

    def phase(self, name: str) -> None:
        self.world.emit(PhaseStarted(at_s=self.world.clock.now(), name=name))

    def signal(self, signal: Signal) -> None:
        """Noted when it is the first of its kind."""
        if signal.kind not in self.signals:
            self.signals[signal.kind] = signal
            self.world.emit(SignalSeen(at_s=signal.at_s, signal=signal))

    def first_signal(self) -> Signal:
        return min(self.signals.values(), key=lambda signal: signal.at_s)

    def describe(self, incident_id: str, detected_at: str) -> Incident:
        """The incident with the evidence that there is by now, and without secrets."""
        told = describe(
            incident_id,
            self.first_signal(),
            markers=self.world.scenario.detection.markers,
            lines=tuple(self.lines),
            windows=self.windows,
            commit=self.world.target.source().commit,
            now=detected_at,
        )
        clean = redacted_incident(told, self.world.secrets | self.secrets)
        return replace(clean, logs=tuple(line[:_LINE_CHARACTERS] for line in clean.logs))  # a cut would halve a secret

    def good(self, window: Window) -> bool:
        return slo.good(self.world.scenario.slos, window, self.world.scenario.recovery.min_requests)

    def pump(self, wait_s: float = _POLL_S) -> Window | None:
        """One look: at most one new window, all new log lines. Signals are noted once armed."""
        world = self.world
        lines = world.target.logs()
        self.lines.extend(lines)
        window = self._traffic.observe(wait_s) if self._traffic else None
        now = world.clock.now()
        if window:
            self.windows.append(window)
            held = self.good(window)
            world.emit(WindowObserved(at_s=now, window=window, slo_held=held))
        if self.armed_s is not None:
            for signal in detect(
                world.scenario.detection,
                world.scenario.slos,
                at_s=now,
                lines=lines,
                windows=self.windows if window else (),
            ):
                self.signal(signal)
        return window

    def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Pump until ``done()`` or for ``timeout_s``; whether it was done."""
        deadline_s = self.world.clock.now() + timeout_s
        while not done():
            if self.world.clock.now() >= deadline_s:
                return False
            self.pump()
        return True

    def aside(self, work: Callable[[], Result], *, what: str) -> Future[Result]:
        """``work``, begun on another thread."""
        future: Future[Result] = Future()
        threading.Thread(target=_settle, args=(future, work), name=what, daemon=True).start()
        return future

    def during(self, work: Callable[[], Result], *, timeout_s: float, what: str) -> Result:
        """The result of ``work``, done on another thread so that the watch goes on. TimeoutError past the bound."""
        deadline_s = self.world.clock.now() + timeout_s
        future = self.aside(work, what=what)
        while True:
            try:
                return future.result(timeout=_POLL_S)
            except TimeoutError:
                if future.done():  # the work itself timed out and has said what it waited for, or ended just now
                    return future.result()
            if self.world.clock.now() >= deadline_s:
                raise TimeoutError(f"{what} took longer than {timeout_s:g} s")
            self.pump(0.0)

    def must(self, work: Callable[[], Result], *, timeout_s: float, what: str) -> Result:
        """Like ``during``, where no end means that the trial could not be measured."""
        try:
            return self.during(work, timeout_s=timeout_s, what=what)
        except TimeoutError as error:
            raise MeasurementError(
                str(error) or f"{what} timed out", cure="see the logs in the result folder"
            ) from None

    def good_run_since(self, start_s: float) -> tuple[Window, Window] | None:
        """The first run of enough good windows that begins at or after ``start_s``."""
        scenario = self.world.scenario
        later = [window for window in self.windows if window.start_s >= start_s]
        return slo.first_good_run(scenario.slos, later, scenario.recovery.min_requests, scenario.recovery.consecutive)


def _settle(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # the edge of a thread: the waiting side raises it
        future.set_exception(error)
