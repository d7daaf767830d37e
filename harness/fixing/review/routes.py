"""What the app offers must not become less."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from harness.fixing.review.difference import Change, Finding, found, gone
from harness.fixing.review.module import Function, Module, keyword, last_name, source

_VERBS = frozenset({"get", "post", "put", "delete", "patch", "head", "options", "route", "websocket", "api_route"})
_REGISTRATIONS = frozenset(
    {"register_blueprint", "include_router", "add_url_rule", "add_api_route", "mount", "add_route"}
)
_ROUTERS = frozenset({"Blueprint", "APIRouter"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    rule: str  # the path with its blueprint's prefix, as written where it is not a constant
    methods: tuple[str, ...]
    node: ast.AST
    view: Function | None


def removed_route(change: Change) -> Iterator[Finding]:
    yield from change.removed(_offered)
    yield from change.added(_answered_twice)


def routes(module: Module) -> Iterator[Route]:
    """Routes that decorators make."""
    for view in module.definitions():
        for decorator in view.decorator_list:
            if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
                continue
            if decorator.func.attr not in _VERBS or not (decorator.args or keyword(decorator, "rule")):
                continue
            path = decorator.args[0] if decorator.args else keyword(decorator, "rule")
            rule = _prefix(decorator.func.value, module) + (_text(path) if path else "")
            yield Route(rule=rule, methods=_methods(decorator, decorator.func.attr), node=decorator, view=view)


def views(module: Module) -> dict[str, Function]:
    """The functions that answer requests, by method and rule, and by name where they are registered by a call."""
    by_route = {f"{method} {each.rule}": each.view for each in routes(module) for method in each.methods if each.view}
    registered = {name for call in module.of(ast.Call) if last_name(call) == "add_url_rule" for name in _names(call)}
    by_name = {each.name: each for each in module.definitions() if each.name in registered}
    return by_route | by_name


def _offered(module: Module) -> Iterator[Finding]:
    """Each method of each route, and each registration, with the conditions that it stands under."""
    for route in routes(module):
        for method in route.methods:
            what = f"{method} {route.rule}"
            yield _offer(module, route.node, what, module.conditions(route.node))
    for call in module.of(ast.Call):
        if last_name(call) not in _REGISTRATIONS:
            continue
        for what, conditions in _registrations(call, module):
            yield _offer(module, call, what, conditions)


def _offer(module: Module, node: ast.AST, what: str, conditions: str) -> Finding:
    message = f"{what} is not offered any more{', or under other conditions' if conditions else ''}"
    return gone("removed-route", "veto", module, node, message, f"{what} if {conditions}")


def _registrations(call: ast.Call, module: Module) -> Iterator[tuple[str, str]]:
    """The call as source, and what it stands under; for a loop over a written list, one for each of its elements."""
    what = f"{last_name(call)}({', '.join(source(each) for each in (*call.args, *call.keywords))})"
    loop = next((each for each in module.ancestors(call) if isinstance(each, ast.For)), None)
    conditions = module.conditions(call)
    if loop is None or not isinstance(loop.iter, ast.Tuple | ast.List):
        yield what, conditions
        return
    shortened = conditions.replace(f"for {source(loop.iter)}", f"for {source(loop.target)}")
    for element in loop.iter.elts:
        yield f"{what} for {source(element)}", shortened


def _answered_twice(module: Module) -> Iterator[Finding]:
    seen: set[str] = set()
    for route in sorted(routes(module), key=lambda each: getattr(each.node, "lineno", 0)):
        for method in route.methods:
            what = f"{method} {route.rule}"
            if what in seen:
                yield found(
                    "removed-route", "veto", module, route.node, f"{what} has two views: one never answers", what
                )
            seen.add(what)


def _methods(call: ast.Call, verb: str) -> tuple[str, ...]:
    if verb not in ("route", "api_route"):
        return (verb.upper(),)
    given = keyword(call, "methods")
    if isinstance(given, ast.List | ast.Tuple | ast.Set):
        return tuple(sorted({_text(each).upper() for each in given.elts}))
    return ("GET",) if given is None else (source(given),)


def _prefix(router: ast.expr, module: Module) -> str:
    """The ``url_prefix`` of a blueprint that is made in the same file."""
    made = module.values.get(router.id, []) if isinstance(router, ast.Name) else []
    for call in made:
        if isinstance(call, ast.Call) and last_name(call) in _ROUTERS:
            given = keyword(call, "url_prefix") or keyword(call, "prefix")
            return _text(given) if given else ""
    return ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else source(node)


def _names(call: ast.Call) -> set[str]:
    return {last_name(each) for each in (*call.args, *(each.value for each in call.keywords)) if last_name(each)}
