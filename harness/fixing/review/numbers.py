"""Limits by name, and what they are set to, as far as the source tells."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from harness.fixing.review.module import Module, last_name

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_IN_TEXT = re.compile(r"(?P<name>\b[a-z]+(?:_[a-z]+)*_timeout|\bmax_connections)\s*=\s*(?P<value>[\d.]+|\?)")
_DEPTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``value`` is None where the source says None, NaN where it can't be told before the code runs."""

    name: str
    scope: str  # the class, function or call that it is set in
    value: float | None
    node: ast.AST


Defaults = Mapping[str, float | None]


def settings(module: Module, defaults: Defaults, names: re.Pattern[str]) -> Iterator[Setting]:
    """Assignments, defaults of parameters, keyword arguments, entries of dictionaries, and settings inside strings.

    ``names`` is searched for in the name of each.
    """
    for name, value in _named(module):
        if names.search(name):
            yield _setting(name, value, module, defaults)
    for text in (*module.of(ast.JoinedStr), *(text for text, _ in module.texts())):
        yield from _in_text(text, module, defaults)


def _named(module: Module) -> Iterator[tuple[str, ast.expr]]:
    yield from ((last_name(target), value) for _, target, value in module.assignments())
    yield from ((given.arg or "", given.value) for given in module.of(ast.keyword))
    for mapping in module.of(ast.Dict):
        for key, value in zip(mapping.keys, mapping.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value
    for function in module.definitions():
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
        for argument, default in (*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)):
            if default is not None:
                yield argument.arg, default


def field_defaults(module: Module) -> dict[str, float | None]:
    """What the fields of classes and the constants of the module are set to, by name."""
    found: dict[str, float | None] = {}
    for node, target, given in module.assignments():
        if isinstance(target, ast.Name) and isinstance(module.parents[node], ast.ClassDef | ast.Module):
            value = number(given, {})
            if value is None or not math.isnan(value):
                found[target.id] = value
    return found


def number(node: ast.expr, defaults: Defaults, depth: int = _DEPTH) -> float | None:
    """A number, None for None, NaN for what can't be told. A call counts as the last number that it is given."""
    if depth == 0:
        return math.nan
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=bool()):
            return math.nan
        case ast.Constant(value=int() | float() | str() as value):
            return _number_in(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            positive = number(operand, defaults, depth - 1)
            return math.nan if positive is None else -positive
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            one, other = number(left, defaults, depth - 1), number(right, defaults, depth - 1)
            if one is None or other is None or (other == 0 and isinstance(op, ast.Div)):
                return math.nan
            return _OPERATORS[type(op)](one, other)
        case ast.Attribute(attr="inf"):
            return math.inf
        case ast.Name() | ast.Attribute():
            return defaults.get(last_name(node), math.nan)
        case ast.Call(func=function, args=args, keywords=keywords):
            named = [each.value for each in keywords if each.arg == "default"]
            values = [number(each, defaults, depth - 1) for each in (named or args)]
            if named or last_name(function) in ("Field", "field", "Timeout"):
                return values[0] if values else math.nan
            known = [each for each in values if each is not None and not math.isnan(each)]
            return known[-1] if known else math.nan
        case ast.BoolOp(values=values):
            return number(values[-1], defaults, depth - 1)
        case _:
            return math.nan


def _number_in(value: float | str) -> float:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _setting(name: str, value: ast.expr, module: Module, defaults: Defaults) -> Setting:
    """The scope of a keyword argument or an entry is the call around it."""
    call = next((each for each in module.ancestors(value) if isinstance(each, ast.Call)), None)
    scope = module.scope(value) + (f" {last_name(call)}" if call else "")
    return Setting(name=name, scope=scope, value=number(value, defaults), node=value)


def _in_text(text: ast.expr, module: Module, defaults: Defaults) -> Iterator[Setting]:
    """Such as ``-c statement_timeout=500``. A value put into the string is looked up like any other."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    if isinstance(module.parents.get(text), ast.JoinedStr | ast.Expr):
        return  # a part of one, or a docstring
    written = ""
    for part in parts:
        if isinstance(part, ast.FormattedValue):
            value = number(part.value, defaults)
            written += "?" if value is None or not math.isfinite(value) else repr(value)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            written += part.value
    for match in _IN_TEXT.finditer(written):
        known = math.nan if match["value"] == "?" else _number_in(match["value"])
        yield Setting(name=match["name"], scope=module.scope(text) + " text", value=known, node=text)
