"""A small shop: a catalogue, orders, payments through a provider, receipts made in the background."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from shop.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Opens no connection. Raises SettingsError when SECRET_KEY is missing."""
    # imported here, so that migrations and seeding start without the web stack
    from flask import Flask  # noqa: PLC0415

    from shop import auth, catalog, db, errors, faults, health, logs, metrics, orders, payments  # noqa: PLC0415

    app = Flask(__name__, static_folder=None)
    app.config.update(
        SECRET_KEY=settings.require_secret_key(),
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.cookie_secure,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined] # the default provider has it, its interface does not
    logs.init_app(app)
    metrics.init_app(app, db.init_app(app, settings))
    errors.init_app(app)
    payments.init_app(app, settings)
    for module in (catalog, auth, orders, health):
        app.register_blueprint(module.blueprint)
    if settings.enable_fault_injection:
        app.register_blueprint(faults.blueprint)
    return app
