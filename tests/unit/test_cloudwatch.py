"""The app's log in CloudWatch, as it is written: AWS's own client against a stand-in that speaks its protocol."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.aws.clients import client
from harness.aws.logs import LiveTail
from harness.errors import InputError, ServiceUnavailable
from tests.aws import event_stream, served

GROUP = "/ecs/cream-task"
ARN = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
DEADLINE_S = 10.0


@dataclass
class Logs:
    """A group with lines (milliseconds, text), of which a session shows the batches, then ends."""

    batches: list[tuple[Sequence[tuple[int, str]], bool]] = field(default_factory=list)  # with: is it a part only?
    lines: list[tuple[int, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, operation: str, given: dict[str, Any]) -> tuple[int, dict[str, Any] | bytes]:
        self.asked.append(given)
        if operation == "DescribeLogGroups":
            groups = [{"logGroupName": f"{GROUP}-old", "arn": "no"}, {"logGroupName": GROUP, "arn": f"{ARN}:*"}]
            return 200, {"logGroups": groups}
        if operation == "StartLiveTail":
            return 200, event_stream([("initial-response", {}), ("sessionStart", {}), *map(self.update, self.batches)])
        start, end = given["startTime"], given["endTime"]
        found = [
            {"eventId": str(number), "timestamp": at, "message": text, "logStreamName": "web/web/1"}
            for number, (at, text) in enumerate(self.lines)
            if start <= at < end
        ]
        return 200, {"events": found}

    def update(self, batch: tuple[Sequence[tuple[int, str]], bool]) -> tuple[str, dict[str, Any]]:
        lines, sampled = batch
        results = [{"timestamp": at, "message": text, "logStreamName": "web/web/1"} for at, text in lines]
        return "sessionUpdate", {"sessionMetadata": {"sampled": sampled}, "sessionResults": results}


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logs]:
    stand_in = Logs()
    with served("CLOUDWATCH_LOGS", stand_in.answer, monkeypatch):
        yield stand_in


def read(tail: LiveTail, wanted: int) -> list[str]:
    """Until there are so many lines, and then once more: none may come twice."""
    lines: list[str] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(lines) < wanted and time.monotonic() < deadline:
        lines += tail.new()
        time.sleep(0.01)
    return [*lines, *tail.new()]


def test_lines_come_as_they_are_written_and_the_rest_when_the_session_is_over(logs: Logs) -> None:
    there = client("logs")
    now = int(time.time() * 1000) + 100  # they are written once we read
    logs.batches = [([(now, "one"), (now + 1, "two")], False), ([(now + 2, "three")], False)]
    logs.lines = [(now, "one"), (now + 1, "two"), (now + 2, "three"), (now + 2, "four"), (now + 3, "five")]
    with LiveTail(there, GROUP, streams="web/") as tail:
        assert read(tail, 5) == ["one", "two", "three", "four", "five"]
    assert {"logGroupIdentifiers": [ARN], "logStreamNamePrefixes": ["web/"]} in logs.asked


def test_what_is_shown_in_part_is_looked_up_as_a_whole(logs: Logs) -> None:
    there = client("logs")
    now = int(time.time() * 1000) + 100  # they are written once we read
    logs.batches = [([(now, "one")], False), ([(now + 5, "flood 7")], True), ([(now + 9, "flood 9")], True)]
    logs.lines = [(now, "one"), *((now + number, f"flood {number}") for number in range(1, 10))]
    with LiveTail(there, GROUP) as tail:
        assert read(tail, 10) == ["one", *(f"flood {number}" for number in range(1, 10))]


def test_a_group_that_is_not_there_is_told(logs: Logs) -> None:
    tail = LiveTail(client("logs"), "/ecs/other")
    with pytest.raises(ServiceUnavailable, match="no log group /ecs/other"), tail:
        pass


def test_a_missing_region_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(InputError, match="no region"):
        client("logs")
