"""For Slack, as blocks: https://docs.slack.dev/reference/block-kit/blocks. What a log or a model says is plain text."""

from __future__ import annotations

from typing import Any

from harness.alerts.alert import Alert
from harness.alerts.delivery import Refused
from harness.model.text import cut

NAME = "slack"
_HEAD, _TEXT, _FIELD = 150, 2900, 900  # characters; Slack refuses 150, 3000 and 2000
_PASSAGES, _CRUMBS = 3, 6
_TITLES = {
    "analyzed": "Incident",
    "resolved": "Resolved",
    "closed": "Not resolved",
}
_SIGNS = {"analyzed": ":rotating_light:", "resolved": ":white_check_mark:", "closed": ":warning:"}

Block = dict[str, Any]


def message(alert: Alert, link: str = "") -> Block | None:
    """The body for an incoming webhook; None: this step is not worth a message of its own."""
    if alert.kind not in _TITLES:
        return None
    code = alert.incident.error_code
    title = f"{_TITLES[alert.kind]}: {code}"
    blocks = [
        {"type": "header", "text": _plain(f"{_SIGNS[alert.kind]} {title}", _HEAD, emoji=True)},
        {"type": "section", "text": _plain(_headline(alert), _TEXT)},
        {"type": "section", "fields": _fields(alert)},
        *(_opened(alert) if alert.kind == "analyzed" else _ended(alert)),
        {"type": "context", "elements": [_plain(f"{alert.trial_id} · {alert.incident.id}", _FIELD)]},
    ]
    if link:
        button = {"type": "button", "text": _plain("Open", _HEAD), "url": link}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": _escaped(cut(f"{title}: {_headline(alert)}", _TEXT)), "blocks": blocks}


class SlackChannel:
    """An incoming webhook. ``send`` raises Refused, with the seconds to wait where Slack tells them."""

    name = NAME

    def __init__(self, url: str, *, timeout_s: int = 10) -> None:
        from slack_sdk.http_retry.handler import RetryHandler  # noqa: PLC0415 - only where alerts are sent
        from slack_sdk.webhook import WebhookClient  # noqa: PLC0415 - as above

        none: list[RetryHandler] = []  # the delivery tries again by itself
        self._client = WebhookClient(url, timeout=timeout_s, retry_handlers=none)

    def body(self, alert: Alert, link: str) -> Block | None:
        return message(alert, link)

    def send(self, body: Block) -> None:
        try:
            answer = self._client.send_dict(body)
        except (OSError, ValueError) as error:
            raise Refused(f"{type(error).__name__}") from error
        if answer.status_code != 200:
            after = {name.lower(): value for name, value in answer.headers.items()}.get("retry-after", "")
            wait_s = float(after) if str(after).isdecimal() else None
            lasting = 400 <= answer.status_code < 500 and answer.status_code != 429
            raise Refused(f"{answer.status_code}: {cut(answer.body, 200)}", wait_s=wait_s, lasting=lasting)


def _headline(alert: Alert) -> str:
    return f"{alert.reason}" if alert.kind == "closed" and alert.reason else alert.incident.symptoms


def _fields(alert: Alert) -> list[Block]:
    sure = "not stated" if alert.confidence is None else f"{alert.confidence:.0%}"
    fields = [("Noticed by", alert.signal), ("Scenario", alert.scenario), ("Fixer", alert.fixer)]
    if alert.kind != "analyzed":
        fields += [
            ("Confidence", sure),
            ("Outcome", alert.outcome or "healed"),
            ("Live", alert.commit[:12] or "nothing"),
        ]
    return [_plain(f"{name}\n{value}", _FIELD) for name, value in fields]


def _opened(alert: Alert) -> list[Block]:
    crumbs = "\n".join(f"• {cut(crumb, 300)}" for crumb in alert.incident.breadcrumbs[:_CRUMBS])
    found = "\n".join(f"{passage.score:.2f}  {cut(passage.title, 200)}" for passage in alert.passages[:_PASSAGES])
    parts = [("What was seen", crumbs), ("Similar incidents", found or "none is known")]
    return [_part(name, text) for name, text in parts if text]


def _ended(alert: Alert) -> list[Block]:
    parts = [("Root cause", alert.root_cause), ("Remediation", alert.remediation)]
    return [_part(name, text) for name, text in parts if text]


def _part(name: str, text: str) -> Block:
    return {"type": "section", "text": _plain(f"{name}\n{text}", _TEXT)}


def _plain(text: str, limit: int, *, emoji: bool = False) -> Block:
    return {"type": "plain_text", "text": cut(text, limit) or "-", "emoji": emoji}


def _escaped(text: str) -> str:
    """The text of a notification is read as markup: else a log line could call the whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
