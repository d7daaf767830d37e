"""Alerts on their way: on a thread of their own, tried again, never in the way of a trial."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from harness.alerts.alert import Alert, Gathering
from harness.model.event import Event

logger = logging.getLogger(__name__)

_CAPACITY = 200
_FIRST_S, _LONGEST_S = 0.5, 30.0  # between two tries: doubled each time
_PATIENCE_S = 120.0  # for one alert; what is older wakes nobody usefully
_CLOSE_S = 15.0


class Refused(Exception):
    """``wait_s``: how long the other side wants to be left alone. ``lasting``: it will say the same next time."""

    def __init__(self, why: str, *, wait_s: float | None = None, lasting: bool = False) -> None:
        super().__init__(why)
        self.wait_s, self.lasting = wait_s, lasting


class Channel(Protocol):
    """``body`` is what would be sent, None where nothing would."""

    name: str

    def body(self, alert: Alert, link: str) -> dict[str, Any] | None: ...
    def send(self, body: dict[str, Any]) -> None: ...


class Alerts:
    """A sink: tells ``channels`` of the incidents of a trial, each on a thread of its own. Leaving it waits
    for what is on its way, within bounds.

    ``link`` gives the address of an incident's page, or nothing. What could not be delivered is a warning in the log,
    never an error.
    """

    def __init__(self, channels: Sequence[Channel], link: Callable[[Alert], str]) -> None:
        self._gathering, self._link = Gathering(), link
        self._lanes = [_Lane(channel) for channel in channels]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline_s = time.monotonic() + _CLOSE_S
        for lane in self._lanes:
            lane.close()
        for lane in self._lanes:
            lane.join(deadline_s)

    @property
    def failed(self) -> int:
        """How many could not be delivered, or not in time."""
        return sum(lane.failed for lane in self._lanes)

    def __call__(self, event: Event) -> None:
        for alert in self._gathering.after(event):
            self.tell(alert)

    def tell(self, alert: Alert) -> None:
        for lane in self._lanes:
            lane.put(alert, self._link(alert))


class _Lane:
    """One channel: its alerts in order, none before the one before it was delivered or given up."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.failed = 0
        self._waiting: queue.Queue[tuple[Alert, str] | None] = queue.Queue(_CAPACITY)
        self._worker = threading.Thread(target=self._work, name=f"alerts-{channel.name}", daemon=True)

    def put(self, alert: Alert, link: str) -> None:
        if not self._worker.ident:
            self._worker.start()
        try:
            self._waiting.put_nowait((alert, link))
        except queue.Full:
            logger.warning("%s: too many alerts wait: one of %s is lost", self._channel.name, alert.key)
            self.failed += 1

    def close(self) -> None:
        if self._worker.ident:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                logger.warning("%s: alerts are left behind", self._channel.name)

    def join(self, deadline_s: float) -> None:
        if self._worker.ident:
            self._worker.join(max(0.0, deadline_s - time.monotonic()))
            if self._worker.is_alive():
                logger.warning("%s: not all alerts were delivered in time", self._channel.name)
                self.failed += 1

    def _work(self) -> None:
        while (found := self._waiting.get()) is not None:
            try:
                self._deliver(*found)
            except Exception:  # the edge of a thread: an alert that cannot be made must not keep back the next one
                logger.exception("%s: an alert of %s was not delivered", self._channel.name, found[0].key)
                self.failed += 1

    def _deliver(self, alert: Alert, link: str) -> None:
        body = self._channel.body(alert, link)
        if body is None:
            return None
        deadline_s, pause_s = time.monotonic() + _PATIENCE_S, _FIRST_S
        while True:
            try:
                return self._channel.send(body)
            except Refused as error:
                pause_s = max(_FIRST_S, error.wait_s) if error.wait_s is not None else min(2 * pause_s, _LONGEST_S)
                if error.lasting or time.monotonic() + pause_s > deadline_s:
                    logger.warning("%s: alert %s of %s: %s", self._channel.name, alert.kind, alert.key, error)
                    self.failed += 1
                    return None
            time.sleep(pause_s)
