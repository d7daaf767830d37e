"""Settings of gunicorn, which reads them from this module: ``gunicorn -c python:mock_api.server``.

One worker, since the charges and the generator of luck are in its memory. A late request holds a thread for its whole
delay: 60 requests a second, each 8 s late, are 480 at once.
"""

from __future__ import annotations

from mock_api.settings import Settings

_settings = Settings.from_environment()

bind = f"{_settings.host}:{_settings.port}"
wsgi_app = "mock_api.app:create_app()"
proc_name = "mock_api"
workers = 1
worker_class = "gthread"
threads = 600
worker_connections = 2 * threads
timeout = 0
"""Never kill the worker for being slow: the charges would go with it."""
keepalive = 75
"""Longer than clients keep idle connections: one that is closed just as it is used again would be one more fault."""
graceful_timeout = 1
control_socket_disable = True
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "mock_api.logs.JsonLines"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": []},
        "gunicorn.access": {"level": "WARNING", "handlers": []},  # the application logs each request, with its fault
    },
    "root": {"level": "INFO", "handlers": ["stdout"]},
}
