"""What clients and the log see when something fails: JSON without any inner detail, and a marker with the traceback."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from flask import Flask, Response, jsonify
from psycopg.errors import QueryCanceled
from werkzeug.exceptions import HTTPException

from shop.logs import Marker
from shop.payments import PaymentUnavailable, Reason

logger = logging.getLogger(__name__)

UPSTREAM_STATUS = {Reason.TIMEOUT: 504, Reason.CIRCUIT_OPEN: 503}  # the others are 502
RETRY_AFTER_S = 1


class ApiError(Exception):
    """An answer that a route gives on purpose: the client is told ``code`` and ``message``."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def answer(status: int, code: str, message: str, retry_after_s: float | None = None) -> Response:
    response = jsonify(error=code, message=message)
    response.status_code = status
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return response


def _api_error(error: ApiError) -> Response:
    return answer(error.status, error.code, error.message)


def _http_error(error: HTTPException) -> Response:
    response = jsonify(error=error.name.lower().replace(" ", "_"), message=error.description or error.name)
    response.status_code = error.code or 500
    response.headers.extend({name: value for name, value in error.get_headers() if name == "Allow"})
    return response


def _bad_sql(error: sa.exc.ProgrammingError) -> Response:
    logger.error("the database refused a statement", exc_info=error, extra={"marker": Marker.SQL})
    return answer(500, "internal_error", "Something went wrong on our side.")


def _pool_timeout(error: sa.exc.TimeoutError) -> Response:
    logger.error("no database connection came free", exc_info=error, extra={"marker": Marker.DATABASE_TIMEOUT})
    return answer(503, "database_busy", "The shop is busy. Please try again.", RETRY_AFTER_S)


def _database_away(error: sa.exc.OperationalError) -> Response:
    if isinstance(error.orig, QueryCanceled):
        logger.error("a statement took too long", exc_info=error, extra={"marker": Marker.DATABASE_TIMEOUT})
        return answer(504, "database_timeout", "The shop took too long. Please try again.")
    logger.error("the database can't be used", exc_info=error)
    return answer(503, "database_unavailable", "The shop is not available. Please try again.", RETRY_AFTER_S)


def _payment_unavailable(error: PaymentUnavailable) -> Response:
    status = UPSTREAM_STATUS.get(error.reason, 502)
    if error.reason is Reason.CIRCUIT_OPEN:  # the protection at work, not another failure
        logger.warning("the payment provider was not called: %s", error)
    else:
        logger.error("the payment provider failed", exc_info=error, extra={"marker": Marker.UPSTREAM})
    return answer(status, "payments_unavailable", "The payment provider does not answer.", error.retry_after_s)


def _unexpected(error: Exception) -> Response:
    logger.error("an unexpected error", exc_info=error)
    return answer(500, "internal_error", "Something went wrong on our side.")


def init_app(app: Flask) -> None:
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(sa.exc.ProgrammingError, _bad_sql)
    app.register_error_handler(sa.exc.TimeoutError, _pool_timeout)
    app.register_error_handler(sa.exc.OperationalError, _database_away)
    app.register_error_handler(PaymentUnavailable, _payment_unavailable)
    app.register_error_handler(Exception, _unexpected)
