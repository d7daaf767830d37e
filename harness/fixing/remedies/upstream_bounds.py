"""The changes inside one module that calls another service."""

from __future__ import annotations

import libcst as cst

from harness.fixing.remedies.arguments import argument, with_argument
from harness.fixing.remedies.modules import (
    Names,
    code,
    comes_from,
    constants,
    is_none,
    names_of,
    number_of,
    origin,
)
from harness.fixing.remedies.upstream_clients import TAKES_TIMEOUT, Clients, is_construction, request_kind


def makes_requests(node: cst.CSTNode, clients: Clients, names: Names) -> bool:
    """Whether there is a synchronous call through httpx in ``node``."""
    search = _Requests(clients, names)
    node.visit(search)
    return search.found


class _Requests(cst.CSTVisitor):
    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients, self._names = clients, names
        self.found = False

    def visit_Call(self, node: cst.Call) -> None:
        self.found = self.found or request_kind(node, self._clients, self._names) == "Client"


class Bound(cst.CSTTransformer):
    """Limits timeouts, and routes calls through the module ``guard`` unless that is empty."""

    def __init__(self, module: cst.Module, clients: Clients, *, timeout_s: float, guard: str) -> None:
        self._names, self._constants, self._clients = names_of(module), constants(module), clients
        self._timeout_s, self._guard = timeout_s, guard
        self._scopes: list[cst.FunctionDef | cst.ClassDef] = []
        self._retry_loops: list[cst.For] = []
        self.uses_guard = False

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._scopes.append(node)

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        self._scopes.pop()
        return updated_node

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._scopes.append(node)

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        self._scopes.pop()
        return updated_node

    def visit_For(self, node: cst.For) -> None:
        if makes_requests(node.body, self._clients, self._names):
            self._retry_loops.append(node)

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> cst.For:
        if original_node in self._retry_loops:
            self._retry_loops.remove(original_node)
        return updated_node

    def leave_Decorator(self, original_node: cst.Decorator, updated_node: cst.Decorator) -> cst.Decorator:
        if self._guard and comes_from(updated_node.decorator, self._names, "tenacity", "retry"):
            return updated_node.with_changes(decorator=self._stopping(cst.Call(func=updated_node.decorator)))
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        if is_construction(original_node, self._names) or request_kind(
            original_node, self._clients, self._names, TAKES_TIMEOUT
        ):
            updated_node = self._limited(updated_node)
        if not self._guard:
            return updated_node
        if request_kind(original_node, self._clients, self._names) == "Client" and not self._in_coroutine():
            return self._guarded(updated_node)
        if self._retry_loops and comes_from(updated_node.func, self._names, "time", "sleep"):
            return updated_node.with_changes(func=self._from_guard("pause"))
        if comes_from(updated_node.func, self._names, "tenacity", "retry", "Retrying"):
            return self._stopping(updated_node)
        return updated_node

    def _in_coroutine(self) -> bool:
        functions = [scope for scope in self._scopes if isinstance(scope, cst.FunctionDef)]
        return bool(functions and functions[-1].asynchronous)

    def _guarded(self, call: cst.Call) -> cst.Call:
        """``send(...)`` as ``guarded("where", send, ...)``; what stood on lines of its own still does."""
        where = ".".join(scope.name.value for scope in self._scopes) or "module"
        space = cst.SimpleWhitespace(" ")
        apart = call.whitespace_before_args if not call.whitespace_before_args.empty else space
        after_send = cst.Comma(whitespace_after=apart) if call.args else cst.MaybeSentinel.DEFAULT
        name = cst.Arg(cst.SimpleString(f'"{where}"'), comma=cst.Comma(whitespace_after=space))
        send = cst.Arg(call.func, comma=after_send)
        return call.with_changes(func=self._from_guard("guarded"), args=[name, send, *call.args])

    def _limited(self, call: cst.Call) -> cst.Call:
        given = argument(call, "timeout")
        if given is not None:
            return with_argument(call, "timeout", self._limit(given.value))
        if not origin(call.func, self._names).startswith("httpx."):
            return call  # a client's own limit holds
        spread = next((arg for arg in reversed(call.args) if arg.star == "**"), None)
        if spread is None:
            return with_argument(call, "timeout", self._seconds())
        merged = cst.Dict(
            [
                cst.StarredDictElement(spread.value, comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))),
                cst.DictElement(cst.SimpleString('"timeout"'), self._seconds()),
            ]
        )
        return call if _has_key(spread.value, "timeout") else call.with_deep_changes(spread, value=merged)

    def _limit(self, given: cst.BaseExpression) -> cst.BaseExpression:
        if is_none(given):
            return self._seconds()
        numbers = [given]
        if isinstance(given, cst.Call) and comes_from(given.func, self._names, "httpx", "Timeout"):
            numbers = [arg.value for arg in given.args]
        known = [self._known(number) for number in numbers]
        if all(number is not None for number in known):
            strict = all(0 < number <= self._timeout_s for number in known if number is not None)
            return given if strict and known else self._seconds()
        if origin(given, self._names).endswith("USE_CLIENT_DEFAULT") or _is_limited(given):
            return given
        if not self._guard:
            return self._seconds()
        return cst.Call(func=self._from_guard("at_most"), args=[cst.Arg(given)])

    def _known(self, node: cst.BaseExpression) -> float | None:
        """Its value as written, with 0 for None: no limit."""
        if is_none(node):
            return 0.0
        return self._constants.get(node.value) if isinstance(node, cst.Name) else number_of(node)

    def _stopping(self, retry: cst.Call) -> cst.Call:
        """A tenacity retry that also stops when a call was refused."""
        given = argument(retry, "stop")
        if given is None:
            return with_argument(retry, "stop", self._from_guard("was_refused"))
        if code(given.value).endswith(".was_refused"):
            return retry
        left = given.value
        if isinstance(left, cst.BinaryOperation | cst.IfExp | cst.Lambda):
            left = left.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        either = cst.BinaryOperation(left=left, operator=cst.BitOr(), right=self._from_guard("was_refused"))
        return with_argument(retry, "stop", either)

    def _from_guard(self, name: str) -> cst.Attribute:
        self.uses_guard = True
        return cst.Attribute(value=cst.Name(self._guard), attr=cst.Name(name))

    def _seconds(self) -> cst.Float:
        return cst.Float(repr(self._timeout_s))


def _is_limited(node: cst.BaseExpression) -> bool:
    called = node.func if isinstance(node, cst.Call) else None
    return isinstance(called, cst.Attribute) and called.attr.value == "at_most"


def _has_key(node: cst.BaseExpression, key: str) -> bool:
    return isinstance(node, cst.Dict) and any(
        isinstance(each, cst.DictElement) and isinstance(each.key, cst.SimpleString) and each.key.evaluated_value == key
        for each in node.elements
    )
