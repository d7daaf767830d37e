"""Views that have stopped working out their answers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from harness.fixing.review.answered import answer, is_constant, is_log, own_nodes, reached
from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Function, Module, last_name
from harness.fixing.review.routes import views

_KEEPS_FOR_EVER = ("functools.cache", "functools.lru_cache", "functools.cached_property")


def constant_answer(change: Change) -> Iterator[Finding]:
    was = {key: (module, view) for module in change.before.values() for key, view in views(module).items()}
    for module in change.after.values():
        for key, view in views(module).items():
            if _keeps_first(view, module) and not (key in was and _keeps_first(was[key][1], was[key][0])):
                message = f"{key}: the view's first answer is kept for ever"
                yield found("constant-answer", "veto", module, view, message, key)
            if key in was and not _works(view, module) and _works(was[key][1], was[key][0]):
                message = f"{key} answers with a constant; it worked out its answer before"
                yield found("constant-answer", "veto", module, view, message, key)


def _keeps_first(view: Function, module: Module) -> bool:
    decorators = [each.func if isinstance(each, ast.Call) else each for each in view.decorator_list]
    return any(module.origin(each) in _KEEPS_FOR_EVER for each in decorators)


def _works(function: Function, module: Module) -> bool:
    """Whether some answer that can be reached depends on anything. Log calls and refusals don't count."""
    for node in own_nodes(reached(function.body)):
        if isinstance(node, ast.Return) and node.value is not None and not _same(node.value, module):
            return True
        if isinstance(node, ast.Call) and last_name(node) != "abort" and not is_log(node, module):
            within = next(each for each in module.ancestors(node) if isinstance(each, ast.stmt))
            if not isinstance(within, ast.Return | ast.Raise):
                return True
    return False


def _same(value: ast.expr, module: Module) -> bool:
    return answer(value, module) == "error" or is_constant(value, module)
