"""The list of incidents, and the page of each."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from harness.dashboard.faults import FAULTS, trigger
from harness.dashboard.feed import Feed
from harness.dashboard.settings import DashboardSettings
from harness.dashboard.views import diff_lines, waterfall
from harness.incidents import changes, store
from harness.incidents.record import IncidentRecord
from harness.incidents.store import Wanted
from harness.model.verdict import Outcome

blueprint = Blueprint("incidents", __name__)

PAGE = 50  # incidents
_LONGEST = 200  # characters of what is looked for
_CHOSEN: Final = ("text", "state", "outcome", "scenario", "fixer")
_STATES: Final = tuple(kind for kind in changes.KINDS if kind != "refused")


@blueprint.get("/")
def home() -> Response:
    return redirect(url_for("incidents.listing"))


@blueprint.get("/developer/incidents")
def listing() -> str:
    text, state, outcome, scenario, fixer = (request.args.get(name, "")[:_LONGEST] for name in _CHOSEN)
    wanted = Wanted(text=text, state=state, outcome=outcome, scenario=scenario, fixer=fixer)
    asked = replace(wanted, after=_place(request.args["after"])) if request.args.get("after") else wanted
    with _session() as session:
        feed, newest = changes.feed_name(session), changes.newest(session)  # before the list: told twice, not never
        found = store.listed(session, asked, PAGE + 1)
        shown = [_row(record) for record in found[:PAGE]]
        more = _named_place(found[PAGE - 1]) if len(found) > PAGE else ""
        scenarios = store.choices(session, IncidentRecord.scenario)
        fixers = store.choices(session, IncidentRecord.fixer)
    settings: DashboardSettings = current_app.extensions["access"][0]
    return render_template(
        "incidents.html",
        rows=shown,
        wanted=wanted,
        older={**_given(wanted), "after": more} if more else None,
        first=asked.after is None,
        filtered=bool(_given(wanted)),
        newest=newest,
        feed=feed,
        choices={"state": _STATES, "outcome": [*Outcome], "scenario": scenarios, "fixer": fixers},
        faults=FAULTS,
        faults_on=settings.target_url is not None,
    )


@blueprint.get("/developer/incidents/<trial_id>/<incident_id>")
def incident(trial_id: str, incident_id: str) -> str:
    with _session() as session:
        feed, newest = changes.feed_name(session), changes.newest(session)
        found = store.get(session, incident_id, trial_id)
        if found is None:
            abort(404, "There is no such incident.")
        return render_template(
            "incident.html",
            incident=found,
            row=_row(found),
            diff=diff_lines(found.diff or ""),
            phases=waterfall(found.phases),
            timeline=changes.of_incident(session, trial_id, incident_id),
            newest=newest,
            feed=feed,
        )


@blueprint.post("/developer/faults/<name>")
def fault(name: str) -> Response:
    settings: DashboardSettings = current_app.extensions["access"][0]
    if settings.target_url is None:
        abort(403, "Fault injection is off: it takes ENABLE_FAULT_INJECTION=1 and TARGET_URL.")
    if name not in FAULTS:
        abort(404, "There is no such fault.")
    flash(trigger(settings.target_url, FAULTS[name]))
    return redirect(url_for("incidents.listing"), 303)


def _session() -> Session:
    feed: Feed = current_app.extensions["feed"]
    return Session(feed.history.database)


def _row(record: IncidentRecord) -> dict[str, Any]:
    """As a change tells it, so that a page looks the same whether it was loaded or kept up to date."""
    return {"trial_id": record.trial_id, "id": record.id, **changes.summary(record)}


def _given(wanted: Wanted) -> dict[str, str]:
    return {name: value for name in _CHOSEN if (value := getattr(wanted, name))}


def _named_place(last: IncidentRecord) -> str:
    place = [last.detected_at.isoformat(), last.trial_id, last.id]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(name: str) -> tuple[datetime, str, str]:
    try:
        at, trial_id, incident_id = _three(json.loads(base64.urlsafe_b64decode(name)))
        return datetime.fromisoformat(at), trial_id, incident_id
    except (ValueError, RecursionError):
        abort(400, "There is no such page of the list.")


def _three(value: object) -> Sequence[str]:
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(one, str) for one in value):
        raise ValueError("not three texts")
    return value
