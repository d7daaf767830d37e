"""The app's log in CloudWatch: what was said in a while, and what is said from now on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.aws.errors import explained

_LINES = 5_000  # of one look; what came before is left out
_LATE_S = 10.0  # a line may be found so long after it was written


class CloudWatchLog:
    """One log group. ``client`` is boto3's of CloudWatch Logs. What AWS refuses is ServiceUnavailable."""

    def __init__(self, client: Any, group: str, *, streams: str = "", now: Callable[[], float] = time.time) -> None:  # noqa: ANN401 - boto3 publishes no types
        """``streams``: the beginning of the names of those that are read, such as ``web/``; empty: all."""
        self._client, self._group, self._streams, self._now = client, group, streams, now
        self._since_s = now()
        self._seen: dict[str, int] = {}  # ids of events, and their times in ms

    def between(self, start_s: float, end_s: float) -> Sequence[str]:
        """The lines of that time, in Unix seconds, oldest first: of very many the last 5,000."""
        return [str(event["message"]) for event in [*self._events(start_s, end_s)][-_LINES:]]

    def new(self) -> Sequence[str]:
        """The lines since the last call, or since this was made. None twice, and none that came late is missed."""
        end_s = self._now()
        events = [each for each in self._events(self._since_s, end_s) if each["eventId"] not in self._seen]
        self._since_s = max(self._since_s, end_s - _LATE_S)
        self._seen |= {each["eventId"]: each["timestamp"] for each in events}
        self._seen = {id_: at for id_, at in self._seen.items() if at >= self._since_s * 1000}
        return [str(each["message"]) for each in events]

    def _events(self, start_s: float, end_s: float) -> Iterator[dict[str, Any]]:
        given: dict[str, Any] = {
            "logGroupName": self._group,
            "startTime": int(start_s * 1000),
            "endTime": int(end_s * 1000) + 1,
        }
        given |= {"logStreamNamePrefix": self._streams} if self._streams else {}
        while True:
            with explained(f"CloudWatch Logs, {self._group}"):
                page = self._client.filter_log_events(**given)
            yield from page["events"]
            if not page.get("nextToken"):
                return
            given["nextToken"] = page["nextToken"]
