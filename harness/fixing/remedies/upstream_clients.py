"""Which expressions of a tree are calls through httpx."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import libcst as cst

from harness.fixing.remedies.modules import Names, comes_from, origin

EXCHANGES = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "send"})
TAKES_TIMEOUT = EXCHANGES - {"send"} | {"stream", "build_request"}
_CLIENTS = ("Client", "AsyncClient")
_LOOKS_LIKE = re.compile(r"_?(http_?)?client|_?http")


@dataclass(frozen=True, slots=True)
class Clients:
    """The names that hold an httpx client."""

    shared: set[str] = field(default_factory=set)  # attributes, and what a module offers, in the whole tree
    local: set[str] = field(default_factory=set)  # in one module
    others: set[str] = field(default_factory=set)  # what holds something else in that module

    def in_module(self, module: cst.Module, names: Names) -> Clients:
        """The same ``shared`` with this module's added; its own ``local`` and ``others``."""
        found = Clients(shared=self.shared)
        module.visit(_Assignments(found, names))
        return found


def is_client(node: cst.BaseExpression, clients: Clients, names: Names) -> bool:
    """Whether ``node`` is an httpx client, as far as names, annotations and assignments tell."""
    if isinstance(node, cst.Call):  # a client made in place, or a function that returns one
        return is_construction(node, names) or is_client(node.func, clients, names)
    if isinstance(node, cst.Attribute):
        return node.attr.value in clients.shared
    if not isinstance(node, cst.Name):
        return False
    if node.value in clients.local or names.get(node.value, "").rpartition(".")[2] in clients.shared:
        return True
    unknown = node.value not in clients.others and node.value not in names
    return unknown and _LOOKS_LIKE.fullmatch(node.value) is not None and "httpx" in names.values()


def is_request(call: cst.Call, clients: Clients, names: Names, verbs: frozenset[str] = EXCHANGES) -> bool:
    """``httpx.post(...)`` or ``client.post(...)``."""
    if origin(call.func, names) in {f"httpx.{verb}" for verb in verbs}:
        return True
    if not isinstance(call.func, cst.Attribute) or call.func.attr.value not in verbs:
        return False
    return is_client(call.func.value, clients, names)


def is_construction(call: cst.Call, names: Names) -> bool:
    return comes_from(call.func, names, "httpx", *_CLIENTS)


class _Assignments(cst.CSTVisitor):
    """Fills ``clients`` from assignments, ``with`` statements, annotations and return annotations."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients, self._names = clients, names
        self._functions = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        if node.returns is not None:
            self._note(node.name, self._annotates_client(node.returns.annotation))
        self._functions += 1

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._functions -= 1

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._note(target.target, self._makes_client(node.value))

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self._note(node.target, self._annotates_client(node.annotation.annotation))

    def visit_Param(self, node: cst.Param) -> None:
        if node.annotation is not None:
            self._note(node.name, self._annotates_client(node.annotation.annotation))

    def visit_WithItem(self, node: cst.WithItem) -> None:
        if node.asname is not None:
            self._note(node.asname.name, self._makes_client(node.item))

    def _note(self, target: cst.CSTNode, client: bool) -> None:
        if isinstance(target, cst.Attribute):
            self._clients.shared.update({target.attr.value} if client else ())
        elif isinstance(target, cst.Name):
            (self._clients.local if client else self._clients.others).add(target.value)
            if client and not self._functions:  # others may import it, or reach it through the class
                self._clients.shared.add(target.value)

    def _makes_client(self, value: cst.BaseExpression) -> bool:
        if isinstance(value, cst.BooleanOperation):  # given or httpx.Client()
            return self._makes_client(value.left) or self._makes_client(value.right)
        if isinstance(value, cst.Name):
            return value.value in self._clients.local
        return isinstance(value, cst.Call) and is_construction(value, self._names)

    def _annotates_client(self, annotation: cst.BaseExpression) -> bool:
        if isinstance(annotation, cst.BinaryOperation):  # httpx.Client | None
            return self._annotates_client(annotation.left) or self._annotates_client(annotation.right)
        if isinstance(annotation, cst.Subscript):  # Iterator[httpx.Client]
            return any(
                isinstance(each.slice, cst.Index) and self._annotates_client(each.slice.value)
                for each in annotation.slice
            )
        return comes_from(annotation, self._names, "httpx", *_CLIENTS)
