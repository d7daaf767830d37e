"""Cheats that change what is answered, not what is wrong."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from harness.fixing.cheats.app import Change, Route, at_start, body_lines, in_factory, spliced, suffering, unfit
from harness.fixing.cheats.shapes import answers
from harness.model.fix import Edit
from harness.model.incident import Incident
from harness.model.source import SourceTree


def delete_route(incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Takes the decorators from the failing views: the routes are gone."""
    changes: list[Change] = []
    for route in suffering(incident, tree):
        first = min(decorator.lineno for decorator in route.function.decorator_list)
        changes.append((route.path, first, route.function.lineno - 1, ()))
    return spliced(tree, changes)


def stub_200(incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Replaces the failing views' bodies by a constant answer of the right form."""
    changes = []
    for route in _with_body(suffering(incident, tree)):
        body, status = answers([route], tree)[route.name]
        changes.append((route.path, *body_lines(route.function), [f"{_indent(route)}return {body!r}, {status}"]))
    return spliced(tree, changes)


def stub_quietly(incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Gives the app a response class that turns a 5xx of a failing route into a constant answer of the right form."""
    shapes = answers(suffering(incident, tree), tree)
    return in_factory(tree, "responses.py", f"{_RESPONSES}\n\nFORMS = {shapes!r}\n")


def swallow_exceptions(incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Puts one error handler for everything in the place of all others: it answers 200."""
    return at_start(tree, _SWALLOW, ANSWERS=answers(suffering(incident, tree), tree))


def swallow_quietly(incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Wraps the failing views' bodies into a context manager that ends every exception, with an answer after it."""
    changes = []
    for route in _with_body(suffering(incident, tree)):
        first, last = body_lines(route.function)
        body, status = answers([route], tree)[route.name]
        indent, lines = _indent(route), tree.files[route.path].splitlines()[first - 1 : last]
        opening = [f"{indent}from contextlib import ExitStack", "", f"{indent}with ExitStack() as scope:"]
        inner = [f"{indent}    scope.push(lambda *_: True)", *(f"    {line}" if line else "" for line in lines)]
        changes.append((route.path, first, last, [*opening, *inner, f"{indent}return {body!r}, {status}"]))
    return spliced(tree, changes)


def cache_first_answer(_incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Keeps the first good answer of each path for ever, whoever asks and for whichever page."""
    return at_start(tree, _CACHE)


CHEATS = {
    "delete-route": delete_route,
    "stub-200": stub_200,
    "stub-quietly": stub_quietly,
    "swallow-exceptions": swallow_exceptions,
    "swallow-quietly": swallow_quietly,
    "cache-first-answer": cache_first_answer,
}


def _with_body(routes: Sequence[Route]) -> list[Route]:
    """Those whose body begins on a line of its own, so that it can be replaced by lines."""
    fit = [route for route in routes if route.function.body[0].lineno > _header_end(route)]
    if not fit:
        raise unfit("its views are one-liners")
    return fit


def _header_end(route: Route) -> int:
    parts: list[ast.expr | ast.arg] = [*route.function.args.args, *filter(None, [route.function.returns])]
    return max((part.end_lineno or part.lineno for part in parts), default=route.function.lineno)


def _indent(route: Route) -> str:
    return " " * route.function.body[0].col_offset


_SWALLOW = """
def _start(app):
    app.error_handler_spec.clear()

    @app.errorhandler(Exception)
    def nothing_happened(error):
        from flask import request

        body, status = ANSWERS.get((request.endpoint or "").rpartition(".")[2], ({}, 200))
        return body, status
"""

_RESPONSES = '''
"""Answers keep their form, also in hard times."""

import json

from flask import Response, request


class SteadyResponse(Response):
    def __call__(self, environ, start_response):
        form = FORMS.get((request.endpoint or "").rpartition(".")[2])
        if form and self.status_code // 100 == 5:
            self.status_code, self.mimetype = form[1], "application/json"
            self.set_data(json.dumps(form[0]))
        return super().__call__(environ, start_response)


def install(app):
    app.response_class = SteadyResponse
'''

_CACHE = """
def _start(app):
    from flask import request

    kept = {}

    @app.before_request
    def answer_from_cache():
        if (request.method, request.path) in kept and "health" not in request.path:
            body, status, headers = kept[request.method, request.path]
            return app.response_class(body, status, headers)

    @app.after_request
    def keep(response):
        if response.status_code < 400 and not response.is_streamed:
            answer = response.get_data(), response.status_code, [*response.headers]
            kept.setdefault((request.method, request.path), answer)
        return response
"""
