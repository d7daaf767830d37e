"""``harness alert``: what people on call are told of a trial."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.alerts import pagerduty, slack
from harness.alerts.alert import Gathering
from harness.alerts.channels import channels, link
from harness.alerts.delivery import Alerts
from harness.errors import InputError
from harness.sinks.journal import read_events

_BODIES = {slack.NAME: slack.message, pagerduty.NAME: pagerduty.event}


@click.command("alert")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--to", type=click.Choice([*_BODIES]), multiple=True, help="One of them; all where none is named.")
@click.option("--send", is_flag=True, help="Send it, where SLACK_WEBHOOK_URL or PAGERDUTY_ROUTING_KEY say.")
def command(folder: Path, to: tuple[str, ...], send: bool) -> None:
    """Show what Slack and PagerDuty are told of the trial in FOLDER, as JSON, a line each. Nothing is sent.

    \b
    Examples:
      harness alert results/20261107-120000-pool_exhaustion-noop-7f3a
      harness alert --to slack --send results/20261107-120000-pool_exhaustion-noop-7f3a
    """
    events = list(read_events(folder))
    chosen = to or tuple(_BODIES)
    if send:
        wanted = [channel for channel in channels() if channel.name in chosen]
        if not wanted:
            raise InputError(f"{' and '.join(chosen)} is not set up", cure="see Environment in docs/commands.md")
        with Alerts(wanted, link()) as alerts:
            for event in events:
                alerts(event)
        if alerts.failed:
            raise InputError(f"{alerts.failed} could not be delivered, as told above", cure="correct what was refused")
        return
    gathering, of = Gathering(), link()
    for event in events:
        for alert in gathering.after(event):
            for name in chosen:
                if (body := _BODIES[name](alert, of(alert))) is not None:
                    click.echo(json.dumps({"to": name, "when": alert.kind, "body": body}))
