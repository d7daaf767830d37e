"""Queries that lost their column list get one again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import libcst as cst

from harness.fixing.remedies.modules import Names, code, comes_from, expression, names_of, origin, rewrite
from harness.model.fix import WriteFile
from harness.model.source import SourceTree

# What may stand between two words of one text in Python code: white space, also escaped, and what lies between literals
_GAP = r"""(?:\s|\\[nt]|\\\n|["'+]|\b[fFrR](?=["'])|\#[^\n]*\n)+"""
# FROM at the very end is left alone: no column list mends a statement without a table
_EMPTY_LIST = re.compile(rf"\b(SELECT(?:\s+(?:ALL|DISTINCT))?)({_GAP}FROM\b)(?!\s*[\"']+\s*$)", re.IGNORECASE)
_DANGLING_COMMA = re.compile(rf"(\bSELECT\b[^;]*?),({_GAP}FROM\b)", re.IGNORECASE)
_RUNS_SQL = frozenset({"text", "execute", "exec_driver_sql", "executemany", "read_sql"})


def select_columns(tree: SourceTree, parameters: Mapping[str, str | int | float | bool]) -> list[WriteFile]:
    """No parameters.

    Pattern: SQLAlchemy's ``select()`` without columns (or with empty text for them) in a chain with
    ``.select_from(X)``; and SQL text without a column list, or with a comma before FROM, that is handed to
    ``text``, ``execute`` and the like, in place or by a name that the module assigns.
    Change: ``select(X)``; ``SELECT * FROM``; the comma goes.
    """

    def change(module: cst.Module) -> cst.Module:
        names = names_of(module)
        handed = _HandedOver()
        module.visit(handed)
        return module.visit(_Columns(names, handed.names))

    return rewrite(tree, "select", change)


class _HandedOver(cst.CSTVisitor):
    """The names under which the module hands SQL text to the database."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Call(self, node: cst.Call) -> None:
        if _last_name(node.func) in _RUNS_SQL and node.args:
            self.names.add(_last_name(node.args[0].value))


class _Columns(cst.CSTTransformer):
    def __init__(self, names: Names, handed: set[str]) -> None:
        self._names, self._handed = names, handed

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        if _last_name(updated_node.func) in _RUNS_SQL and updated_node.args:
            first = updated_node.args[0]
            return updated_node.with_deep_changes(first, value=_mended(first.value))
        if _last_name(updated_node.func) == "select_from" and len(updated_node.args) == 1:
            return self._with_columns(updated_node)
        return updated_node

    def leave_Assign(self, original_node: cst.Assign, updated_node: cst.Assign) -> cst.Assign:
        if any(_last_name(each.target) in self._handed for each in updated_node.targets):
            return updated_node.with_changes(value=_mended(updated_node.value))
        return updated_node

    def leave_AnnAssign(self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign) -> cst.AnnAssign:
        if updated_node.value is not None and _last_name(updated_node.target) in self._handed:
            return updated_node.with_changes(value=_mended(updated_node.value))
        return updated_node

    def _with_columns(self, select_from: cst.Call) -> cst.Call:
        """``select()...select_from(X)`` as ``select(X)...``; a join in X stays, and its first table is selected."""
        assert isinstance(select_from.func, cst.Attribute)
        chain, start = select_from.func.value, _start(select_from.func.value)
        source = select_from.args[0].value
        table = _first_table(source)
        if start is None or table is None or not self._is_empty_select(start):
            return select_from
        filled = start.with_changes(args=[cst.Arg(table)])
        if not isinstance(source, cst.Name | cst.Attribute):
            return cst.ensure_type(select_from.deep_replace(start, filled), cst.Call)
        whole = filled if chain is start else chain.deep_replace(start, filled)
        return cst.ensure_type(whole, cst.Call)

    def _is_empty_select(self, call: cst.Call) -> bool:
        known = comes_from(call.func, self._names, "sqlalchemy", "select") or code(call.func) == "db.select"
        return known and all(self._is_empty_text(arg.value) for arg in call.args)

    def _is_empty_text(self, node: cst.BaseExpression) -> bool:
        if not isinstance(node, cst.Call) or len(node.args) != 1:
            return False
        text = node.args[0].value
        blank = isinstance(text, cst.SimpleString) and not str(text.evaluated_value).strip()
        return blank and origin(node.func, self._names).rpartition(".")[2] in ("text", "literal_column")


def _last_name(node: Any) -> str:  # noqa: ANN401 any node: what is no name gives an empty text
    node = node.attr if isinstance(node, cst.Attribute) else node
    return node.value if isinstance(node, cst.Name) else ""


def _start(node: cst.BaseExpression) -> cst.Call | None:
    """The innermost call of a chain of method calls."""
    while isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and isinstance(node.func.value, cst.Call):
        node = node.func.value
    return node if isinstance(node, cst.Call) else None


def _first_table(source: cst.BaseExpression) -> cst.BaseExpression | None:
    """``X`` of ``X``, ``X.join(...)`` or ``join(X, ...)``; None where it cannot be told."""
    if isinstance(source, cst.Name | cst.Attribute):
        return source
    if not isinstance(source, cst.Call) or _last_name(source.func) not in ("join", "outerjoin"):
        return None
    if isinstance(source.func, cst.Attribute):
        owner = source.func.value
        return owner if isinstance(owner, cst.Name | cst.Attribute) else _first_table(owner)
    return _first_table(source.args[0].value) if source.args else None


def _mended(node: cst.BaseExpression) -> cst.BaseExpression:
    """The SQL in a literal, be it plain, formatted, or joined from several."""
    if isinstance(node, cst.SimpleString | cst.FormattedString | cst.ConcatenatedString | cst.BinaryOperation):
        source = code(node)
        mended = _DANGLING_COMMA.sub(r"\1\2", _EMPTY_LIST.sub(r"\1 *\2", source))
        return node if mended == source else expression(mended)
    return node
