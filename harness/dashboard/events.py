"""``/developer/incidents/events``: changes as they come, by Server-Sent Events."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, abort, current_app, request
from sqlalchemy.exc import SQLAlchemyError

from harness.dashboard.feed import Client, Feed, FeedFull, frame
from harness.incidents.changes import Change

blueprint = Blueprint("events", __name__)

HEARTBEAT_S = 15.0  # a client that has gone is noticed when that cannot be written
_REPLAY = 2000  # changes that are sent again; who missed more reads the list anew
_RETRY_MS = 1000
_RESET = b"event: reset\ndata: {}\n\n"


@blueprint.get("/developer/incidents/events")
def events() -> Response:
    """From the header Last-Event-ID on, else from ``after``, else from now on. 503 where there is no room."""
    feed: Feed = current_app.extensions["feed"]
    try:
        client = feed.join()
    except FeedFull:
        return Response("Too many live pages are open.\n", 503, {"Retry-After": "10"}, mimetype="text/plain")
    except SQLAlchemyError:
        return Response("The database does not answer.\n", 503, {"Retry-After": "5"}, mimetype="text/plain")
    try:
        number = _number(feed)
        named = request.args.get("feed")
        elsewhere = number > feed.history.newest() or (named is not None and named != feed.history.name())
        missed = None if elsewhere else feed.history.after(number, _REPLAY + 1)
    except BaseException as error:
        feed.leave(client)
        if isinstance(error, SQLAlchemyError):
            return Response("The database does not answer.\n", 503, {"Retry-After": "5"}, mimetype="text/plain")
        raise
    response = Response(_told(feed, client, number, missed), mimetype="text/event-stream")
    response.call_on_close(lambda: feed.leave(client))  # also where it was never begun to be read
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _number(feed: Feed) -> int:
    asked = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    if not asked:
        return feed.history.newest()
    if not (asked.isascii() and asked.isdecimal()) or len(asked) > 18:
        abort(400, "Last-Event-ID is no number of a change.")
    return int(asked)


def _told(feed: Feed, client: Client, number: int, missed: list[Change] | None) -> Iterator[bytes]:
    """``missed`` None: the number is of another database."""
    yield f"retry: {_RETRY_MS}\n: {feed.state or 'starting'}\n\n".encode()
    if missed is None or len(missed) > _REPLAY:
        yield _RESET
        return
    for change in missed:
        yield frame(change)
        number = change.id
    while not client.lost:
        found = client.next(HEARTBEAT_S)
        if found is None:
            yield b": still here\n\n"
        elif found[0] > number:
            number = found[0]
            yield found[1]
