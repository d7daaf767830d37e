"""How gunicorn serves the shop: `gunicorn -c gunicorn.conf.py shop.wsgi:app`. HUP loads new code and loses no request.

Nothing of `shop` is imported here: the workers would inherit the master's modules, and HUP would serve the old code.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped] # gunicorn publishes no types
    from gunicorn.workers.base import Worker  # type: ignore[import-untyped] # the same


def _whole(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdecimal():
        raise SystemExit(f"{name}={value!r} is not a whole number")
    return int(value)


class JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


bind = f"127.0.0.1:{_whole('PORT', 8000)}"
worker_class = "gthread"
workers = _whole("WEB_WORKERS", 2)
threads = _whole("WEB_THREADS", 8)
graceful_timeout = _whole("GRACEFUL_TIMEOUT_S", 8)
timeout = 30
keepalive = 15
_respawn_pause_s = _whole("WEB_RESPAWN_PAUSE_S", 0)  # a worker that dies again and again shall not take the machine
control_socket_disable = True

# the app writes a line for each request itself
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonLine}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"handlers": ["stdout"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"handlers": ["stdout"], "level": "INFO", "propagate": False},
        "gunicorn.access": {"handlers": [], "propagate": False},
    },
}

# prometheus_client reads it when it is imported, in the workers; a reload runs this file again and keeps the folder
_OURS = "shop-metrics-"
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OURS)

# libraries, on the other hand, are inherited on purpose: a reload ends the old workers at once, and who calls before
# the new ones have booted waits; so they boot in a fraction of a second instead of two
_LIBRARIES = ["flask", "httpx", "prometheus_client", "psycopg", "pydantic", "redis", "tenacity"]
for _library in [*_LIBRARIES, "sqlalchemy.orm", "sqlalchemy.dialects.postgresql.psycopg"]:
    importlib.import_module(_library)


def on_starting(_server: Arbiter) -> None:
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()


def child_exit(server: Arbiter, worker: Worker) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - not before the folder is set

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # the package types only parts
    stopping = not server.LISTENERS
    if len(server.WORKERS) < server.num_workers and not stopping:  # nobody told it to go
        time.sleep(_respawn_pause_s)


def worker_exit(_server: Arbiter, worker: Worker) -> None:
    """graceful_timeout is all that a request gets: the interpreter would go on waiting for its thread."""
    if worker.booted and not worker.alive:
        logging.shutdown()
        os._exit(0)


def on_exit(_server: Arbiter) -> None:
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(_OURS):
        shutil.rmtree(folder, ignore_errors=True)
