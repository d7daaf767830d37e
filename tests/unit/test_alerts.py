"""What people on call are told, by the vendors' own clients, to real HTTP receivers."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner

from harness.alerts import delivery, pagerduty, slack
from harness.alerts.alert import Alert, Gathering
from harness.alerts.channels import channels, link
from harness.alerts.delivery import Alerts, Refused
from harness.alerts.pagerduty import PagerDutyChannel
from harness.alerts.slack import SlackChannel
from harness.cli import cli
from harness.errors import InputError
from harness.model.event import RolledBack, TrialInterrupted
from harness.model.incident import Passage
from harness.sinks.journal import Journal
from tests import events as sample

KEY = "routing-key-0123456789abcdef0123"
HOSTILE = "<!channel> <https://evil.example|click> *bold* & \x00\udcff"


class Receiver:
    """Answers with the codes that it is given, the last one for ever."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.codes = [200]
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(receiver.delay_s)
                code = receiver.codes.pop(0) if len(receiver.codes) > 1 else receiver.codes[0]
                receiver.bodies.append(body)
                answer = json.dumps({"status": "success", "dedup_key": body.get("dedup_key", "")}).encode()
                self.send_response(code)
                for name, value in receiver.headers.items() if code != 200 else ():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@dataclass(frozen=True)
class Pager:
    """PagerDuty's own client speaks https alone: so does what it is tried against."""

    receiver: Receiver
    trust: ssl.SSLContext

    def channel(self) -> PagerDutyChannel:
        return PagerDutyChannel(KEY, url=self.receiver.url, tls=self.trust)


@pytest.fixture
def pager() -> Iterator[Pager]:
    authority, serves = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serves)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    made = Receiver(serves)
    yield Pager(made, trust)
    made.server.shutdown()
    made.server.server_close()


def told(events: list[Any]) -> list[Alert]:
    gathering = Gathering()
    return [alert for event in events for alert in gathering.after(event)]


def texts(body: object) -> Iterator[str]:
    """All texts of a Slack message, each with its kind."""
    if isinstance(body, dict):
        if body.get("type") in ("plain_text", "mrkdwn"):
            assert body["type"] == "plain_text", "markup of a log would be rendered"
            yield body["text"]
        for value in body.values():
            yield from texts(value)
    elif isinstance(body, list):
        for value in body:
            yield from texts(value)


# --- what is worth being told


def test_a_trial_that_heals_is_told_in_these_steps() -> None:
    alerts = told(sample.healed())
    assert [alert.kind for alert in alerts] == ["created", "analyzed", "deployed", "resolved"]
    assert {alert.key for alert in alerts} == {"pool_exhaustion-playbook-7f3a/inc-7f3a"}
    assert alerts[1].passages and alerts[-1].root_cause and alerts[-1].commit


def test_one_that_does_not_heal_ends_with_its_outcome() -> None:
    last = told(sample.not_healed())[-1]
    assert (last.kind, last.outcome) == ("closed", "NOT_HEALED") and last.reason


def test_a_fix_that_was_taken_back_is_not_told_to_be_live() -> None:
    events = sample.healed()
    back = next(at for at, event in enumerate(events) if isinstance(event, RolledBack))
    gathering = Gathering()
    for event in events[: back + 1]:
        list(gathering.after(event))
    assert gathering._alert and gathering._alert.commit == ""


def test_who_interrupts_a_trial_leaves_nobody_waiting() -> None:
    stopped = TrialInterrupted(at_s=20.0, reason="interrupted by the user")
    last = told([*sample.until_detected(), stopped])[-1]
    assert (last.kind, last.outcome, last.reason) == ("closed", "interrupted", "interrupted by the user")


def test_without_an_incident_nobody_is_told_anything() -> None:
    assert told([event for event in sample.healed() if event.type != "IncidentCreated"]) == []


# --- Slack


def test_slack_gets_one_message_with_the_context_and_one_at_the_end() -> None:
    bodies = [slack.message(alert, "https://dash/x") for alert in told(sample.healed())]
    assert [body is not None for body in bodies] == [False, True, False, True]
    opened, ended = (json.dumps(body) for body in bodies if body)
    assert "What was seen" in opened and "Similar incidents" in opened and "https://dash/x" in opened
    assert "Resolved" in ended and "Root cause" in ended


def test_slacks_limits_are_kept_and_markup_stays_text() -> None:
    (alert,) = (alert for alert in told(sample.healed()) if alert.kind == "analyzed")
    long = HOSTILE * 1000
    incident = replace(alert.incident, error_code=long, symptoms=long, breadcrumbs=(long,) * 50)
    passages = (Passage(id="p", title=long, text=long, score=0.5),) * 50
    body = slack.message(replace(alert, incident=incident, passages=passages, signal=long, scenario=long))
    assert body
    assert "<" not in body["text"] and len(body["blocks"]) <= 50
    assert max(map(len, texts(body))) <= 3000
    header, *rest = body["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert all(len(field["text"]) <= 2000 for block in rest for field in block.get("fields", ()))
    empty = replace(alert.incident, error_code="", symptoms="", breadcrumbs=())
    assert all(texts(slack.message(replace(alert, incident=empty, passages=(), signal="")) or {}))


def test_slack_takes_what_its_own_client_sends(receiver: Receiver) -> None:
    channel = SlackChannel(f"{receiver.url}/services/T/B/X")
    body = channel.body(told(sample.healed())[1], "")
    assert body
    channel.send(body)
    assert receiver.bodies == [body]


@pytest.mark.parametrize(("code", "lasting", "wait_s"), [(500, False, None), (429, False, 7.0), (404, True, None)])
def test_what_slack_refuses_is_told_apart(receiver: Receiver, code: int, lasting: bool, wait_s: float | None) -> None:
    receiver.codes, receiver.headers = [code], {"Retry-After": "7"} if code == 429 else {}
    with pytest.raises(Refused) as caught:
        SlackChannel(receiver.url).send({"text": "x"})
    assert (caught.value.lasting, caught.value.wait_s) == (lasting, wait_s)
    assert receiver.url not in str(caught.value), "the address is a secret"


def test_a_receiver_that_is_away_is_refused_without_its_address() -> None:
    for channel in (SlackChannel("http://127.0.0.1:1/secret"), PagerDutyChannel(KEY, url="https://127.0.0.1:1")):
        with pytest.raises(Refused) as caught:
            channel.send({"event_action": "trigger", "dedup_key": "k", "text": "x"})
        assert not caught.value.lasting and "secret" not in str(caught.value) and KEY not in str(caught.value)


# --- PagerDuty


def test_pagerduty_is_triggered_acknowledged_and_resolved_under_one_key(pager: Pager) -> None:
    channel, receiver = pager.channel(), pager.receiver
    receiver.codes = [202]
    for alert in told(sample.healed()):
        body = channel.body(alert, "https://dash/x")
        assert body
        channel.send(body)
    assert [body["event_action"] for body in receiver.bodies] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert len({body["dedup_key"] for body in receiver.bodies}) == 1
    assert {body["routing_key"] for body in receiver.bodies} == {KEY}
    assert "similar_incidents" not in receiver.bodies[0]["payload"]["custom_details"]
    payload = receiver.bodies[1]["payload"]
    assert payload["custom_details"]["similar_incidents"] and payload["severity"] == "critical"
    assert receiver.bodies[1]["links"] == [{"href": "https://dash/x", "text": "Open the incident"}]


def test_what_did_not_heal_wakes_somebody_again() -> None:
    body = pagerduty.event(told(sample.not_healed())[-1])
    assert body["event_action"] == "trigger" and "(NOT_HEALED)" in body["payload"]["summary"]


def test_pagerdutys_limits_are_kept() -> None:
    alert = told(sample.healed())[1]
    long = "x" * 1_000_000
    passages = (Passage(id="p", title=long, text=long, score=0.5),) * 50
    incident = replace(alert.incident, symptoms=long, breadcrumbs=(long,) * 50)
    told_all = replace(alert, incident=incident, root_cause=long, remediation=long, reason=long, passages=passages)
    body = pagerduty.event(told_all)
    assert len(body["payload"]["summary"]) <= 1024 and len(json.dumps(body)) < 512_000


@pytest.mark.parametrize(("code", "lasting"), [(500, False), (429, False), (400, True)])
def test_what_pagerduty_refuses_is_told_apart(pager: Pager, code: int, lasting: bool) -> None:
    pager.receiver.codes = [code]
    with pytest.raises(Refused) as caught:
        pager.channel().send({"event_action": "resolve", "dedup_key": "k"})
    assert caught.value.lasting is lasting and KEY not in str(caught.value)


# --- delivery


def test_what_is_refused_for_now_is_sent_again_and_the_order_is_kept(
    pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_FIRST_S", 0.01)
    receiver = pager.receiver
    receiver.codes = [503, 503, 429, 202]
    with Alerts([pager.channel()], link({})) as alerts:
        for event in sample.healed():
            alerts(event)
    actions = [body["event_action"] for body in receiver.bodies]
    assert actions[-3:] == ["trigger", "acknowledge", "resolve"] and set(actions[:-3]) == {"trigger"}


def test_what_is_refused_for_good_is_told_once_and_the_next_is_sent(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.codes = [400, 200]
    with Alerts([SlackChannel(receiver.url)], link({})) as alerts:
        for event in sample.healed():
            alerts(event)
    assert len(receiver.bodies) == 2
    assert [record.getMessage().split(" of ")[0] for record in caplog.records] == ["slack: alert analyzed"]


def test_a_receiver_that_is_slow_costs_a_trial_nothing(
    receiver: Receiver, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_CLOSE_S", 0.2)
    receiver.delay_s = pager.receiver.delay_s = 2.0
    alerts = Alerts([SlackChannel(receiver.url), pager.channel()], link({}))
    started_s = time.monotonic()
    for event in sample.healed():
        alerts(event)
    assert time.monotonic() - started_s < receiver.delay_s
    with alerts:
        pass
    assert time.monotonic() - started_s < 2 * receiver.delay_s


def test_a_channel_with_a_defect_does_not_keep_back_the_others(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        name = "broken"

        def body(self, alert: Alert, link: str) -> dict[str, Any] | None:
            raise RuntimeError("no body")

        def send(self, body: dict[str, Any]) -> None:
            raise AssertionError

    with Alerts([Broken(), SlackChannel(receiver.url)], link({})) as alerts, caplog.at_level(logging.CRITICAL):
        for event in sample.healed():
            alerts(event)
    assert len(receiver.bodies) == 2


# --- set up


def test_who_is_told_stands_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    environ = {"SLACK_WEBHOOK_URL": "https://hooks.slack.com/x", "PAGERDUTY_ROUTING_KEY_FILE": str(tmp_path / "key")}
    assert [channel.name for channel in channels(environ)] == ["slack", "pagerduty"]
    for changed, message in (
        ({}, "neither SLACK_WEBHOOK_URL nor PAGERDUTY_ROUTING_KEY is set"),
        ({"SLACK_WEBHOOK_URL": "http://hooks.slack.com/secret"}, "SLACK_WEBHOOK_URL is no https address"),
        ({"PAGERDUTY_ROUTING_KEY": KEY, "PAGERDUTY_URL": "http://127.0.0.1:1"}, "PAGERDUTY_URL is no https address"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            channels(changed)
        assert "secret" not in str(caught.value) and KEY not in str(caught.value)


def test_a_link_leads_to_the_page_of_the_incident() -> None:
    alert = replace(told(sample.healed())[0], trial_id="a/b?c")
    assert link({"DASHBOARD_URL": "https://dash/"})(alert) == "https://dash/developer/incidents/a%2Fb%3Fc/inc-7f3a"
    assert link({})(alert) == ""


def test_the_command_shows_and_sends_nothing(tmp_path: Path, receiver: Receiver) -> None:
    with Journal(tmp_path / "trial") as journal:
        for event in sample.healed():
            journal(event)
    environ = {"SLACK_WEBHOOK_URL": receiver.url, "PAGERDUTY_ROUTING_KEY": ""}
    shown = CliRunner().invoke(cli, ["alert", str(tmp_path / "trial")], env=environ)
    lines = [json.loads(line) for line in shown.output.splitlines()]
    assert [(line["to"], line["when"]) for line in lines] == [
        ("pagerduty", "created"),
        *(("slack", "analyzed"), ("pagerduty", "analyzed")),
        ("pagerduty", "deployed"),
        *(("slack", "resolved"), ("pagerduty", "resolved")),
    ]
    assert receiver.bodies == []
    sent = CliRunner().invoke(cli, ["alert", "--send", str(tmp_path / "trial")], env=environ)
    assert sent.exit_code == 0 and receiver.bodies == [line["body"] for line in lines if line["to"] == "slack"]
    receiver.codes = [404]
    refused = CliRunner().invoke(cli, ["alert", "--send", str(tmp_path / "trial")], env=environ)
    assert isinstance(refused.exception, InputError) and "2 could not be delivered" in refused.exception.message
    none = CliRunner().invoke(cli, ["alert", "--send", "--to", "pagerduty", str(tmp_path / "trial")], env=environ)
    assert isinstance(none.exception, InputError)
