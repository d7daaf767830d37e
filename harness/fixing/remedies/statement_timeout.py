"""Every PostgreSQL engine gets a limit on how long one statement may run."""

from __future__ import annotations

import re
from collections.abc import Mapping

import libcst as cst

from harness.fixing.remedies.arguments import argument, with_argument, with_entry
from harness.fixing.remedies.modules import (
    Names,
    code,
    comes_from,
    constants,
    expression,
    is_none,
    names_of,
    rewrite,
)
from harness.model.fix import WriteFile
from harness.model.source import SourceTree

_FACTORIES = ("create_engine", "engine_from_config")
_FLASK_OPTIONS = "SQLALCHEMY_ENGINE_OPTIONS"
_SETTING = re.compile(
    r"statement_timeout\s*=\s*(?:\{(?P<value>[^{}]*)\}|(?P<number>\d+)(?P<unit>ms|s|min|h)?\b)", re.IGNORECASE
)
_UNIT_MS = {None: 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}


def statement_timeout(tree: SourceTree, parameters: Mapping[str, str | int | float | bool]) -> list[WriteFile]:
    """``ms``: the limit in milliseconds, from 1.

    Pattern: a call of SQLAlchemy's ``create_engine`` or ``engine_from_config``, and a dictionary given to
    Flask-SQLAlchemy as ``SQLALCHEMY_ENGINE_OPTIONS``.
    Change: ``connect_args={"options": "-c statement_timeout=MS"}``, merged into what is there. A limit that
    is stricter already stays; one that is 0 (none), longer, or not known before run time is replaced.
    Of several ``-c`` settings of one name PostgreSQL takes the last, so options that cannot be read here
    are appended to. Engines for another database, and modules that run migrations (they import Alembic
    and may take long), are left alone.
    """
    limit_ms = int(parameters["ms"])

    def change(module: cst.Module) -> cst.Module:
        names = names_of(module)
        if limit_ms < 1 or any(source.split(".")[0] == "alembic" for source in names.values()):
            return module
        return module.visit(_Limit(names, constants(module), limit_ms))

    return rewrite(tree, "sqlalchemy", change)


class _Limit(cst.CSTTransformer):
    def __init__(self, names: Names, known: Mapping[str, float], limit_ms: int) -> None:
        self._names, self._constants, self._limit_ms = names, known, limit_ms
        self._option = f"-c statement_timeout={limit_ms}"

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if not comes_from(original_node.func, self._names, "sqlalchemy", *_FACTORIES) or _other_database(original_node):
            return updated_node
        given = argument(updated_node, "connect_args")
        spread = next((arg for arg in updated_node.args if arg.star == "**"), None)
        if given is None and spread is not None:  # it may hold connect_args, which cannot be given twice
            return updated_node.with_deep_changes(spread, value=self._engine_options(spread.value))
        return with_argument(updated_node, "connect_args", self._connect_args(given.value if given else None))

    def leave_Assign(self, original_node: cst.Assign, updated_node: cst.Assign) -> cst.Assign:
        if _FLASK_OPTIONS in code(original_node.targets[0].target) and isinstance(updated_node.value, cst.Dict):
            return updated_node.with_changes(value=self._engine_options(updated_node.value))
        return updated_node

    def _engine_options(self, options: cst.BaseExpression) -> cst.BaseExpression:
        """A dictionary of an engine's keyword arguments."""
        if isinstance(options, cst.Dict):
            entry = _entry(options, "connect_args")
            if entry is not None:
                return options.with_deep_changes(entry, value=self._connect_args(entry.value))
            if not _spread(options):
                return with_entry(options, "connect_args", self._connect_args(None))
        first, again = _usable_twice(options, "engine_options")
        connect_args = self._connect_args(expression(f'{again}.get("connect_args")'))
        return expression(f'{{**{first}, "connect_args": {code(connect_args)}}}')

    def _connect_args(self, given: cst.BaseExpression | None) -> cst.BaseExpression:
        if given is None or is_none(given):
            return expression(f'{{"options": "{self._option}"}}')
        if isinstance(given, cst.Dict):
            entry = _entry(given, "options")
            if entry is not None:
                return given.with_deep_changes(entry, value=self._options(entry.value))
            if not _spread(given):
                return with_entry(given, "options", cst.SimpleString(f'"{self._option}"'))
        first, again = _usable_twice(given, "connect_args")
        options = f'(({again} or {{}}).get("options") or "") + " {self._option}"'
        return expression(f'{{**({first} or {{}}), "options": {options}}}')

    def _options(self, given: cst.BaseExpression) -> cst.BaseExpression:
        """The value of ``options`` with the limit in it."""
        source = code(given)
        if _SETTING.search(source):
            limited = _SETTING.sub(self._limited, source)
            if isinstance(given, cst.FormattedString) and "{" not in limited:
                limited = given.start.lower().replace("f", "") + limited[len(given.start) :]
            return expression(limited)
        if is_none(given):
            return cst.SimpleString(f'"{self._option}"')
        if isinstance(given, cst.SimpleString | cst.FormattedString):
            end = given.end if isinstance(given, cst.FormattedString) else given.quote
            return expression(f"{source[: -len(end)]} {self._option}{end}")
        return expression(f'({source} or "") + " {self._option}"')

    def _limited(self, setting: re.Match[str]) -> str:
        value, number, unit = setting["value"], setting["number"], setting["unit"]
        known = int(number) * _UNIT_MS[unit and unit.lower()] if number else self._constants.get(value, 0)
        return setting[0] if 0 < known <= self._limit_ms else f"statement_timeout={self._limit_ms}"


def _other_database(call: cst.Call) -> bool:
    """Whether the URL is written in place and names another kind of database."""
    url = code(call.args[0].value).lstrip("rRfFbBuU") if call.args else ""
    return url[:1] in ("'", '"') and ":" in url and not url.lstrip("\"'").startswith(("postgres", "{"))


def _entry(given: cst.Dict, key: str) -> cst.DictElement | None:
    entries = (element for element in given.elements if isinstance(element, cst.DictElement))
    return next((each for each in entries if code(each.key).strip("'\"") == key), None)


def _spread(given: cst.Dict) -> bool:
    return any(isinstance(element, cst.StarredDictElement) for element in given.elements)


def _usable_twice(given: cst.BaseExpression, name: str) -> tuple[str, str]:
    """Code for the first and the second use of a value; what may have effects is evaluated once and kept."""
    source = code(given)
    if isinstance(given, cst.Name | cst.Attribute):
        return source, source
    return f"({name}_given := {source})", f"{name}_given"
