"""How one module of a tree imports another."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import libcst as cst

from harness.model.source import SourceTree


def import_line(tree: SourceTree, path: str) -> str:
    """The absolute import of the module at ``path`` by its own name, such as ``from shop import prices``."""
    folder, name = PurePosixPath(path).parent, PurePosixPath(path).stem
    package = dotted(tree, folder)
    return f"from {package} import {name}" if package else f"import {name}"


def dotted(tree: SourceTree, folder: PurePosixPath) -> str:
    """The package that ``folder`` is; empty for a folder of plain modules.

    A folder without ``__init__.py`` is taken for a package when some module imports it by its name.
    """
    parts = folder.parts
    top = len(parts)
    while top and "/".join((*parts[:top], "__init__.py")) in tree.files:
        top -= 1
    candidates = [parts[top:]] if top < len(parts) else [parts[start:] for start in range(len(parts))]
    return next((".".join(each) for each in candidates if top < len(parts) or _is_imported(tree, each)), "")


def _is_imported(tree: SourceTree, package: tuple[str, ...]) -> bool:
    statement = re.compile(rf"^\s*(?:from|import)\s+{re.escape('.'.join(package))}\b", re.MULTILINE)
    return any(path.endswith(".py") and statement.search(text) for path, text in tree.files.items())


def with_import(module: cst.Module, line: str) -> cst.Module:
    """The module with ``line`` before its first import from the same package, else below its last import."""
    body, added = list(module.body), cst.parse_statement(line)
    assert isinstance(added, cst.SimpleStatementLine)
    package, place = _package(added), 1 if module.get_docstring() is not None else 0
    for number, statement in enumerate(body):
        if isinstance(statement, cst.FunctionDef | cst.ClassDef):
            break
        if isinstance(statement, cst.SimpleStatementLine) and isinstance(
            statement.body[0], cst.Import | cst.ImportFrom
        ):
            if package and _package(statement) == package:
                spaced = added.with_changes(leading_lines=statement.leading_lines)
                return module.with_changes(
                    body=[*body[:number], spaced, statement.with_changes(leading_lines=[]), *body[number + 1 :]]
                )
            place = number + 1
    added = added.with_changes(leading_lines=[cst.EmptyLine(indent=False)] if place else [])
    return module.with_changes(body=[*body[:place], added, *body[place:]])


def _package(statement: cst.SimpleStatementLine) -> str:
    """The first name after ``from``, such as shop in ``from shop.prices import price``."""
    imported = statement.body[0]
    if not isinstance(imported, cst.ImportFrom) or imported.relative:
        return ""
    module: cst.BaseExpression | None = imported.module
    while isinstance(module, cst.Attribute):
        module = module.value
    return module.value if isinstance(module, cst.Name) else ""
