"""SQL built from strings, TLS without its checks, and secrets in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from harness.fixing.review.difference import Change, Finding, found
from harness.fixing.review.module import Module, keyword, last_name, source
from harness.model.fix import Severity

_RUNS_SQL = frozenset(
    {
        "text",
        "execute",
        "executemany",
        "exec_driver_sql",
        "executescript",
        "executelines",
        "raw",
        "literal_column",
        "scalar",
    }
    | {"scalars", "read_sql", "run_sql", "SQL"}
)
_SETTING = re.compile(r"\s*(SET|SHOW|RESET)\b", re.IGNORECASE)
_NO_TLS = re.compile(
    r"ssl\.(_create_unverified_context|_create_stdlib_context|CERT_NONE|CERT_OPTIONAL)|urllib3\.disable_warnings"
)
_NO_TLS_TEXT = re.compile(r".*sslmode=(disable|allow)\b.*|CERT_NONE", re.DOTALL)
_SECRET_NAME = re.compile(r"(secret|token|passwo?r?d|passwd|api_?key|private_?key|credential)s?$", re.IGNORECASE)
_SECRET_FORM = re.compile(
    r"AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|gh[pousr]_\w{30,}|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{10,400}\.eyJ[\w-]{10}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_RANDOM_TEXT = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+=_-]{16,}")


def sql_from_strings(change: Change) -> Iterator[Finding]:
    yield from change.added(_built)


def disabled_tls(change: Change) -> Iterator[Finding]:
    yield from change.added(_unverified)


def secret(change: Change) -> Iterator[Finding]:
    yield from change.added(_secrets)


def _built(module: Module) -> Iterator[Finding]:
    composed: dict[str, list[ast.expr]] = {}  # by the name that they are given
    for call in module.of(ast.Call):
        if last_name(call.func) not in _RUNS_SQL:
            continue
        statement = call.args[0] if call.args else keyword(call, "text") or keyword(call, "statement")
        for written in _written(statement, module, composed):
            parts = _variable_parts(written, module)
            if parts:
                harmless = _SETTING.match(_beginning(written))
                severity: Severity = "warning" if harmless else "veto"
                message = f"SQL is put together from strings with {source(parts[0], 60)}: bind it as a parameter"
                yield found("sql-from-strings", severity, module, call, message)
                break


def _written(statement: ast.expr | None, module: Module, composed: dict[str, list[ast.expr]]) -> list[ast.expr]:
    """The expression, or what is assigned to the name anywhere in the file, as far as it is put together."""
    if isinstance(statement, ast.Name):
        if statement.id not in composed:
            given = module.values.get(statement.id, [])
            composed[statement.id] = [each for each in given if _variable_parts(each, module)]
        return composed[statement.id]
    return [] if statement is None else [statement]


def _variable_parts(written: ast.expr, module: Module) -> list[ast.expr]:
    """Of a string that is put together: what is not fixed and may be text."""
    match written:
        case ast.JoinedStr(values=values):
            parts = [each for each in values if isinstance(each, ast.FormattedValue)]
            return [each.value for each in parts if not _is_number_format(each) and not _is_fixed(each.value, module)]
        case ast.BinOp(op=ast.Add(), left=left, right=right) if _is_text(left) or _is_text(right):
            nested = [*_variable_parts(left, module), *_variable_parts(right, module)]
            plain = [each for each in (left, right) if not _is_text(each) and not _is_fixed(each, module)]
            return nested + plain
        case ast.BinOp(op=ast.Mod(), left=left, right=right) if _is_text(left):
            given = right.elts if isinstance(right, ast.Tuple) else [right]
            return [each for each in given if not _is_fixed(each, module)]
        case ast.Call(func=ast.Attribute(attr="format", value=template), args=args, keywords=keywords) if _is_text(
            template
        ):
            return [each for each in (*args, *(k.value for k in keywords)) if not _is_fixed(each, module)]
        case ast.Call(func=ast.Attribute(attr="join", value=ast.Constant()), args=[given]):
            return [] if _is_fixed(given, module) else [given]
        case ast.Call(func=function, args=[inner, *_]) if last_name(function) == "text":
            return _variable_parts(inner, module)
        case _:
            return []


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _is_text(left) or _is_text(right)
        case _:
            return False


def _is_fixed(node: ast.expr, module: Module) -> bool:
    """A constant, a name in capitals, or a number for certain."""
    match node:
        case ast.Constant():
            return True
        case ast.Call(func=ast.Name(id="int" | "float" | "len" | "round")):
            return True
        case ast.Name() | ast.Attribute():
            return last_name(node).isupper()
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return all(_is_fixed(each, module) for each in elements)
        case ast.JoinedStr() | ast.BinOp():
            return _is_text(node) and not _variable_parts(node, module)
        case _:
            return False


def _is_number_format(part: ast.FormattedValue) -> bool:
    return part.format_spec is not None and source(part.format_spec).strip("f'\"")[-1:] in ("d", "f")


def _beginning(written: ast.expr) -> str:
    """The fixed text that it starts with."""
    while not isinstance(written, ast.Constant):
        match written:
            case ast.JoinedStr(values=[first, *_]):
                written = first
            case ast.BinOp(left=first):
                written = first
            case ast.Call(func=ast.Attribute(value=first)) | ast.Call(args=[first, *_]):
                written = first
            case _:
                return ""
    return str(written.value)


def _unverified(module: Module) -> Iterator[Finding]:
    rule = "disabled-tls"
    for call in module.of(ast.Call):
        for given in call.keywords:
            off = isinstance(given.value, ast.Constant) and given.value.value is False
            if off and given.arg in ("verify", "check_hostname", "verify_ssl", "ssl_verify"):
                yield found(rule, "veto", module, call, f"{given.arg}=False: anybody can answer for the other side")
    for node, origin in module.references():
        if _NO_TLS.fullmatch(origin):
            yield found(rule, "veto", module, node, f"{origin}: anybody can answer for the other side")
    for text, value in module.texts():
        if _NO_TLS_TEXT.fullmatch(value):
            yield found(rule, "veto", module, text, "the connection's certificate is not checked")
    for assignment in module.of(ast.Assign):
        off = isinstance(assignment.value, ast.Constant) and assignment.value.value is False
        if off and last_name(assignment.targets[0]) in ("check_hostname", "verify"):
            yield found(rule, "veto", module, assignment, "the connection's certificate is not checked")


def _secrets(module: Module) -> Iterator[Finding]:
    for text, value in module.texts():
        if _SECRET_FORM.search(value):
            yield found("secret", "veto", module, text, "a key stands in the code", value)
    for _, target, given in module.assignments():
        name, fixed = last_name(target), given.value if isinstance(given, ast.Constant) else None
        if _SECRET_NAME.search(name) and isinstance(fixed, str) and _RANDOM_TEXT.fullmatch(fixed):
            yield found("secret", "veto", module, given, f"{name} is given a fixed secret", f"{name}={fixed}")
