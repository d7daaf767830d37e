"""Who may look, and what a browser may do with a page of ours."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, current_app, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from harness.dashboard.settings import DashboardSettings

blueprint = Blueprint("access", __name__)

_OPEN = {"access.login", "health.live", "static"}  # what is shown to anybody
_SAFE = {"GET", "HEAD", "OPTIONS"}
_TRIES, _TRIES_S = 10, 60.0  # wrong tokens that a process listens to in that time, whoever sends them
_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect", "font")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Tries:
    """Slows down who guesses."""

    def __init__(self) -> None:
        self._wrong: list[float] = []
        self._lock = threading.Lock()

    def too_many(self) -> bool:
        with self._lock:
            self._wrong = [at for at in self._wrong if at > time.monotonic() - _TRIES_S]
            return len(self._wrong) >= _TRIES

    def wrong(self) -> None:
        with self._lock:
            self._wrong.append(time.monotonic())


def init_app(app: Flask, settings: DashboardSettings) -> None:
    app.register_blueprint(blueprint)
    app.extensions["access"] = settings, Tries()
    app.secret_key = settings.secret_key
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=settings.cookie_secure,
        SESSION_COOKIE_NAME="creamandonion",
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    app.before_request(_checked)
    app.after_request(_guarded)
    app.context_processor(lambda: {"csrf_token": csrf_token, "logs_in": settings.token is not None})


def csrf_token() -> str:
    """Of this browser's session; each form sends it back."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(32)
    return str(session["csrf"])


def _checked() -> AnyResponse | None:
    settings: DashboardSettings = current_app.extensions["access"][0]
    if settings.hosts and (urlsplit(f"//{request.host}").hostname or "") not in settings.hosts:
        abort(400, "This name is not one of the dashboard's.")  # a page elsewhere whose name was made to point here
    if settings.token is None and not ip_address(request.remote_addr or "0.0.0.0").is_loopback:  # noqa: S104 - nobody
        abort(403, "Without a token, only this machine may look.")
    if request.method not in _SAFE:
        sent = request.form.get("csrf_token", "")
        if "csrf" not in session or not hmac.compare_digest(sent.encode(), str(session["csrf"]).encode()):
            abort(403, "The form is too old, or came from elsewhere. Load the page again.")
    inside = settings.token is None or request.endpoint in _OPEN or _let_in(settings)
    if not inside and not (request.accept_mimetypes.accept_html and request.method in _SAFE):
        abort(401, "Log in first.")
    return None if inside else redirect(url_for("access.login", next=request.full_path.rstrip("?")))


def _let_in(settings: DashboardSettings) -> bool:
    """By a login, or, for programs, by ``Authorization: Bearer TOKEN``."""
    sent = request.authorization
    bearer = sent.token if sent and sent.type == "bearer" else None
    if bearer:
        tries: Tries = current_app.extensions["access"][1]
        right = not tries.too_many() and hmac.compare_digest(bearer.encode(), (settings.token or "").encode())
        if not right:
            tries.wrong()
        return right
    return bool(session.get("in") == _proof(settings))


def _proof(settings: DashboardSettings) -> str:
    """What a session holds that was begun with the token: another token ends it."""
    return hmac.digest(settings.secret_key.encode(), (settings.token or "").encode(), "sha256").hex()


def _guarded(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> AnyResponse | str | tuple[str, int]:
    settings, tries = current_app.extensions["access"]
    after = _local(request.values.get("next", ""))
    if settings.token is None:
        return redirect(after)
    if request.method == "GET":
        return render_template("login.html", next=after, error="")
    if tries.too_many():
        return render_template("login.html", next=after, error="Too many wrong tokens. Wait a minute."), 429
    if not hmac.compare_digest(request.form.get("token", "").encode(), settings.token.encode()):
        tries.wrong()
        return render_template("login.html", next=after, error="That is not the token."), 403
    session.clear()  # a session that somebody else may have begun is not gone on with
    session["in"] = _proof(settings)
    return redirect(after)


@blueprint.post("/logout")
def logout() -> AnyResponse:
    session.clear()
    return redirect(url_for("access.login"))


def _local(path: str) -> str:
    """A place of ours; a login must not send anybody elsewhere."""
    parts = urlsplit(path)
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if ours else url_for("incidents.listing")
