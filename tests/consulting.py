"""What the tests of model-driven fixers share: an incident, a reply that is right, and a clock that nobody sits out."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.errors import ProposalFailed
from harness.model.fix import Attempt, Cost, Fix
from harness.model.incident import Incident
from harness.model.source import SourceTree
from harness.ports import Fixer

KEY = "sk-AIza-not-a-real-key"
INCIDENT = Incident(
    id="inc-1",
    error_code="SLO_BURN",
    symptoms="slow",
    breadcrumbs=("burn rate 40",),
    logs=("INFO start", "ERROR pool", "ERROR pool again"),
    window=None,
    detected_at="2026-11-05T10:00:00Z",
)
TREE = SourceTree(files={"shop/db.py": "pool = 3\n", "shop/app.py": "import db\n"}, editable=("shop/**",))
REPLY: dict[str, Any] = {
    "root_cause": "the pool is too small",
    "remediation": "a larger one",
    "edits": [{"kind": "replace", "path": "shop/db.py", "content": None, "search": "3", "replace": "30"}],
    "verification": ["watch p95"],
    "confidence": 0.7,
    "abstain": False,
}


class Waits(list[float]):
    """Stands where time.sleep stands, so that tests see the waits and need not sit them out."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def propose(fixer: Fixer, earlier: tuple[Attempt, ...] = ()) -> Fix:
    return fixer.propose(INCIDENT, (), TREE, earlier)


def failure(fixer: Fixer) -> ProposalFailed:
    """The failure, after the check that neither it nor its traceback tells the key, and that it carries its cost."""
    with pytest.raises(ProposalFailed) as caught:
        propose(fixer)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.cure
    assert isinstance(caught.value.cost, Cost)
    return caught.value


def cost_of(error: ProposalFailed) -> Cost:
    assert isinstance(error.cost, Cost)
    return error.cost


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that is bound and not listened to: connections are refused, and nobody else can take it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
