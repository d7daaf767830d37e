"""Code that stands before or after all views and may answer in their place."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from harness.fixing.review.answered import answer, own_nodes
from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Function, Module, last_name, source
from harness.model.fix import Severity

_BEFORE = frozenset({"before_request", "before_app_request", "before_first_request", "url_value_preprocessor"})
_AFTER = frozenset({"after_request", "after_app_request", "teardown_request"})
_ANSWER_PARTS = frozenset({"status_code", "status", "data", "response"})
_OVERLOADED = frozenset(
    {"ServiceUnavailable", "TooManyRequests", "GatewayTimeout", "BadGateway", "InternalServerError"}
)
_RULE = "answers-before-views"


def answers_before_views(change: Change) -> Iterator[Finding]:
    for detect in (_hooks, _middleware, _wrapped, _choosy_refusals):
        yield from change.added(detect)


def _hooks(module: Module) -> Iterator[Finding]:
    for function, when in _hooked(module):
        if when in _BEFORE:
            yield from _early(function, module)
        else:
            yield from _replaced(function, module)
            yield from _overwritten(function, module)


def _hooked(module: Module) -> Iterator[tuple[Function, str]]:
    """The functions that decorators or calls make into hooks, and which hook it is."""
    for function in module.definitions():
        for decorator in function.decorator_list:
            if last_name(decorator) in _BEFORE | _AFTER:
                yield function, last_name(decorator)
    for call in module.of(ast.Call):
        if last_name(call) in _BEFORE | _AFTER and call.args and last_name(call.args[0]) in module.functions:
            yield module.functions[last_name(call.args[0])], last_name(call)


def _early(function: Function, module: Module) -> Iterator[Finding]:
    """Values returned before the view is asked, and ``abort``: sensible only as an error, under some condition."""
    ways_out = [_deciding(each, module) for each in own_nodes(function.body) if _leaves(each)]
    for node in own_nodes(function.body):
        aborts = isinstance(node, ast.Call) and last_name(node) == "abort"
        if not aborts and not (isinstance(node, ast.Return) and not _is_none(node.value)):
            continue
        decided = _deciding(node, module) or any(ways_out)
        severity: Severity = "warning"
        how = ""
        if isinstance(node, ast.Return) and answer(node.value, module) != "error":
            severity, how = "veto", ", and not with an error"
        elif not decided:
            severity, how = "veto", ", whatever is asked"
        elif _is_by_chance(node, module):
            severity, how = "veto", ", by chance or by count"
        yield found(_RULE, severity, module, node, f"{function.name} answers in place of the views{how}")


def _replaced(function: Function, module: Module) -> Iterator[Finding]:
    """A hook after the view that returns something else than it was given."""
    given = {each.arg for each in (*function.args.posonlyargs, *function.args.args)}
    for node in own_nodes(function.body):
        if isinstance(node, ast.Return) and not _is_none(node.value) and last_name(node.value or node) not in given:
            severity: Severity = "veto" if answer(node.value, module) == "constant" else "warning"
            yield found(_RULE, severity, module, node, f"{function.name} replaces what the views answered")


def _overwritten(function: Function, module: Module) -> Iterator[Finding]:
    """Status or body of an answer, set from outside the view."""
    for node in own_nodes(function.body):
        sets = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in _ANSWER_PARTS
        if sets or (isinstance(node, ast.Call) and last_name(node) in ("set_data", "set_status")):
            yield found(_RULE, "veto", module, node, f"{function.name} overwrites what the views answered")


def _middleware(module: Module) -> Iterator[Finding]:
    """Functions by the WSGI protocol (PEP 3333), also methods."""
    for function in module.definitions():
        given = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
        if given[-2:] != ["environ", "start_response"]:
            continue
        calls = [each for each in own_nodes(function.body) if isinstance(each, ast.Call) and each.args]
        itself = any(last_name(each) == "start_response" and isinstance(each.args[0], ast.Constant) for each in calls)
        how = "answers requests itself" if itself else "stands between the server and the app"
        evidence = f"middleware {module.scope(function)} {itself}"
        yield found(_RULE, "veto" if itself else "warning", module, function, f"{function.name} {how}", evidence)
        yield from _overwritten(function, module)


def _wrapped(module: Module) -> Iterator[Finding]:
    for attribute in module.of(ast.Attribute):
        if attribute.attr in ("wsgi_app", "response_class") and isinstance(attribute.ctx, ast.Store):
            yield found(
                _RULE, "warning", module, attribute, f"{source(attribute, 80)} is replaced: it sees every answer"
            )


def _choosy_refusals(module: Module) -> Iterator[Finding]:
    """Requests that are told the app is overloaded, and nothing but their own form decides which."""
    for node in module.of(ast.Raise, ast.Call):
        if not _says_overloaded(node):
            continue
        tests = [each.test for each in module.ancestors(node) if isinstance(each, ast.If)]
        if tests and all(_is_about_request(test, module) for test in tests):
            yield found(_RULE, "veto", module, node, f"requests of a certain form are refused: {source(tests[0], 80)}")


def _says_overloaded(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and last_name(node) != "abort":
        return False
    inside = list(ast.walk(node))
    numbers = [each.value for each in inside if isinstance(each, ast.Constant) and type(each.value) is int]
    return any(number == 429 or 500 <= number <= 599 for number in numbers) or any(
        isinstance(each, ast.Name | ast.Attribute) and last_name(each) in _OVERLOADED for each in inside
    )


def _leaves(node: ast.AST) -> bool:
    return isinstance(node, ast.Return) and _is_none(node.value)


def _deciding(node: ast.AST, module: Module) -> bool:
    """Whether something else than the request decides that the node is reached."""
    for each in module.ancestors(node):
        if isinstance(each, Function):
            return False
        if isinstance(each, ast.Try | ast.ExceptHandler):
            return True
        if isinstance(each, ast.If) and not _is_about_request(each.test, module):
            return True
    return False


def _is_about_request(test: ast.expr, module: Module) -> bool:
    names = [each for each in own_nodes([test]) if isinstance(each, ast.Name)]
    origins = [module.origin(each) for each in names]
    return any(each.endswith(".request") for each in origins) and all(
        each.endswith((".request", ".has_request_context", ".g")) or (not each.startswith(".") and "." not in each)
        for each in origins
    )


def _is_by_chance(node: ast.AST, module: Module) -> bool:
    tests = [each.test for each in module.ancestors(node) if isinstance(each, ast.If)]
    inside = [each for test in tests for each in own_nodes([test])]
    draws = any(module.origin(each).startswith(("random.", "secrets.", "numpy.random.")) for each in inside)
    return draws or any(isinstance(each, ast.BinOp) and isinstance(each.op, ast.Mod) for each in inside)


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)
