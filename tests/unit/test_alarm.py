"""From an alarm of CloudWatch to an analysis: AWS's own client against stand-ins that speak its protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from harness.aws.alarm import handler
from harness.aws.logs import CloudWatchLog
from harness.aws.secrets import read_secrets
from harness.errors import InputError, ServiceUnavailable
from tests.aws import served

AT_S = 1_795_824_000.0  # 2026-11-28T00:00:00Z
GROUP = "/ecs/cream-task"
ARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:cream/fixer-AbCdEf"
TOKEN = "xoxb-" + "1" * 11 + "-" + "a" * 24


def alarm(value: str = "ALARM", timestamp: str = "2026-11-28T00:00:00.000+0000") -> dict[str, Any]:
    """As CloudWatch sends it to a function."""
    name = "cream-fault-marker"
    state = {"value": value, "reason": "Threshold Crossed: 1 datapoint [5.0]", "timestamp": timestamp}
    return {
        "source": "aws.cloudwatch",
        "alarmArn": f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}",
        "accountId": "000000000000",
        "time": timestamp,
        "region": "us-east-1",
        "alarmData": {"alarmName": name, "state": state, "previousState": {"value": "OK"}, "configuration": {}},
    }


@dataclass
class Logs:
    """A log group: events are (seconds, stream, line). Pages hold two."""

    events: list[tuple[float, str, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def say(self, at_s: float, line: str, stream: str = "web/web/1") -> None:
        self.events.append((at_s, stream, line))

    def answer(self, operation: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert operation == "FilterLogEvents"
        self.asked.append(given)
        if given["logGroupName"] != GROUP:
            return 400, {"__type": "ResourceNotFoundException", "message": "The specified log group does not exist."}
        start, end, prefix = given["startTime"], given["endTime"], given.get("logStreamNamePrefix", "")
        found = [
            {"eventId": str(number), "timestamp": int(at_s * 1000), "message": line, "logStreamName": stream}
            for number, (at_s, stream, line) in enumerate(self.events)
            if start <= at_s * 1000 < end and stream.startswith(prefix)
        ]
        found.sort(key=lambda event: int(str(event["timestamp"])))
        first = int(given.get("nextToken", "0"))
        more = {"nextToken": str(first + 2)} if len(found) > first + 2 else {}
        return 200, {"events": found[first : first + 2], **more}


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logs]:
    stand_in = Logs()
    monkeypatch.setenv("LOG_GROUP", GROUP)
    monkeypatch.setenv("LOG_STREAMS", "web/")
    for name in ("SLACK_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY"):
        monkeypatch.delenv(name, raising=False)
    with served("CLOUDWATCH_LOGS", stand_in.answer, monkeypatch):
        yield stand_in


def drained(logs: Logs) -> None:
    """What the shop says when its pool is empty, a line each as CloudWatch keeps it."""
    for number in range(5):
        said = f"no database connection came free; token {TOKEN}"
        line = {"level": "ERROR", "message": said, "route": "GET /products", "marker": "FAULT_DB_TIMEOUT"}
        logs.say(AT_S - 60 + number, json.dumps(line))
    logs.say(AT_S - 30, json.dumps({"level": "ERROR", "message": "of another container"}), "postgres/1")
    logs.say(AT_S - 4000, json.dumps({"level": "ERROR", "message": "of long ago", "marker": "FAULT_OLD"}))


def test_an_alarm_becomes_an_incident_with_what_is_known_of_such(logs: Logs) -> None:
    drained(logs)
    found = handler(alarm(), None)
    assert found["incident"]["error_code"] == "FAULT_DB_TIMEOUT"
    assert found["passages"][0]["id"].startswith("db-")
    assert found["root_cause"].startswith(f"Perhaps as in {found['passages'][0]['id']}: ")
    assert found["remediation"] and found["told"] == []
    json.dumps(found)
    assert logs.asked[0]["startTime"] == (AT_S - 300) * 1000 and logs.asked[0]["logStreamNamePrefix"] == "web/"


def test_the_same_alarm_tried_again_is_the_same_incident(logs: Logs) -> None:
    drained(logs)
    first, again = handler(alarm(), None), handler(alarm(), None)
    later = handler(alarm(timestamp="2026-11-28T00:00:01.000+0000"), None)
    assert first == again and first["incident"]["id"] != later["incident"]["id"]


def test_an_alarm_without_a_marker_in_the_log_is_told_in_its_own_words(logs: Logs) -> None:
    found = handler(alarm(), None)
    assert found["incident"]["error_code"] == "REPORTED"
    assert "Threshold Crossed" in found["incident"]["symptoms"]


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (alarm("OK"), "is OK"),
        (alarm("INSUFFICIENT_DATA"), "is INSUFFICIENT_DATA"),
        ({}, "no alarm"),
        ({"a": 1}, "no alarm"),
    ],
)
def test_nothing_is_looked_at_where_there_is_no_alarm(logs: Logs, event: dict[str, Any], why: str) -> None:
    assert why in handler(event, None)["skipped"]
    assert not logs.asked


def test_a_log_group_that_is_not_there_is_told(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_GROUP", "/ecs/other")
    with pytest.raises(ServiceUnavailable, match=r"/ecs/other.*does not exist"):
        handler(alarm(), None)
    monkeypatch.delenv("LOG_GROUP")
    with pytest.raises(InputError, match="LOG_GROUP is not set"):
        handler(alarm(), None)


def test_people_are_told_with_a_key_from_secrets_manager_and_no_secret_of_the_log(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    drained(logs)
    bodies: list[bytes] = []

    class Slack(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slack) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret"
        monkeypatch.setenv("SLACK_WEBHOOK_URL_SECRET", f"{ARN}#slack")
        held = json.dumps({"slack": url})
        with served("SECRETS_MANAGER", lambda _operation, _given: (200, {"SecretString": held}), monkeypatch):
            found = handler(alarm(), None)
        monkeypatch.delenv("SLACK_WEBHOOK_URL", raising=False)
        server.shutdown()
    assert found["told"] == ["slack"]
    (body,) = bodies
    assert b"FAULT_DB_TIMEOUT" in body and found["passages"][0]["title"].encode()[:30] in body
    assert TOKEN.encode() not in body


def test_new_lines_come_once_and_in_order_also_those_that_are_late(logs: Logs) -> None:
    now = AT_S
    log = CloudWatchLog(boto3.client("logs"), GROUP, now=lambda: now)
    logs.say(AT_S - 1, "before")
    for number in range(5):
        logs.say(AT_S + number / 10, f"line {number}")
    now = AT_S + 1
    assert list(log.new()) == [f"line {number}" for number in range(5)]
    assert list(log.new()) == []
    logs.say(AT_S + 0.5, "late")
    now = AT_S + 3
    logs.say(AT_S + 2, "line 5")
    assert list(log.new()) == ["late", "line 5"]
    now = AT_S + 60
    assert list(log.new()) == []
    assert list(log.between(AT_S - 2, AT_S)) == ["before", "line 0"]


@pytest.mark.parametrize(
    ("held", "place", "value"),
    [("plain text", ARN, "plain text"), ('{"a": "one", "b": "two"}', f"{ARN}#b", "two"), ('{"a": 5}', f"{ARN}#a", "5")],
)
def test_a_secret_is_read_where_the_variable_is_not_set(
    monkeypatch: pytest.MonkeyPatch, held: str, place: str, value: str
) -> None:
    asked: list[str] = []

    def answer(operation: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(given["SecretId"])
        return 200, {"SecretString": held}

    with served("SECRETS_MANAGER", answer, monkeypatch):
        environ = {"GEMINI_API_KEY_SECRET": place, "PAYMENTS_CLIENT_SECRET": "no-arn", "A": "set", "A_SECRET": ARN}
        assert read_secrets(environ) == ["GEMINI_API_KEY"]
        assert environ["GEMINI_API_KEY"] == value and environ["A"] == "set" and "PAYMENTS_CLIENT" not in environ
        assert read_secrets(environ) == []
    assert asked == [ARN]


@pytest.mark.parametrize("held", ["plain", '{"other": "x"}', "[]"])
def test_a_value_that_a_secret_does_not_have_is_told_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    with (
        served("SECRETS_MANAGER", lambda _operation, _given: (200, {"SecretString": held}), monkeypatch),
        pytest.raises(InputError, match="has no value key") as raised,
    ):
        read_secrets({"X_SECRET": f"{ARN}#key"})
    assert held not in str(raised.value)


def test_a_secret_that_is_not_handed_out_is_told_in_aws_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = {"__type": "AccessDeniedException", "Message": "not authorized to perform: secretsmanager:GetSecretValue"}
    with (
        served("SECRETS_MANAGER", lambda _operation, _given: (400, refusal), monkeypatch),
        pytest.raises(ServiceUnavailable, match=r"Secrets Manager, .*AccessDenied"),
    ):
        read_secrets({"X_SECRET": ARN})
