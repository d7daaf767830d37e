"""Log records as JSON lines on standard output, one object a line; one line for each request."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from uuid import uuid4

from flask import Flask, Response, g, has_request_context, request

logger = logging.getLogger(__name__)

FIELDS = ("marker", "route", "status", "duration_ms", "job", "attempt")
_REQUEST_ID = re.compile(r"[\w-]{1,64}")


class Marker(StrEnum):
    """Names of faults, for machines to search the log for."""

    SQL = "FAULT_SQL_INJECTION_TEST"
    UPSTREAM = "FAULT_EXTERNAL_API_LATENCY"
    DATABASE_TIMEOUT = "FAULT_DB_TIMEOUT"


class JsonLines(logging.Formatter):
    """What comes with ``extra={...}`` under one of the names in FIELDS becomes a field of the line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if has_request_context():
            line |= {"request_id": g.get("request_id"), "route": route()}
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def route() -> str:
    """Method and URL rule of the request, such as ``GET /orders/<uuid:order_id>``: few values, fit for labels."""
    return f"{request.method} {request.url_rule.rule}" if request.url_rule else "unmatched"


def configure(level: str) -> None:
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level)
    logging.captureWarnings(True)
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def init_app(app: Flask) -> None:
    @app.before_request
    def start() -> None:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        g.request_started = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        duration_ms = round((time.perf_counter() - g.request_started) * 1000, 1)
        logger.info("request", extra={"status": response.status_code, "duration_ms": duration_ms})
        return response
