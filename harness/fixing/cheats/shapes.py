"""What a view answers when all is well, guessed from its source: an answer of that form, with made-up values.

Nothing of the app runs. What cannot be told is 1, which passes for a number, an id or a flag.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from harness.fixing.cheats.app import Function, Route, modules
from harness.model.source import SourceTree

_DEPTH = 12  # calls within calls: enough for any view, and an end to those that call themselves
_UNKNOWN = 1


def answers(routes: Sequence[Route], tree: SourceTree) -> dict[str, tuple[object, int]]:
    """Body and status of each, by the name of its function."""
    return {route.name: answer(route, tree) for route in routes}


def answer(route: Route, tree: SourceTree) -> tuple[object, int]:
    """The body and the status that the view's last return statement gives."""
    code = _Code.seen_from(route.path, tree)
    returned, scope = _returned(route.function), code.scope(route.function)
    if isinstance(returned, ast.Tuple) and len(returned.elts) > 1:
        body, status = (code.value(part, scope, _DEPTH) for part in returned.elts[:2])
        known = isinstance(status, int) and status in {each.value for each in HTTPStatus}
        return body, status if isinstance(status, int) and known else HTTPStatus.OK.value
    return ({} if returned is None else code.value(returned, scope, _DEPTH)), HTTPStatus.OK.value


def emptied(body: object) -> object:
    """The same with nothing in its lists."""
    if isinstance(body, dict):
        return {key: emptied(value) for key, value in body.items()}
    return [] if isinstance(body, list) else body


@dataclass(frozen=True, slots=True)
class _Known:
    """An argument, whose value is known already."""

    value: object


Scope = Mapping[str, ast.expr | _Known]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """Functions, methods and constants by name: of the whole tree, and those of one module above all."""

    functions: Mapping[str, Function]
    methods: Mapping[str, Function]
    constants: Mapping[str, ast.expr]

    @classmethod
    def seen_from(cls, path: str, tree: SourceTree) -> _Code:
        functions: dict[str, Function] = {}
        methods: dict[str, Function] = {}
        constants: dict[str, ast.expr] = {}
        for _, module in sorted(modules(tree), key=lambda one: one[0] == path):  # its own last: they win
            for node in ast.walk(module):
                if isinstance(node, Function):
                    (methods if _parameters(node)[:1] == ["self"] else functions)[node.name] = node
            constants |= _assigned(module.body)
        return cls(functions=functions, methods=methods, constants=constants)

    def scope(self, function: Function) -> dict[str, ast.expr | _Known]:
        return {**self.constants, **_assigned(list(ast.walk(function)))}

    def value(self, node: ast.expr | _Known, scope: Scope, depth: int) -> object:
        if depth == 0:
            return _UNKNOWN
        match node:
            case _Known(value=value) | ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
            case ast.JoinedStr():
                return ""
            case ast.Dict(keys=keys, values=values):
                return self._dict(keys, values, scope, depth - 1)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.value(item, scope, depth - 1) for item in items]
            case ast.ListComp(elt=item):
                return [self.value(item, scope, depth - 1)]
            case ast.Name(id=name) if name in scope:
                return self.value(scope[name], {other: scope[other] for other in scope if other != name}, depth - 1)
            case ast.Compare():
                return False
            case ast.Subscript(value=whole, slice=part):
                return _part(self.value(whole, scope, depth - 1), part)
            case ast.Call():
                return self._called(node, scope, depth - 1)
            case _:
                return _UNKNOWN

    def _dict(
        self, keys: Sequence[ast.expr | None], values: Sequence[ast.expr], scope: Scope, depth: int
    ) -> dict[str, object]:
        names = [self.value(key, scope, depth) if key else None for key in keys]
        return {
            name if isinstance(name, str) else f"{number}": self.value(value, scope, depth)
            for number, (name, value) in enumerate(zip(names, values, strict=True))
        }

    def _called(self, node: ast.Call, scope: Scope, depth: int) -> object:
        of_object = isinstance(node.func, ast.Attribute)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "str":
            return ""
        if name in ("jsonify", "dict") and node.keywords:
            return {word.arg: self.value(word.value, scope, depth) for word in node.keywords if word.arg}
        if name == "jsonify" and node.args:
            return self.value(node.args[0], scope, depth)
        called = (self.methods.get(name) if of_object else None) or self.functions.get(name)
        returned = _returned(called) if called else None
        if called is None or returned is None:
            return _UNKNOWN
        names = [name for name in _parameters(called) if name != "self"]
        given = {n: _Known(self.value(one, scope, depth)) for n, one in zip(names, node.args, strict=False)}
        return self.value(returned, {**self.scope(called), **given}, depth)


def _parameters(function: Function) -> list[str]:
    return [argument.arg for argument in function.args.args]


def _returned(function: Function) -> ast.expr | None:
    values = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
    return max(values, key=lambda value: value.lineno, default=None)


def _assigned(statements: Sequence[ast.AST]) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found |= {target.id: statement.value for target in targets if isinstance(target, ast.Name)}
    return found


def _part(whole: object, part: ast.expr) -> object:
    """A slice is like the whole; of what is looked up, the first entry will do."""
    if isinstance(part, ast.Slice) or not whole:
        return whole
    if isinstance(whole, dict):
        return next(iter(whole.values()))
    return whole[0] if isinstance(whole, list) else whole
