"""What Prometheus scrapes at /metrics: the incidents as they stand in the table, the same from each process."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from harness.dashboard.feed import Feed
from harness.incidents import counts

blueprint = Blueprint("metrics", __name__)


class Incidents(Collector):
    """``counted``: of the whole table."""

    def __init__(self, counted: counts.Counts) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        incidents = GaugeMetricFamily(
            "creamandonion_incidents", "Incidents that are recorded", labels=["state", "outcome"]
        )
        for (state, outcome), number in self._counted.incidents.items():
            incidents.add_metric([state, outcome], number)
        yield incidents
        changes = CounterMetricFamily("creamandonion_incident_changes", "What happened to incidents", labels=["kind"])
        for kind, number in self._counted.changes.items():
            changes.add_metric([kind], number)
        yield changes
        tokens = CounterMetricFamily("creamandonion_fixer_tokens", "Tokens of all fixers' models", labels=["direction"])
        for direction, number in self._counted.tokens.items():
            tokens.add_metric([direction], number)
        yield tokens
        yield CounterMetricFamily("creamandonion_fixer_usd", "What fixers cost, where known", value=self._counted.usd)
        oldest = "Seconds since the oldest incident that is neither resolved nor closed was detected; 0: there is none"
        yield GaugeMetricFamily("creamandonion_oldest_open_incident_seconds", oldest, value=self._counted.oldest_open_s)


@blueprint.get("/metrics")
def scrape() -> Response:
    feed: Feed = current_app.extensions["feed"]
    with Session(feed.history.database) as session:
        counted = counts.count(session)
    registry = CollectorRegistry()
    registry.register(Incidents(counted))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
