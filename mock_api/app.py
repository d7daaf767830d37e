"""The routes."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from flask import Flask, Response, abort, current_app, g, jsonify, make_response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import HTTPException

from mock_api.capacity import Capacity
from mock_api.ledger import KeyReused, Ledger, Order, Requests
from mock_api.modes import Faults, Outcome, parse_mode
from mock_api.settings import Settings
from mock_api.tokens import Tokens

DECLINED_CENTS = 666
_KEY_LENGTH = 255
_TOKEN_TYPE = {"token_type": "Bearer"}
_NO_FAULT = Outcome()
_P = ParamSpec("_P")
_log = logging.getLogger("mock_api")


class _ModeChange(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    mode: str


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application; charges, tokens and luck live in it. Without settings, those of the environment."""
    settings = settings or Settings.from_environment()
    app = Flask(__name__)
    app.extensions["settings"] = settings
    app.extensions["ledger"] = Ledger()
    app.extensions["requests"] = Requests()
    app.extensions["tokens"] = Tokens(life_s=settings.token_life_s, short_life_s=settings.token_short_life_s)
    app.extensions["capacity"] = Capacity(
        per_s=settings.capacity_per_s, stumble_s=settings.stumble_s, every_s=settings.stumble_every_s
    )
    app.extensions["faults"] = Faults(
        mode=settings.mode,
        latency_share=settings.latency_share,
        error_share=settings.error_share,
        latency_s=(settings.latency_min_s, settings.latency_max_s),
        capacity=app.extensions["capacity"],
        busy_s=settings.busy_s,
        seed=settings.seed,
    )
    with app.app_context():
        _enter(settings.mode)
    app.before_request(_note_arrival)
    app.after_request(_log_request)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ValidationError, _bad_body)
    app.add_url_rule("/charge", view_func=_charge, methods=["POST"])
    app.add_url_rule("/token", view_func=_token, methods=["POST"])
    app.add_url_rule("/quote", view_func=_quote)
    app.add_url_rule("/health", view_func=_health)
    app.add_url_rule("/charges", view_func=_charges)
    app.add_url_rule("/requests", view_func=_requests)
    app.add_url_rule("/admin/mode", view_func=_mode, methods=["GET"])
    app.add_url_rule("/admin/mode", view_func=_change_mode, methods=["PUT"], endpoint="_change_mode")
    return app


def _faults() -> Faults:
    faults: Faults = current_app.extensions["faults"]
    return faults


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings


def _tokens() -> Tokens:
    tokens: Tokens = current_app.extensions["tokens"]
    return tokens


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["ledger"]
    return ledger


def _faulted(view: Callable[_P, ResponseReturnValue]) -> Callable[_P, ResponseReturnValue]:
    """A late request does its work at once and only answers late: who gives up has been charged all the same."""

    @wraps(view)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> ResponseReturnValue:
        g.outcome = outcome = _faults().draw()
        if outcome.failed:
            return jsonify(error="upstream_failure"), 500
        if outcome.refused:
            time.sleep(outcome.delay_s)
            return jsonify(error="overloaded"), 503
        try:
            return view(*args, **kwargs)
        finally:
            time.sleep(outcome.delay_s)

    return wrapped


def _for_admins(view: Callable[_P, ResponseReturnValue]) -> Callable[_P, ResponseReturnValue]:
    @wraps(view)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> ResponseReturnValue:
        token = _settings().admin_token
        if token is None:
            abort(404)
        if not _same(_bearer(), token.get_secret_value()):
            return _unauthorized("unauthorized")
        return view(*args, **kwargs)

    return wrapped


def _for_clients(view: Callable[_P, ResponseReturnValue]) -> Callable[_P, ResponseReturnValue]:
    @wraps(view)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> ResponseReturnValue:
        return view(*args, **kwargs) if _tokens().holds(_bearer()) else _unauthorized("invalid_token")

    return wrapped


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _unauthorized(code: str) -> ResponseReturnValue:
    return jsonify(error=code), 401, {"WWW-Authenticate": "Bearer"}


def _token() -> ResponseReturnValue:
    """OAuth 2.0 client credentials (RFC 6749, 4.4), the client's id and secret in the form."""
    if request.form.get("grant_type") != "client_credentials":
        return jsonify(error="unsupported_grant_type"), 400
    wanted = _settings()
    secret = _same(request.form.get("client_secret", ""), wanted.client_secret.get_secret_value())
    if not (_same(request.form.get("client_id", ""), wanted.client_id) and secret):
        return _unauthorized("invalid_client")
    token, life_s = _tokens().issue(short=_faults().mode == "expire_tokens")
    return jsonify(access_token=token, expires_in=life_s, **_TOKEN_TYPE)


@_faulted
@_for_clients
def _charge() -> ResponseReturnValue:
    order = Order.model_validate(request.get_json(silent=True))
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= _KEY_LENGTH:
        return jsonify(error="bad_request", detail=f"send an Idempotency-Key of 1 to {_KEY_LENGTH} characters"), 400
    if order.amount_cents == DECLINED_CENTS:
        return jsonify(error="card_declined"), 402
    try:
        return jsonify(_ledger().charge(key, order).model_dump())
    except KeyReused:
        return jsonify(error="idempotency_key_reused", detail="this key has charged another order"), 409


@_faulted
def _quote() -> ResponseReturnValue:
    return jsonify(ok=True)


def _health() -> ResponseReturnValue:
    return jsonify(status="ok")


@_for_admins
def _charges() -> ResponseReturnValue:
    return jsonify(charges=[charge.model_dump() for charge in _ledger().charges()])


@_for_admins
def _requests() -> ResponseReturnValue:
    requests: Requests = current_app.extensions["requests"]
    return jsonify(requests.counted())


@_for_admins
def _mode() -> ResponseReturnValue:
    return jsonify(mode=_faults().mode)


@_for_admins
def _change_mode() -> ResponseReturnValue:
    change = _ModeChange.model_validate(request.get_json(silent=True))
    try:
        mode = parse_mode(change.mode)
    except ValueError as error:
        return jsonify(error="bad_request", detail=str(error)), 400
    _enter(mode)
    _log.info("mode", extra={"fields": {"mode": mode}})
    return jsonify(mode=mode)


def _enter(mode: str) -> None:
    """Also where it is the mode already: the service stumbles, or its tokens end, once more."""
    _faults().mode = mode
    if mode == "overload":
        capacity: Capacity = current_app.extensions["capacity"]
        capacity.stumble()
    elif mode == "expire_tokens":
        _tokens().revoke()


def _note_arrival() -> None:
    g.started = time.monotonic()
    requests: Requests = current_app.extensions["requests"]
    requests.note(request.path, request.headers.get("Idempotency-Key", ""))


def _log_request(response: Response) -> Response:
    fields: dict[str, Any] = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "duration_ms": round((time.monotonic() - g.started) * 1000, 1),
        "fault": str(g.get("outcome", _NO_FAULT)),
    }
    _log.info("request", extra={"fields": fields})
    return response


def _http_error(error: HTTPException) -> ResponseReturnValue:
    name = error.name.lower().replace(" ", "_")
    response = make_response(jsonify(error=name, detail=error.description), error.code or 500)
    response.headers.extend([(key, value) for key, value in error.get_headers() if key != "Content-Type"])
    return response


def _bad_body(error: ValidationError) -> ResponseReturnValue:
    problems = [": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors()]
    return jsonify(error="bad_request", detail="; ".join(problems)), 400
