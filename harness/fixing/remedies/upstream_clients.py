"""Which expressions of a tree are calls through httpx."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import libcst as cst

from harness.fixing.remedies.modules import Names, origin

EXCHANGES = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "send"})
TAKES_TIMEOUT = EXCHANGES - {"send"} | {"stream", "build_request"}

Kind = Literal["", "Client", "AsyncClient"]  # empty: it is no client of httpx

_LOOKS_LIKE = re.compile(r"_?(http_?)?client|_?http")


@dataclass(frozen=True, slots=True)
class Clients:
    """The names that hold an httpx client, and of which kind."""

    shared: dict[str, Kind] = field(default_factory=dict)  # attributes, and what a module offers, in the whole tree
    local: dict[str, Kind] = field(default_factory=dict)  # in one module
    others: set[str] = field(default_factory=set)  # what holds something else in that module

    def in_module(self, module: cst.Module, names: Names) -> Clients:
        """The same ``shared`` with this module's added; its own ``local`` and ``others``."""
        found = Clients(shared=self.shared)
        module.visit(_Assignments(found, names))
        return found


def client_kind(node: cst.BaseExpression, clients: Clients, names: Names) -> Kind:
    """As far as names, annotations and assignments tell."""
    if isinstance(node, cst.Call):  # a client made in place, or a function that returns one
        return _class_kind(node.func, names) or client_kind(node.func, clients, names)
    if isinstance(node, cst.Attribute):
        return clients.shared.get(node.attr.value, "")
    if not isinstance(node, cst.Name):
        return ""
    imported = names.get(node.value, "").rpartition(".")[2]
    known = clients.local.get(node.value) or clients.shared.get(imported)
    if known or node.value in clients.others or node.value in names:
        return known or ""
    return "Client" if _LOOKS_LIKE.fullmatch(node.value) and "httpx" in names.values() else ""


def request_kind(call: cst.Call, clients: Clients, names: Names, verbs: frozenset[str] = EXCHANGES) -> Kind:
    """The kind of client that ``httpx.post(...)`` or ``client.post(...)`` goes through; empty for any other call."""
    if origin(call.func, names) in {f"httpx.{verb}" for verb in verbs}:
        return "Client"
    if not isinstance(call.func, cst.Attribute) or call.func.attr.value not in verbs:
        return ""
    return client_kind(call.func.value, clients, names)


def is_construction(call: cst.Call, names: Names) -> bool:
    return bool(_class_kind(call.func, names))


def _class_kind(node: cst.BaseExpression, names: Names) -> Kind:
    match origin(node, names):
        case "httpx.Client":
            return "Client"
        case "httpx.AsyncClient":
            return "AsyncClient"
    return ""


class _Assignments(cst.CSTVisitor):
    """Fills ``clients`` from assignments, ``with`` statements, annotations and return annotations."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients, self._names = clients, names
        self._functions = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        if node.returns is not None:
            self._note(node.name, self._annotated(node.returns.annotation))
        self._functions += 1

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._functions -= 1

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._note(target.target, self._made(node.value))

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self._note(node.target, self._annotated(node.annotation.annotation))

    def visit_Param(self, node: cst.Param) -> None:
        if node.annotation is not None:
            self._note(node.name, self._annotated(node.annotation.annotation))

    def visit_WithItem(self, node: cst.WithItem) -> None:
        if node.asname is not None:
            self._note(node.asname.name, self._made(node.item))

    def _note(self, target: cst.CSTNode, kind: Kind) -> None:
        if isinstance(target, cst.Attribute) and kind:
            self._clients.shared[target.attr.value] = kind
        elif isinstance(target, cst.Name) and kind:
            self._clients.local[target.value] = kind
            if not self._functions:  # others may import it, or reach it through the class
                self._clients.shared[target.value] = kind
        elif isinstance(target, cst.Name):
            self._clients.others.add(target.value)

    def _made(self, value: cst.BaseExpression) -> Kind:
        if isinstance(value, cst.BooleanOperation):  # given or httpx.Client()
            return self._made(value.left) or self._made(value.right)
        if isinstance(value, cst.Name):
            return self._clients.local.get(value.value, "")
        return _class_kind(value.func, self._names) if isinstance(value, cst.Call) else ""

    def _annotated(self, annotation: cst.BaseExpression) -> Kind:
        if isinstance(annotation, cst.BinaryOperation):  # httpx.Client | None
            return self._annotated(annotation.left) or self._annotated(annotation.right)
        if isinstance(annotation, cst.Subscript):  # Iterator[httpx.Client]
            inner = [each.slice.value for each in annotation.slice if isinstance(each.slice, cst.Index)]
            return next((kind for each in inner if (kind := self._annotated(each))), "")
        return _class_kind(annotation, self._names)
