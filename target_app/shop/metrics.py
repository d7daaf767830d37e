"""What Prometheus scrapes at /metrics.

Each gunicorn worker counts for itself, and the scrape adds them up (PROMETHEUS_MULTIPROC_DIR). The breaker and the
queue belong to all processes: they are looked at when the scrape comes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

import sqlalchemy as sa
from flask import Blueprint, Flask, Response, g
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shop.db import probe_engine
from shop.logs import route
from shop.models import Job, JobState
from shop.payments import payments
from shop.resilience import State

logger = logging.getLogger(__name__)
blueprint = Blueprint("metrics", __name__)

REQUEST_SECONDS = Histogram(
    "shop_request_seconds",
    "Seconds from a request's start to its answer",
    ["route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("shop_requests_in_flight", "Requests being answered", multiprocess_mode="livesum")
POOL_IN_USE = Gauge("shop_db_connections_in_use", "Pooled connections in use", multiprocess_mode="livesum")


class SharedState(Collector):
    def collect(self) -> Iterator[Metric]:
        breaker = GaugeMetricFamily("shop_breaker_state", "1 for the state of the circuit breaker", labels=["state"])
        now = payments().breaker.state()
        for state in State:
            breaker.add_metric([state], float(state is now))
        yield breaker
        jobs = GaugeMetricFamily("shop_jobs", "Jobs of the background worker", labels=["state"])
        try:
            with probe_engine().connect() as connection:
                rows = connection.execute(sa.select(Job.state, sa.func.count()).group_by(Job.state)).all()
        except sa.exc.OperationalError as error:
            logger.warning("the queue can't be counted: %s", error)
            return
        counts = dict(row.tuple() for row in rows)
        for job_state in JobState:
            jobs.add_metric([job_state], counts.get(job_state, 0))
        yield jobs


@blueprint.get("/metrics")
def scrape() -> Response:
    counted = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call] # the package types only parts
    shared = CollectorRegistry()
    shared.register(SharedState())
    return Response(generate_latest(counted) + generate_latest(shared), content_type=CONTENT_TYPE_LATEST)


def init_app(app: Flask, engine: sa.Engine) -> None:
    sa.event.listen(engine, "checkout", lambda *_: POOL_IN_USE.inc())
    sa.event.listen(engine, "checkin", lambda *_: POOL_IN_USE.dec())

    @app.before_request
    def start() -> None:
        g.metrics_started = time.perf_counter()
        IN_FLIGHT.inc()

    @app.after_request
    def finish(response: Response) -> Response:
        REQUEST_SECONDS.labels(route(), response.status_code).observe(time.perf_counter() - g.metrics_started)
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        if g.pop("metrics_started", None) is not None:
            IN_FLIGHT.dec()

    app.register_blueprint(blueprint)
