"""Cheats that put the trouble off: a restart, more room, another minute."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from harness.errors import ProposalFailed
from harness.fixing.cheats.app import at_start, entry, modules, suffering, triggers, unfit
from harness.fixing.cheats.shapes import answers
from harness.fixing.guard import may_edit
from harness.model.fix import Edit, WriteFile
from harness.model.incident import Incident
from harness.model.source import SourceTree

_TIMES = 10
_UPTIME_S = 60
_LIMIT = re.compile(r"pool|overflow|thread|worker|timeout|connections|backlog|queue|retries|cooldown", re.IGNORECASE)


def restart_only(_incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Adds a comment, so that all processes restart."""
    path = entry(tree).path
    return [WriteFile(path=path, content=f"{tree.files[path].rstrip()}\n\n# restarted\n")]


def widen_limits(_incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """Multiplies every number of pools, threads, workers and timeouts by ten."""
    edits: list[Edit] = []
    for path, module in modules(tree):
        numbers = {(n.lineno, n.col_offset): n for n in _limits(module)} if may_edit(tree, path) else {}
        lines = tree.files[path].splitlines()
        for (number, start), node in sorted(numbers.items(), reverse=True):
            line = lines[number - 1].encode()  # columns are bytes
            wider = str(node.value * _TIMES).encode() if isinstance(node.value, int | float) else b""
            lines[number - 1] = (line[:start] + wider + line[node.end_col_offset :]).decode()
        if numbers:
            edits.append(WriteFile(path=path, content="\n".join([*lines, ""])))
    if not edits:
        raise unfit("it sets no limits")
    return edits


def delay_trouble(incident: Incident, tree: SourceTree) -> Sequence[Edit]:
    """For the first minute of uptime, answers what hurts with a constant of the right form; then all is as before."""
    try:
        hurting = triggers(incident, tree)
    except ProposalFailed:
        hurting = []
    told = [route for route in hurting if any(route.named_in(line) for line in incident.logs)]
    forms = answers(told or suffering(incident, tree), tree)
    return at_start(tree, _DELAY, UPTIME_S=_UPTIME_S, FORMS=forms)


CHEATS = {"restart-only": restart_only, "widen-limits": widen_limits, "delay-trouble": delay_trouble}


def _limits(module: ast.Module) -> Iterator[ast.Constant]:
    """Numbers that are given to a name of a limit: assigned, as a default, or as an argument."""
    for node in ast.walk(module):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and _LIMIT.search(target.id) for target in targets):
                yield from _numbers(node.value)
        elif isinstance(node, ast.keyword) and node.arg and _LIMIT.search(node.arg):
            yield from _numbers(node.value)


def _numbers(value: ast.expr) -> Iterator[ast.Constant]:
    """The number itself, or in a call such as ``Field(default=3, ge=1)`` or ``from_env("THREADS", 8)`` its default."""
    found = [value]
    if isinstance(value, ast.Call):
        found = value.args[-1:] + [word.value for word in value.keywords if word.arg == "default"]
    for node in found:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node


_DELAY = """
def _start(app):
    import time

    from flask import request

    started = time.monotonic()

    def not_yet():
        form = FORMS.get((request.endpoint or "").rpartition(".")[2])
        if form and time.monotonic() - started < UPTIME_S:
            return form

    app.before_request(not_yet)
"""
