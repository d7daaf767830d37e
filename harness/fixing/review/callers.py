"""Whom the app lets in, and whether it treats all callers alike."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from harness.fixing.review.answered import is_log, local_function
from harness.fixing.review.difference import Change, Finding, found, gone
from harness.fixing.review.module import Function, Module, last_name, source
from harness.fixing.review.routes import views

_AUTH = re.compile(
    r"(get_)?current_user(_id)?|login_required|jwt_required|token_required|auth_required|\w+_required|require[sd]?_\w+"
    r"|check_(password|permission|auth|token|csrf)\w*|verify_(password|token|signature|csrf|jwt|user|request)\w*"
    r"|has_(role|permission|access)\w*|is_(authenticated|admin|authorized|staff|superuser)"
    r"|authenticate(_user|_request)|compare_digest|validate_csrf|ensure_(logged_in|authenticated|authorized)\w*"
)
_REFUSALS = {
    401: "401",
    403: "403",
    "UNAUTHORIZED": "401",
    "FORBIDDEN": "403",
    "Unauthorized": "401",
    "Forbidden": "403",
}

_TELLING = frozenset({"user_agent", "remote_addr", "access_route", "remote_user"})
_HEADERS = re.compile(
    r"(http-)?(user-agent|x-forwarded-\w+|x-real-ip|x-client-ip|true-client-ip|referer|accept-(language|encoding|charset)"
    r"|sec-[\w-]+|dnt)|remote-(addr|host|port|user)"
)


def removed_auth(change: Change) -> Iterator[Finding]:
    now = [(key, module, view) for module in change.after.values() for key, view in _functions(module).items()]
    had: dict[str, set[str]] = {}
    for module in change.before.values():
        marks = _marks(module)
        had |= {key: marks.get(module.scope(view), set()) for key, view in _functions(module).items()}
        had[module.path] = marks.get("", set())
    has = {module.path: _marks(module) for module in change.after.values()}
    for key, module, view in now:
        yield from _lost(key, had.get(key, set()) - has[module.path].get(module.scope(view), set()), module, view)
    for path, module in change.after.items():
        yield from _lost(path, had.get(path, set()) - has[path].get("", set()), module, module.tree)
    yield from change.removed(_refused_when)


def _refused_when(module: Module) -> Iterator[Finding]:
    """Under which conditions callers are refused."""
    for node in module.of(ast.Raise, ast.Call):
        if any(mark in _REFUSALS.values() for mark in _direct(node, module)):
            message = f"whom {module.scope(node) or module.path} refuses is decided otherwise than before"
            evidence = f"{module.scope(node)}: {module.conditions(node)}"
            yield gone("removed-auth", "warning", module, node, message, evidence)


def _functions(module: Module) -> dict[str, Function]:
    """All functions by file and name, and the views by their routes, which may move to another file."""
    named = {f"{module.path}: {module.scope(each)}": each for each in module.definitions()}
    return named | views(module)


def _lost(what: str, gone: set[str], module: Module, node: ast.AST) -> Iterator[Finding]:
    if gone:
        message = f"{what} does not ask any more who is calling: {', '.join(sorted(gone))} is gone"
        yield found("removed-auth", "veto", module, node, message, what)


def _marks(module: Module) -> dict[str, set[str]]:
    """How callers are checked, by the scope of each function that does so itself or by calling another one of the file.

    The scope of the whole file is empty.
    """
    marks: dict[str, set[str]] = {}
    for node in module.of(ast.Name, ast.Attribute, ast.Raise, ast.Call):
        for mark in _direct(node, module):
            for scope in _scopes(node, module):
                marks.setdefault(scope, set()).add(mark)
    callers: dict[str, set[str]] = {}
    for call in module.of(ast.Call):
        callee = local_function(call, module)
        if callee is not None:
            callers.setdefault(module.scope(callee), set()).update(_scopes(call, module))
    left = list(marks)
    while left:
        callee_scope = left.pop()
        for scope in callers.get(callee_scope, ()):
            known = marks.setdefault(scope, set())
            if not marks[callee_scope] <= known:
                known |= marks[callee_scope]
                left.append(scope)
    return marks


def _scopes(node: ast.AST, module: Module) -> list[str]:
    """Of every function around the node, from the inside, and of the file."""
    return [*(module.scope(each) for each in module.ancestors(node) if isinstance(each, Function)), ""]


@lru_cache(maxsize=4096)
def _is_check(name: str) -> bool:
    return _AUTH.fullmatch(name) is not None


def _direct(node: ast.AST, module: Module) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        name = last_name(node)
        if _is_check(name) or (name == "matches" and "passw" in module.origin(node)):
            yield name
    elif isinstance(node, ast.Raise) or last_name(node) == "abort":
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and type(each.value) is int and each.value in _REFUSALS:
                yield _REFUSALS[each.value]
            elif isinstance(each, ast.Name | ast.Attribute) and last_name(each) in _REFUSALS:
                yield _REFUSALS[last_name(each)]


# all callers alike


def client_discrimination(change: Change) -> Iterator[Finding]:
    yield from change.added(_looks_at_client)


def _looks_at_client(module: Module) -> Iterator[Finding]:
    """What tells one client from another, wherever it is not just written to the log."""
    rule = "client-discrimination"
    for attribute in module.of(ast.Attribute):
        if attribute.attr in _TELLING and not _is_logged(attribute, module):
            yield found(rule, "veto", module, attribute, f"{source(attribute, 80)} tells one client from another")
    for text, value in module.texts():
        names_header = _HEADERS.fullmatch(value.casefold().replace("_", "-"))
        if names_header and _is_looked_up(text, module) and not _is_logged(text, module):
            yield found(rule, "veto", module, text, f"the header {value} tells one client from another")
    for attribute in module.of(ast.Attribute):
        whole = attribute.attr in ("headers", "environ") and last_name(attribute.value) == "request"
        if whole and not _is_read_by_name(attribute, module):
            message = f"{source(attribute, 80)} is read without naming a header"
            yield found(rule, "warning", module, attribute, message)


def _is_looked_up(text: ast.AST, module: Module) -> bool:
    """As a key to read by: not as one of a header that the app itself sends, nor as a value that it passes on."""
    parent = module.parents[text]
    match parent:
        case ast.Dict() | ast.keyword() | ast.Return():
            return False
        case ast.Subscript(ctx=ast.Store() | ast.Del()):
            return False
        case ast.Call(func=ast.Attribute(attr="get" | "getlist" | "get_all" | "__getitem__" | "pop")):
            return True
        case ast.Call():
            return False
        case _:
            return True


def _is_logged(node: ast.AST, module: Module) -> bool:
    return any(is_log(each, module) for each in module.ancestors(node))


def _is_read_by_name(attribute: ast.AST, module: Module) -> bool:
    parent = module.parents[attribute]
    match parent:
        case ast.Subscript(slice=ast.Constant()) | ast.Compare():
            return True
        case ast.Attribute():
            call = module.parents[parent]
            return isinstance(call, ast.Call) and bool(call.args) and isinstance(call.args[0], ast.Constant)
        case _:
            return False
