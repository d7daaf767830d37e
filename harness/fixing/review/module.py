"""A Python file of the app, parsed and indexed. Nothing of it runs."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

MAX_DEPTH = 100  # of the syntax tree; the standard library stays below 35, and Python itself gives up near 1000
MAX_INTEGER_BITS = 10_000  # above it Python refuses to print the number

_BUILTIN = frozenset({*dir(builtins), "__builtins__"})

Function = ast.FunctionDef | ast.AsyncFunctionDef
_SHARED = frozenset(  # Python uses one node of each for all places
    kind
    for family in (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
    for kind in family.__subclasses__()
)

Node = TypeVar("Node", bound=ast.AST)


class Unreadable(Exception):
    """The text can't be parsed, or nests too deeply to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    path: str
    names: tuple[str, ...]  # how it can be imported, the longest first: src/shop/db.py is src.shop.db, shop.db and db
    tree: ast.Module
    parents: dict[ast.AST, ast.AST]
    nodes: dict[type[ast.AST], list[ast.AST]]
    origins: dict[str, str]  # a name that an import binds -> what it stands for, such as sa -> sqlalchemy
    imported: set[str]  # the names that a plain import binds: modules, for certain
    values: dict[str, list[ast.expr]]  # a plain name -> what is assigned to it, anywhere in the file
    fixed: set[str]  # plain names that are never given anything but constants, lists and dictionaries
    functions: dict[str, Function]  # by plain name; of several with one name the last
    resolved: dict[ast.AST, str]  # origins that have been asked for

    def of(self, *kinds: type[Node]) -> Iterator[Node]:
        """All nodes of these very types, a type after the other, the outer ones first."""
        for kind in kinds:
            yield from self.nodes.get(kind, ())  # type: ignore[misc] # the index holds each node under its type

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """From the parent up to the module."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> Function | None:
        """The innermost function that the node is in."""
        return next((each for each in self.ancestors(node) if isinstance(each, Function)), None)

    def scope(self, node: ast.AST) -> str:
        """Names of the classes and functions around the node, joined by dots; of a function, with its own name."""
        around = [node, *self.ancestors(node)]
        return ".".join(each.name for each in reversed(around) if isinstance(each, Function | ast.ClassDef))

    def conditions(self, node: ast.AST) -> str:
        """What decides at run time whether the node is reached, as source: the tests and loops around it."""
        around = []
        below = node
        for each in self.ancestors(node):
            if isinstance(each, ast.If | ast.While):
                around.append(("" if below in each.body else "not ") + source(each.test))
            elif isinstance(each, ast.For):
                around.append(f"for {source(each.iter)}")
            below = each
        return " and ".join(reversed(around))

    def origin(self, node: ast.AST) -> str:
        """The dotted name of a name or attribute with imports resolved, such as ``sqlalchemy.text`` or ``open``.

        A name that the file made itself begins with a dot, ``.session.execute``; anything else is empty.
        """
        if node not in self.resolved:
            self.resolved[node] = self._resolved(node)
        return self.resolved[node]

    def _resolved(self, node: ast.AST) -> str:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Call) and parts:  # logging.getLogger().error: what the call is of still matters
            parts.append(f"{self.origin(node.func)}()")
        elif isinstance(node, ast.Name):
            parts.append(self.origins.get(node.id, node.id if node.id in _BUILTIN else f".{node.id}"))
        else:
            return ""
        return ".".join(reversed(parts))

    def references(self) -> Iterator[tuple[ast.expr, str]]:
        """Each name or chain of attributes that is used, as a whole, with its origin."""
        for node in self.of(ast.Name, ast.Attribute):
            if isinstance(self.parents.get(node), ast.Attribute):
                continue
            origin = self.origin(node)
            if origin:
                yield node, origin

    def definitions(self) -> Iterator[Function]:
        yield from self.of(ast.FunctionDef)
        yield from self.of(ast.AsyncFunctionDef)

    def assignments(self) -> Iterator[tuple[ast.stmt | ast.expr, ast.expr, ast.expr]]:
        """Each assignment with target and value, ``+=`` and ``:=`` too; one with two targets comes twice."""
        for node in self.of(ast.Assign):
            yield from ((node, target, node.value) for target in node.targets)
        for annotated in self.of(ast.AnnAssign):
            if annotated.value is not None:
                yield annotated, annotated.target, annotated.value
        for more in self.of(ast.AugAssign):
            yield more, more.target, more.value
        for named in self.of(ast.NamedExpr):
            yield named, named.target, named.value

    def texts(self) -> Iterator[tuple[ast.Constant, str]]:
        """The string constants with their values, without docstrings."""
        for node in self.of(ast.Constant):
            if isinstance(node.value, str) and not isinstance(self.parents[node], ast.Expr):
                yield node, node.value


def parse(path: str, text: str) -> Module:
    """Raises Unreadable."""
    try:
        tree = ast.parse(text.encode())  # bytes, as Python reads them from disk: with a byte order mark, say
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    names = import_names(path)
    package = names[0] if path.endswith("/__init__.py") else names[0].rpartition(".")[0]
    parents, nodes = _index(tree)
    module = Module(
        path=path,
        names=names,
        tree=tree,
        parents=parents,
        nodes=nodes,
        origins={},
        imported=set(),
        values={},
        fixed=set(),
        functions={},
        resolved={},
    )
    for statement in module.of(ast.Import):
        module.origins.update((each.asname or each.name.split(".")[0], _bound(each)) for each in statement.names)
    module.imported.update(module.origins)
    for imported in module.of(ast.ImportFrom):
        start = imported_from(imported, package)
        named = [each for each in imported.names if each.name != "*"]
        module.origins.update((each.asname or each.name, f"{start}.{each.name}") for each in named)
    for _, target, value in module.assignments():
        if isinstance(target, ast.Name):
            module.values.setdefault(target.id, []).append(value)
    plain = (ast.Constant, ast.Dict, ast.List)
    module.fixed.update(name for name, given in module.values.items() if all(isinstance(each, plain) for each in given))
    module.functions.update((each.name, each) for each in module.definitions())
    return module


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """The dotted name before the ``import`` of a from-import, relative ones resolved."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    kept = parts[: len(parts) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def source(node: ast.AST, limit: int = 2000) -> str:
    """The node as normalised source: layout and comments don't count."""
    return ast.unparse(node)[:limit]


def last_name(node: ast.AST) -> str:
    """``c`` of ``a.b.c`` and of ``c``, through calls; else empty."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def _bound(alias: ast.alias) -> str:
    return alias.name if alias.asname else alias.name.split(".")[0]


def import_names(path: str) -> tuple[str, ...]:
    """How the file can be imported, depending on where Python starts to look: the longest name first."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return tuple(".".join(parts[start:]) for start in range(len(parts)))


def _index(tree: ast.Module) -> tuple[dict[ast.AST, ast.AST], dict[type[ast.AST], list[ast.AST]]]:
    """Parents, and the nodes by type, without recursion."""
    parents: dict[ast.AST, ast.AST] = {}
    nodes: dict[type[ast.AST], list[ast.AST]] = {}
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        below: list[ast.AST] = []
        for node in level:
            for name in node._fields:  # ast.iter_child_nodes takes twice as long
                value = getattr(node, name, None)
                for child in value if type(value) is list else (value,):
                    if not isinstance(child, ast.AST):
                        continue
                    kind = type(child)
                    if kind in _SHARED:
                        continue
                    if kind is ast.Constant and _is_huge(child):
                        raise Unreadable(f"line {getattr(child, 'lineno', 0)} holds a number too large to print")
                    parents[child] = node
                    nodes.setdefault(kind, []).append(child)
                    below.append(child)
        if not below:
            return parents, nodes
        level = below
    raise Unreadable(f"it nests deeper than {MAX_DEPTH} levels")


def _is_huge(node: ast.AST) -> bool:
    value = getattr(node, "value", None)  # of a complex number, Python's parser makes floats
    return isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS
