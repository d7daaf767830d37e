"""What bandit finds in the new code and did not find in the old: https://bandit.readthedocs.io."""

from __future__ import annotations

import ast
import io
import logging
import warnings
from collections.abc import Collection, Iterator
from functools import cache, partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NoReturn

from harness.fixing.review.difference import Change, Finding
from harness.fixing.review.module import Module
from harness.model.fix import Severity

if TYPE_CHECKING:
    from bandit.core.node_visitor import BanditNodeVisitor
    from bandit.core.test_set import BanditTestSet

# weak hashes are what caches and labels are often named by: told, and no reason to refuse a fix
_NEVER_A_VETO = frozenset({"B303", "B324"})

# SQL from strings: our own rule sees more, and bandit's takes minutes for a long text made for it
_LEFT_OUT = ["B608"]
_LOOKED_AT = frozenset({"ClassDef", "FunctionDef", "Call", "Import", "ImportFrom", "Constant"})  # visit_... methods


def weaknesses(change: Change) -> Iterator[Finding]:
    """Rules ``bandit.B602`` and so on: high severity and confidence are a veto, medium severity a warning, else a note.

    ``# nosec`` comments of a patch are ignored. A file that bandit can't read is ``unreadable``.
    """
    yield from change.added(partial(_issues, change))


def _issues(change: Change, module: Module) -> Iterator[Finding]:
    """The evidence is the code that is pointed at, stripped of its place."""
    tree = change.new if change.after.get(module.path) is module else change.old
    text = tree.files[module.path]
    lines = text.splitlines()
    for issue in _scanned(module, text):
        rule = f"bandit.{issue.test_id}"
        severity = _severity(issue.test_id, issue.severity, issue.confidence)
        code = " ".join(lines[number - 1].strip() for number in issue.linerange if 0 < number <= len(lines))
        yield Finding(
            rule=rule, severity=severity, path=module.path, line=issue.lineno, message=issue.text, evidence=code[:500]
        )


def _severity(test: str, severity: str, confidence: str) -> Severity:
    if severity == "HIGH":
        return "veto" if confidence == "HIGH" and test not in _NEVER_A_VETO else "warning"
    return "warning" if severity == "MEDIUM" else "note"


def _scanned(module: Module, text: str) -> list[Any]:
    """bandit's issues. Its own file reading, configuration and reports are left out: nothing touches the disk."""
    tests = _tests()
    from bandit.core.meta_ast import BanditMetaAst  # noqa: PLC0415 - bandit takes 0.2 s to import
    from bandit.core.metrics import Metrics  # noqa: PLC0415 - the same
    from bandit.core.node_visitor import BanditNodeVisitor  # noqa: PLC0415 - the same

    file, counts = io.BytesIO(text.encode()), Metrics()
    counts.begin(module.path)
    visitor = BanditNodeVisitor(module.path, file, BanditMetaAst(), tests, False, {}, counts)
    visitor.tester.report_error = _crashed
    _walked(visitor, _LOOKED_AT | tests.tests.keys(), module.tree)
    whole = {"file_data": file, "filename": module.path, "lineno": 0, "linerange": [0, 1], "col_offset": 0}
    visitor.tester.run_tests(whole, "File")
    return list(visitor.tester.results)


def _walked(visitor: BanditNodeVisitor, looked_at: Collection[str], node: ast.AST) -> None:
    """``BanditNodeVisitor.generic_visit``, which asks no test about kinds of nodes that have none: thrice as fast."""
    for _, value in ast.iter_fields(node):
        below = [each for each in value if isinstance(each, ast.AST)] if isinstance(value, list) else [value]
        for child, sibling in zip_longest(below, below[1:]):
            if not isinstance(child, ast.AST):
                continue
            child._bandit_parent, child._bandit_sibling = node, sibling  # type: ignore[attr-defined] # bandit's own
            asked = type(child).__name__ in looked_at
            if asked:
                visitor.pre_visit(child)
                visitor.visit(child)
            _walked(visitor, looked_at, child)
            if asked:
                visitor.post_visit(child)


def _crashed(test: str, _context: object, error: Exception) -> NoReturn:
    """bandit would log it and go on without the test."""
    raise ValueError(f"bandit's test {test} failed: {error}")


@cache
def _tests() -> BanditTestSet:
    """The first import of bandit is here: it changes settings of the whole process, which are put back."""
    shown = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how it loads its plug-ins
        from bandit.core.config import BanditConfig  # noqa: PLC0415 - bandit takes 0.2 s to import
        from bandit.core.test_set import BanditTestSet  # noqa: PLC0415 - the same

    warnings.formatwarning = shown
    logging.getLogger("bandit").setLevel(logging.CRITICAL)  # it tells of what it can't resolve, line by line
    return BanditTestSet(BanditConfig(), {"exclude": _LEFT_OUT})
