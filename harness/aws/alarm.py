"""The Lambda function that an alarm calls: what the log said, what is known of it, and people who are told.

``harness.aws.alarm.handler`` takes the event that CloudWatch sends to a function
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html). The environment names
the log (``LOG_GROUP``, ``LOG_STREAMS``) and who is told, as for ``harness run --alert``; keys may be in Secrets
Manager, see secrets.py. Nobody has to press a button, and nothing of the app is changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, Field, ValidationError, field_validator

from harness.alerts.alert import Alert
from harness.alerts.channels import PAGERDUTY, SLACK, channels, link
from harness.alerts.delivery import Alerts
from harness.aws.logs import CloudWatchLog
from harness.aws.secrets import read_secrets
from harness.errors import InputError
from harness.model.incident import Incident, Passage, Signal
from harness.redaction import redacted_incident
from harness.retrieval.base import load_base
from harness.retrieval.lexical import LexicalRetriever
from harness.trial.detect import describe, marker_in

logger = logging.getLogger(__name__)

BEFORE_S: Final = 300.0  # of the log before the alarm
AFTER_S: Final = 5.0
PASSAGES: Final = 5
_KB: Final = Path(__file__).resolve().parents[2] / "kb"
_TIME: Final = re.compile(r"([+-]\d\d)(\d\d)\Z")


class _State(BaseModel):
    value: str
    reason: str = ""
    timestamp: AwareDatetime

    @field_validator("timestamp", mode="before")
    @classmethod
    def _offset(cls, value: object) -> object:
        """CloudWatch writes +0000."""
        return _TIME.sub(r"\1:\2", value) if isinstance(value, str) else value


class _AlarmData(BaseModel):
    name: str = Field(alias="alarmName")
    state: _State


class _Alarm(BaseModel):
    arn: str = Field(alias="alarmArn")
    data: _AlarmData = Field(alias="alarmData")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """What was found, as JSON values. An event that is no alarm, or one that is over, is told and nothing is done.

    InputError and ServiceUnavailable where the function is not set up: Lambda tries again, and counts it as an error.
    """
    try:
        alarm = _Alarm.model_validate(event)
    except ValidationError as error:
        return {"skipped": f"the event is no alarm of CloudWatch: {error.error_count()} faults"}
    if alarm.data.state.value != "ALARM":
        return {"skipped": f"{alarm.data.name} is {alarm.data.state.value}"}
    read_secrets()
    incident, passages = analysed(alarm)
    alert = _alert(alarm, incident, passages)
    return {
        "incident": {"id": incident.id, "error_code": incident.error_code, "symptoms": incident.symptoms},
        "passages": [{"id": each.id, "title": each.title, "score": round(each.score, 3)} for each in passages],
        "root_cause": alert.root_cause,
        "remediation": alert.remediation,
        "told": _told(alert),
    }


def analysed(alarm: _Alarm) -> tuple[Incident, tuple[Passage, ...]]:
    """What the log said around the alarm, and what is known of incidents like that. Secrets are taken out."""
    group = os.environ.get("LOG_GROUP")
    if not group:
        raise InputError("LOG_GROUP is not set", cure="name the app's log group, such as /ecs/cream-task")
    at: datetime = alarm.data.state.timestamp
    import boto3  # noqa: PLC0415 - an extra, and slow to import

    log = CloudWatchLog(boto3.client("logs"), group, streams=os.environ.get("LOG_STREAMS", ""))
    lines = log.between(at.timestamp() - BEFORE_S, at.timestamp() + AFTER_S)
    marker = marker_in(lines[::-1])
    signal = (
        Signal(kind="marker", at_s=0.0, detail=marker[0])
        if marker
        else Signal(kind="page", at_s=0.0, detail=f"{alarm.data.name}: {alarm.data.state.reason}")
    )
    digest = hashlib.sha256(f"{alarm.arn}{at.isoformat()}".encode()).hexdigest()  # of another try it is the same
    incident = describe(
        f"alarm-{digest[:12]}",
        signal,
        markers=True,
        lines=lines,
        windows=(),
        commit=os.environ.get("RELEASE", "unknown"),
        now=at.isoformat(),
    )
    incident = redacted_incident(incident)
    return incident, tuple(_retriever().retrieve(incident, PASSAGES))


@cache
def _retriever() -> LexicalRetriever:
    """Made once for as long as the function is warm."""
    return LexicalRetriever(load_base(_KB, learned=_KB).documents, learned=_KB)


def _alert(alarm: _Alarm, incident: Incident, passages: tuple[Passage, ...]) -> Alert:
    best = passages[0] if passages else None
    known = best.sections if best else {}
    return Alert(
        kind="analyzed",
        trial_id=alarm.data.name,
        scenario=alarm.data.name,
        fixer="nobody",
        incident=incident,
        signal=f"alarm {alarm.data.name}: {alarm.data.state.reason}",
        passages=passages,
        root_cause=f"Perhaps as in {best.id}: {known.get('Root cause', best.title)}" if best else "",
        remediation=known.get("Remediation", ""),
    )


def _told(alert: Alert) -> list[str]:
    """Who took it. Where nobody is set up, the answer says so, and the log of the function has it all."""
    logger.info("%s", json.dumps({"incident": alert.incident.id, "error_code": alert.incident.error_code}))
    if not any(os.environ.get(name) for name in (SLACK, PAGERDUTY)):
        return []
    called = channels()
    with Alerts(called, link()) as alerts:
        for kind in ("created", "analyzed"):
            alerts.tell(replace(alert, kind=kind))
    if alerts.failed:
        raise InputError(f"{alerts.failed} alerts could not be delivered", cure="see the warnings before this")
    return [channel.name for channel in called]
