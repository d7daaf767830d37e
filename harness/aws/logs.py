"""The app's log in CloudWatch: what was said in a while, and what is said from now on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from harness.aws.errors import explained
from harness.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

_LINES = 5_000  # of one look; what came before is left out
_LATE_S = 10.0  # a line may be found so long after it was written


class CloudWatchLog:
    """One log group. ``client`` is boto3's of CloudWatch Logs. What AWS refuses is ServiceUnavailable."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 publishes no types
        group: str,
        *,
        streams: str = "",
        now: Callable[[], float] = time.time,
        since_s: float | None = None,
        told: Collection[tuple[int, str]] = (),
    ) -> None:
        """``streams``: the beginning of the names of those that are read, such as ``web/``; empty: all.

        ``since_s``: Unix seconds; None: now. ``told``: lines since then that are known, with their times in ms.
        """
        self._client, self._group, self._streams, self._now = client, group, streams, now
        self._since_s, self._told = now() if since_s is None else since_s, frozenset(told)
        self._seen: dict[str, int] = {}  # ids of events, and their times in ms

    def between(self, start_s: float, end_s: float) -> Sequence[str]:
        """The lines of that time, in Unix seconds, oldest first: of very many the last 5,000."""
        return [str(event["message"]) for event in [*self._events(start_s, end_s)][-_LINES:]]

    def new(self) -> Sequence[str]:
        """The lines since the last call, or since the beginning. None twice, and none that came late is missed."""
        end_s = self._now()
        events = [each for each in self._events(self._since_s, end_s) if each["eventId"] not in self._seen]
        self._since_s = max(self._since_s, end_s - _LATE_S)
        self._seen |= {each["eventId"]: each["timestamp"] for each in events}
        self._seen = {id_: at for id_, at in self._seen.items() if at >= self._since_s * 1000}
        return [str(each["message"]) for each in events if (each["timestamp"], each["message"]) not in self._told]

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


class LiveTail:
    """The lines of a log group as they are written, by a session of CloudWatch Logs.

    AWS ends a session after three hours, and shows a part of what is written once that is over 500 lines a second.
    Then the rest is looked up as CloudWatchLog does: later, and nothing is lost. See
    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartLiveTail.html
    """

    def __init__(self, client: Any, group: str, *, streams: str = "") -> None:  # noqa: ANN401 - boto3 publishes no types
        self._client, self._group, self._streams = client, group, streams
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._told: dict[tuple[int, str], None] = {}  # of the last seconds, in order
        self._rest: CloudWatchLog | None = None  # once the session is over

    def __enter__(self) -> Self:
        """ServiceUnavailable where there is no such group, or it may not be read."""
        given: dict[str, Any] = {"logGroupIdentifiers": [self._arn()]}
        given |= {"logStreamNamePrefixes": [self._streams]} if self._streams else {}
        self._since_s = time.time()
        with explained(f"CloudWatch Logs, {self._group}"):
            self._stream = self._client.start_live_tail(**given)["responseStream"]
        threading.Thread(target=self._read, name="live tail", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def new(self) -> Sequence[str]:
        """The lines since the last call, or since the beginning; none twice."""
        with self._lock:
            lines, self._lines, rest = self._lines, [], self._rest
        return [*lines, *(rest.new() if rest else ())]

    def _read(self) -> None:
        """On a thread of its own, until the session ends or shows a part only."""
        try:
            for event in self._stream:
                update = event.get("sessionUpdate", {})
                if update.get("sessionMetadata", {}).get("sampled"):
                    break
                self._take(update.get("sessionResults", ()))
        except Exception as error:  # whatever broke the stream: the lines can still be looked up
            logger.info("the live tail of %s ended: %s", self._group, error)
        told, since_s = frozenset(self._told), max(self._since_s, self._newest_s() - _LATE_S)
        with self._lock:
            self._rest = CloudWatchLog(self._client, self._group, streams=self._streams, since_s=since_s, told=told)

    def _take(self, results: Iterable[Mapping[str, Any]]) -> None:
        with self._lock:
            self._lines += [str(each["message"]) for each in results]
        self._told |= {(int(each["timestamp"]), str(each["message"])): None for each in results}
        oldest = (self._newest_s() - 2 * _LATE_S) * 1000
        self._told = {line: None for line in self._told if line[0] >= oldest}

    def _newest_s(self) -> float:
        return max((at for at, _ in self._told), default=0) / 1000

    def _arn(self) -> str:
        with explained(f"CloudWatch Logs, {self._group}"):
            groups = self._client.describe_log_groups(logGroupNamePrefix=self._group)["logGroups"]
        found = next((each for each in groups if each["logGroupName"] == self._group), None)
        if found is None:
            raise ServiceUnavailable(f"there is no log group {self._group}", cure="apply deploy/terraform")
        return str(found.get("logGroupArn") or found["arn"].removesuffix(":*"))
