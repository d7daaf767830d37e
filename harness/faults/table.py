"""From what a scenario says to a fault."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import assert_never

from harness.errors import InputError
from harness.faults.defect import BadRelease
from harness.faults.trigger import HttpTrigger
from harness.faults.upstream import UpstreamMode
from harness.git import GitFailed
from harness.model.faults import DefectFault, FaultSpec, HttpFault, UpstreamFault
from harness.model.source import SourceTree
from harness.ports import Fault, Target

Patcher = Callable[[SourceTree, str], SourceTree]


Waiting = Callable[[str], int]  # how many connections of the app wait for this event of PostgreSQL now


def fault(spec: FaultSpec, *, target: Target, patched: Patcher, waiting: Waiting) -> Fault:
    """The fault for ``spec``; ``patched(tree, name)`` applies a patch file that the scenario names."""
    match spec:
        case HttpFault():
            return HttpTrigger(spec, waiting)
        case UpstreamFault():
            return UpstreamMode(spec)
        case DefectFault():
            return BadRelease(target, partial(_spoilt, patched, spec.patch))
        case _:
            assert_never(spec)


def _spoilt(patched: Patcher, patch: str, tree: SourceTree) -> SourceTree:
    try:
        return patched(tree, patch)
    except GitFailed as error:
        cure = "make it anew: git diff --relative in the app's folder, against what runs before it"
        raise InputError(f"{patch} does not apply to the app: {error}", cure=cure) from None
