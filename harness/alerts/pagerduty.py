"""For PagerDuty's Events API v2: https://developer.pagerduty.com/docs/events-api-v2-overview"""

from __future__ import annotations

import ssl
from typing import Any

from harness.alerts.alert import Alert
from harness.alerts.delivery import Refused
from harness.model.text import cut

NAME = "pagerduty"
_SUMMARY, _TEXT = 1024, 4000  # characters; the API takes 1024 of a summary, and 512 kB in all
_PASSAGES = 3
_ACTIONS = {
    "created": "trigger",
    "analyzed": "trigger",  # the same alert again: what was retrieved is added to it
    "deployed": "acknowledge",
    "resolved": "resolve",
    "closed": "trigger",
}

Event = dict[str, Any]


def event(alert: Alert, link: str = "") -> Event:
    """The body of the request, without the routing key."""
    action = _ACTIONS[alert.kind]
    told: Event = {"event_action": action, "dedup_key": cut(alert.key, 255)}
    if action != "trigger":
        return told
    ended = f" ({alert.outcome})" if alert.outcome else ""
    summary = f"{alert.incident.error_code}{ended}: {alert.incident.symptoms}"
    told["payload"] = {
        "summary": cut(summary, _SUMMARY),
        "source": cut(alert.scenario or "creamandonion", 255),
        "severity": "critical",
        "timestamp": alert.incident.detected_at,
        "component": "harness",
        "class": cut(alert.incident.error_code, 255),
        "custom_details": _details(alert),
    }
    if link:
        told["links"] = [{"href": link, "text": "Open the incident"}]
    return told


class PagerDutyChannel:
    """``send`` raises Refused. ``url`` is https, else ValueError; ``tls``: whom to trust, where not the system's."""

    name = NAME

    def __init__(
        self, routing_key: str, *, url: str | None = None, timeout_s: int = 10, tls: ssl.SSLContext | None = None
    ) -> None:
        import pagerduty  # noqa: PLC0415 - only where alerts are sent

        self._errors = (pagerduty.Error, ValueError)
        trust: dict[str, Any] = {"verify": tls} if tls else {}
        self._client = pagerduty.EventsApiV2Client(routing_key, base_url=url, **trust)
        self._client.timeout = timeout_s
        # the delivery tries again by itself; of these the client would not let go at all otherwise
        self._client.max_network_attempts = 0
        self._client.retry = {429: 1}
        self._client.sleep_timer = 0.5

    def body(self, alert: Alert, link: str) -> Event | None:
        return event(alert, link)

    def send(self, body: Event) -> None:
        rest = {key: value for key, value in body.items() if key not in ("event_action", "dedup_key")}
        try:
            self._client.send_event(body["event_action"], body["dedup_key"], **rest)
        except self._errors as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            lasting = status is not None and 400 <= status < 500 and status != 429
            raise Refused(f"{status or type(error).__name__}", lasting=lasting) from error


def _details(alert: Alert) -> dict[str, Any]:
    details = {
        "signal": alert.signal,
        "scenario": alert.scenario,
        "trial": alert.trial_id,
        "breadcrumbs": [cut(crumb, 500) for crumb in alert.incident.breadcrumbs[:20]],
        "similar_incidents": [f"{one.score:.2f} {cut(one.title, 300)}" for one in alert.passages[:_PASSAGES]],
        "root_cause": cut(alert.root_cause, _TEXT),
        "remediation": cut(alert.remediation, _TEXT),
        "confidence": alert.confidence,
        "outcome": alert.outcome,
        "reason": cut(alert.reason, _TEXT),
    }
    return {name: value for name, value in details.items() if value not in ("", None, [])}
