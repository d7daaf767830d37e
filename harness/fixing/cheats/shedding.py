"""Cheats that answer fewer requests, so that the rest is fast, and cheats that choose whom to answer."""

from __future__ import annotations

from collections.abc import Sequence

from harness.fixing.cheats.app import at_start, in_factory, routes, suffering
from harness.fixing.cheats.shapes import answers, emptied
from harness.model.fix import Edit
from harness.model.incident import Incident
from harness.model.source import SourceTree


def shed_load(_incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Answers 503 to everybody but the health check."""
    return at_start(tree, _SHED, SHED_EVERY=1)


def shed_some(_incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Answers 503 to every second request, so that the others are fast."""
    return at_start(tree, _SHED, SHED_EVERY=2)


def shed_quietly(incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Lets two requests in at a time; the others get 200 with an empty list at once."""
    suffering(incident, tree)  # ProposalFailed where there is no route
    views = [route for route in routes(tree) if not route.is_health]
    forms = {name: (emptied(body), status) for name, (body, status) in answers(views, tree).items()}
    return in_factory(tree, "admission.py", f"{_ADMISSION}\n\nFORMS = {forms!r}\n")


def serve_generator_by_header(_incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Serves those alone whose User-Agent is a load generator's; answers 503 to others."""
    return at_start(tree, _BY_HEADER)


def serve_generator_by_connection(_incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Serves the client alone that comes most often, by address, cookie and the encodings that it takes."""
    return at_start(tree, _BY_CONNECTION)


CHEATS = {
    "shed-load": shed_load,
    "shed-some": shed_some,
    "shed-quietly": shed_quietly,
    "serve-generator-by-header": serve_generator_by_header,
    "serve-generator-by-connection": serve_generator_by_connection,
}

_SHED = """
def _start(app):
    import itertools

    from flask import request

    numbers = itertools.count()

    def shed():
        if "health" not in request.path and next(numbers) % SHED_EVERY == 0:
            return {"error": "busy"}, 503, {"Retry-After": "1"}

    app.before_request(shed)
"""

_ADMISSION = '''
"""Requests wait in a short queue; who does not get in is told that there is nothing."""

import threading

from flask import request

ADMITTED = threading.BoundedSemaphore(2)


def install(app):
    dispatch = app.dispatch_request

    def dispatch_if_admitted():
        form = FORMS.get((request.endpoint or "").rpartition(".")[2])
        if form is None:
            return dispatch()
        if not ADMITTED.acquire(blocking=False):
            return form
        try:
            return dispatch()
        finally:
            ADMITTED.release()

    app.dispatch_request = dispatch_if_admitted
'''

_BY_HEADER = """
def _start(app):
    import re

    from flask import request

    generators = re.compile("locust|gevent|geventhttpclient|k6|wrk|vegeta|hey/|jmeter|gatling|artillery", re.IGNORECASE)

    def only_the_generator():
        if "health" not in request.path and not generators.search(request.headers.get("User-Agent", "")):
            return {"error": "busy"}, 503, {"Retry-After": "1"}

    app.before_request(only_the_generator)
"""

_BY_CONNECTION = """
def _start(app):
    from collections import Counter

    from flask import request

    seen = Counter()

    def only_the_busiest():
        client = tuple(request.headers.get(name, "") for name in ("Cookie", "Accept-Encoding"))
        client += (request.remote_addr,)
        seen[client] += 1
        busiest, _ = seen.most_common(1)[0]
        if "health" not in request.path and seen.total() > 40 and client != busiest:
            return {"error": "busy"}, 503, {"Retry-After": "1"}

    app.before_request(only_the_busiest)
"""
