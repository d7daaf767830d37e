"""Where alerts go, as the environment says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from harness.alerts.alert import Alert
from harness.alerts.delivery import Channel
from harness.alerts.pagerduty import PagerDutyChannel
from harness.alerts.slack import SlackChannel
from harness.errors import InputError, install
from harness.settings import secret

SLACK, PAGERDUTY, PAGERDUTY_URL, PAGE = (
    "SLACK_WEBHOOK_URL",
    "PAGERDUTY_ROUTING_KEY",
    "PAGERDUTY_URL",
    "DASHBOARD_URL",
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def channels(environ: Mapping[str, str] = os.environ) -> list[Channel]:
    """Those that are set up. InputError where none is, or an address cannot be used, or a package is missing."""
    webhook, key = secret(environ, SLACK), secret(environ, PAGERDUTY)
    if not (webhook or key):
        raise InputError(f"nobody is to be told: neither {SLACK} nor {PAGERDUTY} is set", cure="set one of them")
    found: list[Channel] = []
    try:
        if webhook:
            found.append(SlackChannel(_address(SLACK, webhook, plain_here=True)))
        if key:
            url = environ.get("PAGERDUTY_URL")
            found.append(PagerDutyChannel(key, url=_address(PAGERDUTY_URL, url) if url else None))
    except ImportError as error:
        raise InputError(f"{error.name} is not installed", cure=install("alerts")) from None
    return found


def link(environ: Mapping[str, str] = os.environ) -> Callable[[Alert], str]:
    """The page of an incident on the dashboard that DASHBOARD_URL names."""
    base = environ.get("DASHBOARD_URL", "").rstrip("/")

    def of(alert: Alert) -> str:
        path = f"{quote(alert.trial_id, safe='')}/{quote(alert.incident.id, safe='')}"
        return f"{base}/developer/incidents/{path}" if base else ""

    return of


def _address(name: str, url: str, *, plain_here: bool = False) -> str:
    """What goes there may hold pieces of logs: it is not sent in the clear beyond this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (plain_here and parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url
    raise InputError(f"{name} is no https address", cure="copy it whole, with https://, from where you made it")
