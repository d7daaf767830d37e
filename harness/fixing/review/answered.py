"""What a function answers its caller with: a success made of constants, an error, or something worked out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from harness.fixing.review.module import Function, Module, last_name

MAX_FOLLOWED = 50  # functions that are looked into from one place

Answer = Literal["constant", "error", "other"]

_RESPONSES = frozenset(
    {"jsonify", "make_response", "Response", "JSONResponse", "dict", "list", "dumps", "tuple", "str"}
)
_STATUS_LINE = re.compile(r"([1-5]\d\d)(?: .*)?")
_ERROR_NAMES = re.compile(
    r"(BAD_REQUEST|UNAUTHORIZED|FORBIDDEN|NOT_FOUND|CONFLICT|GONE|TOO_MANY_REQUESTS|INTERNAL_SERVER_ERROR"
    r"|BAD_GATEWAY|SERVICE_UNAVAILABLE|GATEWAY_TIMEOUT)"
)
_LOGGING = frozenset({"info", "warning", "warn", "error", "exception", "critical", "fatal", "log"})
_LOGGERS = re.compile(r"(^|[._])(log|logs|logger|logging|warnings)(\(\))?$", re.IGNORECASE)


def own_nodes(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of these statements, without what stands in functions and classes that they define."""
    left = list(body)
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            left.extend(ast.iter_child_nodes(node))


def reached(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The statements up to the first that certainly ends the function, ``if True:`` taken as what it is."""
    kept: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.If) and isinstance(statement.test, ast.Constant):
            inner = reached(statement.body if statement.test.value else statement.orelse)
            kept.extend(inner)
            if inner and isinstance(inner[-1], ast.Return | ast.Raise):
                break
            continue
        kept.append(statement)
        if isinstance(statement, ast.Return | ast.Raise):
            break
    return kept


def answer(value: ast.expr | None, module: Module) -> Answer:
    """What a returned value is. A helper that is given an error status answers with an error."""
    if value is None:
        return "constant"
    if any(is_error_status(node) and not isinstance(module.parents.get(node), ast.Dict) for node in own_nodes([value])):
        return "error"
    return "constant" if is_constant(value, module) else "other"


def is_constant(value: ast.expr, module: Module) -> bool:
    """Whether it is the same each time: constants, containers of them, names of them, and responses made of them."""
    for node in own_nodes([value]):
        if isinstance(node, ast.Call):
            if last_name(node.func) not in _RESPONSES:
                return False
        elif isinstance(node, ast.Name):
            if node.id not in module.fixed and not (
                node.id in _RESPONSES and isinstance(module.parents.get(node), ast.Call)
            ):
                return False
        elif isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr | ast.Subscript):
            return False
    return True


def is_error_status(node: ast.AST) -> bool:
    """A number from 400 to 599, a status line, or a name such as SERVICE_UNAVAILABLE."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            line = _STATUS_LINE.fullmatch(node.value)
            return line is not None and 400 <= int(line[1]) <= 599
        return type(node.value) is int and 400 <= node.value <= 599
    return isinstance(node, ast.Attribute | ast.Name) and _ERROR_NAMES.fullmatch(last_name(node)) is not None


def is_log(call: ast.AST, module: Module) -> bool:
    """A call that writes to the log where people look: ``debug`` does not."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in _LOGGING:
        return False
    origin = module.origin(call.func.value)
    return bool(_LOGGERS.search(origin)) or "getLogger()" in origin or "get_logger()" in origin


def tells(body: Sequence[ast.AST], module: Module) -> bool:
    """Whether the statements raise, log or answer with an error, also through functions of the same module."""
    seen: set[str] = set()
    left = [body]
    while left:
        for node in own_nodes(left.pop()):
            if _tells_itself(node, module):
                return True
            callee = local_function(node, module)
            if callee is not None and callee.name not in seen and len(seen) < MAX_FOLLOWED:
                seen.add(callee.name)
                left.append(callee.body)
    return False


def _tells_itself(node: ast.AST, module: Module) -> bool:
    match node:
        case ast.Raise():
            return True
        case ast.Return(value=value):
            return answer(value, module) == "error"
        case ast.Assign(targets=[target], value=value):
            return is_error_status(value) and last_name(target) == "status_code"
        case ast.Call():
            return is_log(node, module) or last_name(node) in ("abort", "set_exception")
        case _:
            return False


def local_function(call: ast.AST, module: Module) -> Function | None:
    """The function of the same module that is called by its plain name or through ``self``."""
    match call:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name)):
            return module.functions.get(name)
        case _:
            return None
