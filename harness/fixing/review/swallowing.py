"""Errors that nobody hears of any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from harness.fixing.review.answered import answer, is_constant, own_nodes, tells
from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Function, Module, last_name, source

_BROAD = frozenset({"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"})
_ALL_ERRORS = _BROAD | {"HTTPException", "InternalServerError", "SQLAlchemyError", "DBAPIError"}
_CLEAN_UP = frozenset(
    {"close", "rollback", "release", "shutdown", "disconnect", "invalidate", "dispose", "cancel", "expunge_all"}
)
_IDLE_CALLS = _CLEAN_UP | {"debug", "print", "sleep"}  # a word for the debug log or to standard output tells nobody
_RULE = "swallowed-exception"


def swallowed_exception(change: Change) -> Iterator[Finding]:
    for detect in (_handlers, _suppressions, _endings, _error_pages):
        yield from change.added(detect)


def _handlers(module: Module) -> Iterator[Finding]:
    for handler in module.of(ast.ExceptHandler):
        if tells(handler.body, module):
            continue
        caught = source(handler.type) if handler.type else "everything"
        evidence = f"except {caught} in {module.scope(handler)}"
        empty = _is_empty(handler, module)
        if _is_broad(handler.type, module):
            harmless = not empty or _is_clean_up(module.parents[handler])
            how = (
                "hides what failed behind a fixed answer" if empty else "neither raises, logs nor answers with an error"
            )
            message = f"the handler of {caught} {how}"
            yield found(_RULE, "warning" if harmless else "veto", module, handler, message, evidence)
        elif empty:
            yield found(_RULE, "warning", module, handler, f"{caught} is dropped without a word", evidence)


def _suppressions(module: Module) -> Iterator[Finding]:
    for call in module.of(ast.Call):
        if module.origin(call.func) in ("contextlib.suppress", "suppress"):
            broad = any(_is_broad(each, module) for each in call.args)
            message = f"{source(call, 100)} drops {'every error' if broad else 'errors'} without a word"
            yield found(_RULE, "veto" if broad else "note", module, call, message)


def _endings(module: Module) -> Iterator[Finding]:
    """``return`` in a ``finally``, and ways out of a ``with`` that return True: both drop whatever was raised."""
    for way_out in module.of(ast.Return):
        if _is_ending(way_out, module):
            yield found(_RULE, "veto", module, way_out, "a return inside finally drops whatever was raised")
    for call in module.of(ast.Call):
        silent = any(isinstance(each, ast.Lambda) and _is_true(each.body) for each in call.args)
        if silent and last_name(call) in ("push", "push_async_exit"):
            yield found(_RULE, "veto", module, call, "this way out of the block drops every error")
    for function in module.definitions():
        if function.name in ("__exit__", "__aexit__"):
            for node in own_nodes(function.body):
                if isinstance(node, ast.Return) and _is_true(node.value):
                    yield found(_RULE, "veto", module, node, f"{function.name} returns True: every error is dropped")


def _is_ending(node: ast.Return, module: Module) -> bool:
    """Whether it stands in the ``finally`` of its own function."""
    below: ast.AST = node
    for each in module.ancestors(node):
        if isinstance(each, Function):
            return False
        if isinstance(each, ast.Try | ast.TryStar) and below in each.finalbody:
            return True
        below = each
    return False


def _error_pages(module: Module) -> Iterator[Finding]:
    """Handlers of the web framework that answer an error with a success."""
    for function, caught in _registered(module):
        answers = [answer(each.value, module) for each in own_nodes(function.body) if isinstance(each, ast.Return)]
        statements = [
            each for each in own_nodes(function.body) if isinstance(each, ast.Raise | ast.Return | ast.Assign)
        ]
        if "error" in answers or not answers or tells(statements, module):
            continue
        broad = all(_is_broad(each, module) or _is_server_error(each) for each in caught)
        fixed = all(each == "constant" for each in answers)
        if broad or fixed:
            message = f"{function.name} answers {', '.join(map(source, caught))} without an error status"
            evidence = f"page {function.name}"
            yield found(_RULE, "veto" if broad and fixed else "warning", module, function, message, evidence)


def _registered(module: Module) -> Iterator[tuple[Function, list[ast.expr]]]:
    for function in module.functions.values():
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and last_name(decorator) in ("errorhandler", "app_errorhandler"):
                yield function, list(decorator.args)
    for call in module.of(ast.Call):
        if last_name(call) == "register_error_handler" and len(call.args) == 2:
            handler = module.functions.get(last_name(call.args[1]))
            if handler is not None:
                yield handler, [call.args[0]]


def _is_broad(caught: ast.expr | None, module: Module, seen: frozenset[str] = frozenset()) -> bool:
    """What can't be told by its name counts as broad."""
    match caught:
        case ast.Tuple(elts=kinds):
            return any(_is_broad(each, module, seen) for each in kinds)
        case ast.Name(id=name) if name not in _BROAD:
            assigned = [] if name in seen else module.values.get(name, [])
            return any(_is_broad(each, module, seen | {name}) for each in assigned)
        case ast.Name() | ast.Attribute():
            return last_name(caught) in _BROAD
        case _:
            return True


def _is_server_error(caught: ast.expr) -> bool:
    return last_name(caught) in _ALL_ERRORS or (isinstance(caught, ast.Constant) and caught.value == 500)


def _is_empty(handler: ast.ExceptHandler, module: Module) -> bool:
    """Whether it does nothing but go on, or put a fixed value where the result would be."""
    return all(_is_idle(statement, module) for statement in handler.body)


def _is_idle(statement: ast.stmt, module: Module) -> bool:
    match statement:
        case ast.Pass() | ast.Continue() | ast.Break():
            return True
        case ast.Return(value=value):
            return value is None or is_constant(value, module)
        case ast.Assign(value=value):
            return is_constant(value, module)
        case ast.Expr(value=value):
            if isinstance(value, ast.Call):
                return last_name(value) in _IDLE_CALLS
            return isinstance(value, ast.Constant)
        case _:
            return False


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def _is_clean_up(block: ast.AST) -> bool:
    """``try: connection.close()``: nothing depends on its success."""
    return isinstance(block, ast.Try | ast.TryStar) and all(
        isinstance(each, ast.Expr) and isinstance(each.value, ast.Call) and last_name(each.value) in _CLEAN_UP
        for each in block.body
    )
