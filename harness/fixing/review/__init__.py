"""What a patch does that a fix must not do, read from its syntax trees. Nothing of the patch runs.

The review comes after the guard, which sees to paths, sizes and that the code compiles. It compares the files before
and after: what the app's code was like before is not held against a fix. It is a filter for what can be told by
reading, not a proof: the hidden checks and the load decide what is left.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from harness.fixing.review.difference import Change, Finding
from harness.fixing.review.module import Module, Unreadable, parse
from harness.fixing.review.rules import CHECKS, RULES
from harness.model.fix import Flag
from harness.model.source import SourceTree

__all__ = ["MAX_FLAGS", "RULES", "review"]

MAX_FLAGS = 60
_MAX_MESSAGE = 240
_ORDER = {"veto": 0, "warning": 1, "note": 2}


def review(before: SourceTree, after: SourceTree) -> tuple[Flag, ...]:
    """What the change adds or takes away that somebody should know, vetoes first; at most MAX_FLAGS.

    The rules are RULES. Any text may come in: what can't be read is a veto by the rule ``unreadable``.
    """
    with _uncollected():
        flags = {_flag(each) for each in _findings(before, after)}
    ordered = sorted(flags, key=lambda each: (_ORDER[each.severity], each.path, each.line, each.rule, each.message))
    return tuple(ordered[:MAX_FLAGS])


@contextmanager
def _uncollected() -> Iterator[None]:
    """Syntax trees are many objects that all stay to the end: Python's collector would go through them again and again,
    a quarter of the time. What the guard lets through bounds them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _findings(before: SourceTree, after: SourceTree) -> list[Finding]:
    paths = sorted(path for path in {*before.files, *after.files} if before.files.get(path) != after.files.get(path))
    old, _ = _parsed(paths, before)
    new, findings = _parsed(paths, after)
    change = Change(old=before, new=after, before=old, after=new, paths=tuple(paths))
    for check in CHECKS:
        findings.extend(_checked(check, change))
    return findings


def _parsed(paths: Iterable[str], tree: SourceTree) -> tuple[dict[str, Module], list[Finding]]:
    modules: dict[str, Module] = {}
    findings: list[Finding] = []
    for path in paths:
        if path.endswith(".py") and path in tree.files:
            try:
                modules[path] = parse(path, tree.files[path])
            except Unreadable as error:
                findings.append(_unreadable(path, str(error)))
    return modules, findings


def _checked(check: Callable[[Change], Iterator[Finding]], change: Change) -> Iterator[Finding]:
    """What ``check`` finds. Code so odd that it trips is not let through for that."""
    try:
        yield from check(change)
    except (RecursionError, MemoryError, ArithmeticError, ValueError) as error:
        path = change.paths[0] if change.paths else ""
        yield _unreadable(path, f"{check.__name__} gave up: {type(error).__name__}: {error}")


def _unreadable(path: str, why: str) -> Finding:
    return Finding(rule="unreadable", severity="veto", path=path, line=0, message=why, evidence=path)


def _flag(finding: Finding) -> Flag:
    message = "".join(each if each.isprintable() else " " for each in finding.message)[:_MAX_MESSAGE]
    return Flag(rule=finding.rule, severity=finding.severity, path=finding.path, line=finding.line, message=message)
