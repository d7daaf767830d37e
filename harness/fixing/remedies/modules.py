"""The Python modules of a tree that a remedy may change, and what the names in them stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

import libcst as cst

from harness.fixing.guard import may_edit
from harness.model.fix import WriteFile
from harness.model.source import SourceTree

Names = Mapping[str, str]  # the name in this module -> where it comes from, such as sa -> sqlalchemy


def rewrite(tree: SourceTree, word: str, change: Callable[[cst.Module], cst.Module]) -> list[WriteFile]:
    """One edit for each editable module that contains ``word`` and that ``change`` changes."""
    edits = []
    for path, module in editable_modules(tree, word):
        changed = change(module).code
        if changed != tree.files[path]:
            edits.append(WriteFile(path=path, content=changed))
    return edits


def editable_modules(tree: SourceTree, word: str) -> Iterator[tuple[str, cst.Module]]:
    """Modules that contain ``word``, in capitals or not, and may be edited, by path.

    Left out are tests, and files that do not parse.
    """
    for path in sorted(tree.files):
        if path.endswith(".py") and word in tree.files[path].lower() and not _is_test(path) and may_edit(tree, path):
            try:
                yield path, cst.parse_module(tree.files[path])
            except cst.ParserSyntaxError:
                continue


def _is_test(path: str) -> bool:
    *folders, name = PurePosixPath(path).parts
    return "tests" in folders or name == "conftest.py" or name.startswith("test_")


def names_of(module: cst.Module) -> Names:
    """Every import in the module, also inside functions. Relative imports keep their dots."""
    imports = _Imports()
    module.visit(imports)
    return imports.names


def origin(node: cst.BaseExpression, names: Names) -> str:
    """The dotted name that an expression such as ``sa.create_engine`` stands for; empty where it is no such name."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name) or node.value not in names:
        return ""
    return ".".join((names[node.value], *reversed(parts)))


def comes_from(node: cst.BaseExpression, names: Names, package: str, *last: str) -> bool:
    """Whether ``node`` names one of ``last`` in ``package``, or in a module inside it that offers it too."""
    parts = origin(node, names).split(".")
    return parts[0] == package and parts[-1] in last


def constants(module: cst.Module) -> Mapping[str, float]:
    """Numbers that the module assigns at its top level, by name."""
    found = {}
    for line in module.body:
        for statement in line.body if isinstance(line, cst.SimpleStatementLine) else ():
            if isinstance(statement, cst.Assign | cst.AnnAssign):
                target = statement.targets[0].target if isinstance(statement, cst.Assign) else statement.target
                number = number_of(statement.value) if statement.value else None
                if isinstance(target, cst.Name) and number is not None:
                    found[target.value] = number
    return found


def number_of(node: cst.BaseExpression) -> float | None:
    return node.evaluated_value if isinstance(node, cst.Integer | cst.Float) else None


def is_none(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) and node.value == "None"


def code(node: cst.CSTNode) -> str:
    return cst.Module(body=[]).code_for_node(node)


def expression(source: str) -> cst.BaseExpression:
    """Code as an expression. It may run over lines, as it may between the brackets where it will stand."""
    inside = cst.parse_expression(f"({source}\n)")
    return inside.with_changes(lpar=inside.lpar[1:], rpar=inside.rpar[:-1])


class _Imports(cst.CSTVisitor):
    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def visit_Import(self, node: cst.Import) -> None:
        for alias in node.names:
            dotted = _dotted(alias.name)
            first = dotted.split(".")[0]
            local = _local(alias)
            self.names[local or first] = dotted if local else first

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        if isinstance(node.names, cst.ImportStar):
            return
        package = "." * len(node.relative) + (_dotted(node.module) if node.module else "")
        for alias in node.names:
            name = _dotted(alias.name)
            self.names[_local(alias) or name] = f"{package}.{name}"


def _local(alias: cst.ImportAlias) -> str:
    return alias.asname.name.value if alias.asname and isinstance(alias.asname.name, cst.Name) else ""


def _dotted(node: cst.BaseExpression) -> str:
    if isinstance(node, cst.Attribute):
        return f"{_dotted(node.value)}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""
