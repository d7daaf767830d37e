"""How one module of a tree imports another."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import libcst as cst

from harness.model.source import SourceTree

_RELATIVE = re.compile(r"^\s*from\s+\.", re.MULTILINE)


def import_line(tree: SourceTree, importer: str, path: str) -> str:
    """How the module at ``importer`` gets the module at ``path`` by its own name, such as ``from shop import prices``.

    By the package name that the tree's own imports use; else relative inside a package; else as a plain module.
    """
    folder, name = PurePosixPath(path).parent, PurePosixPath(path).stem
    package = _name_in_use(tree, folder.parts)
    if not package and PurePosixPath(importer).parent == folder and _is_package(tree, folder, importer):
        package = "."
    package = package or ".".join(_packages_above(tree, folder.parts))
    return f"from {package} import {name}" if package else f"import {name}"


def _name_in_use(tree: SourceTree, folders: tuple[str, ...]) -> str:
    """The dotted name by which some module imports the folder, or something in it."""
    candidates = [".".join(folders[start:]) for start in range(len(folders))]
    return next((each for each in candidates if _matches(tree, rf"^\s*(?:from|import)\s+{re.escape(each)}\b")), "")


def _is_package(tree: SourceTree, folder: PurePosixPath, importer: str) -> bool:
    return str(folder / "__init__.py") in tree.files or bool(_RELATIVE.search(tree.files[importer]))


def _packages_above(tree: SourceTree, folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders at the end that have an ``__init__.py`` each."""
    top = len(folders)
    while top and "/".join((*folders[:top], "__init__.py")) in tree.files:
        top -= 1
    return folders[top:]


def _matches(tree: SourceTree, statement: str) -> bool:
    pattern = re.compile(statement, re.MULTILINE)
    return any(path.endswith(".py") and pattern.search(text) for path, text in tree.files.items())


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
    """The first name after ``from``, such as shop in ``from shop.prices import price``, or a dot."""
    imported = statement.body[0]
    if not isinstance(imported, cst.ImportFrom):
        return ""
    if imported.relative:
        return "."
    module: cst.BaseExpression | None = imported.module
    while isinstance(module, cst.Attribute):
        module = module.value
    return module.value if isinstance(module, cst.Name) else ""
