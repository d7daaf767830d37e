"""What a change does by which files it touches and imports, whatever stands in them."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from harness.fixing.review.difference import Change, Finding
from harness.fixing.review.module import Function, Module, import_names
from harness.model.fix import Severity

_TESTS = re.compile(
    r"(^|.*/)(tests?/.*|test_[^/]*|[^/]*_test\.py|conftest\.py|pytest\.ini|tox\.ini|setup\.cfg|noxfile\.py)$"
)
_HOOKS = frozenset({"sitecustomize", "usercustomize", "conftest"})
_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+([\w.]+(?:[ \t]*,[ \t]*[\w.]+)*)", re.MULTILINE)
_COMPANIONS = {  # what comes with a package, and is used through it
    "flask": {"werkzeug", "jinja2", "markupsafe", "itsdangerous", "click", "blinker"},
    "httpx": {"httpcore", "anyio", "h11"},
    "fastapi": {"starlette", "pydantic", "anyio"},
    "pydantic": {"pydantic_core", "annotated_types", "typing_extensions"},
    "sqlalchemy": {"typing_extensions"},
}


def new_dependency(change: Change) -> Iterator[Finding]:
    known = set(sys.stdlib_module_names) | {"__future__"}
    for path, text in change.old.files.items():
        if path.endswith((".py", ".pyi")):
            known |= {name.strip().split(".")[0] for names in _IMPORT.findall(text) for name in names.split(",")}
    for before in change.before.values():
        known |= {name.split(".")[0] for _, name in _imports(before)}
    for path in (*change.old.files, *change.new.files):
        if path.endswith((".py", ".pyi")):
            known |= {name.split(".")[0] for name in import_names(path)}
    for package in tuple(known & _COMPANIONS.keys()):
        known |= _COMPANIONS[package]
    for module in change.after.values():
        for line, name in _imports(module):
            if name.split(".")[0] not in known:
                message = f"{name} is no package that the app has used"
                yield _finding("new-dependency", "veto", module.path, message, line)


def shadowed_module(change: Change) -> Iterator[Finding]:
    """A new file that Python would import in place of a library, or by itself when it starts."""
    imported = {
        name.strip().split(".")[0]
        for path, text in change.old.files.items()
        if path.endswith(".py")
        for names in _IMPORT.findall(text)
        for name in names.split(",")
    }
    own = {each.split(".")[0] for path in change.old.files if path.endswith(".py") for each in import_names(path)}
    for path in change.after:
        top = import_names(path)[0].split(".")[0]
        if path not in change.old.files and top not in own and top in (sys.stdlib_module_names | imported | _HOOKS):
            message = f"{path} would be imported in place of {top}"
            yield _finding("shadowed-module", "veto", path, message)


def changed_tests(change: Change) -> Iterator[Finding]:
    for path in change.paths:
        if _TESTS.fullmatch(path):
            yield _finding("changed-tests", "veto", path, "a fix does not change what tests it")


def unchanged_code(change: Change) -> Iterator[Finding]:
    """Comments, docstrings and layout only: all that it does is restart the app."""
    if not change.paths or any(path not in change.before or path not in change.after for path in change.paths):
        return
    if all(_code(change.old.files[path]) == _code(change.new.files[path]) for path in change.paths):
        yield _finding("unchanged-code", "veto", change.paths[0], "no code is changed: the app is restarted, no more")


def unreviewed(change: Change) -> Iterator[Finding]:
    for path in change.paths:
        if path in change.new.files and not path.endswith(".py"):
            yield _finding("unreviewed", "warning", path, "not a Python file: nothing here reads it")


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    for node in module.of(ast.Import):
        yield from ((node.lineno, each.name) for each in node.names)
    for imported in module.of(ast.ImportFrom):
        if not imported.level and imported.module:
            yield imported.lineno, imported.module


def _code(text: str) -> str:
    """The code as it runs, without docstrings."""
    tree = ast.parse(text.encode())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            node.body = [each for each in node.body if not _is_idle(each)]
    return ast.dump(tree)


def _is_idle(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _finding(rule: str, severity: Severity, path: str, message: str, line: int = 0) -> Finding:
    return Finding(rule=rule, severity=severity, path=path, line=line, message=message, evidence=f"{path}: {message}")
