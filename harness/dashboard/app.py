"""The Flask app. ``create_app`` is what gunicorn calls in each of its processes."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, current_app, render_template, request
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from harness.dashboard import access, events, metrics, pages
from harness.dashboard.assets import STATIC, asset_url
from harness.dashboard.feed import Feed
from harness.dashboard.settings import DashboardSettings
from harness.dashboard.sources import History, PostgresSource, RedisSource, Source
from harness.incidents.database import engine, migrate

_YEAR_S = 365 * 24 * 3600

health = Blueprint("health", __name__, url_prefix="/health")


def create_app(settings: DashboardSettings | None = None) -> Flask:
    """InputError where the environment lacks something; the tables are made where there are none."""
    settings = settings or DashboardSettings.read()
    database = engine(settings.database_url)
    migrate(database)
    app = Flask(__name__, static_folder=STATIC, static_url_path="/static")
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = _YEAR_S  # the name of a file that changes changes
    app.jinja_env.globals["asset_url"] = asset_url
    app.extensions["feed"] = Feed(History(database), _sources(settings, database), clients=settings.clients)
    access.init_app(app, settings)
    for blueprint in (pages.blueprint, events.blueprint, metrics.blueprint, health):
        app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _told)
    app.register_error_handler(SQLAlchemyError, _no_database)
    return app


def _sources(settings: DashboardSettings, database: Engine) -> list[Source]:
    redis = [RedisSource(settings.redis_url, database)] if settings.redis_url else []
    return [*redis, PostgresSource(database)]


def _told(error: HTTPException) -> Response:
    body = render_template("error.html", name=error.name, why=error.description)
    response = Response(body, error.code or 500)
    if location := error.get_response(request.environ).headers.get("Location"):
        response.headers["Location"] = location
    return response


def _no_database(error: SQLAlchemyError) -> Response:
    current_app.logger.error("the database: %s", error)
    return Response(render_template("error.html", name="Unavailable", why="The database does not answer."), 503)


@health.get("/live")
def live() -> dict[str, str]:
    """The process answers, and so does its database: 503 else."""
    feed: Feed = current_app.extensions["feed"]
    with Session(feed.history.database) as session:
        session.execute(select(1))
    return {"status": "live"}
