"""Who a trial is: its id, and all that says what was run."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from harness.git import GitFailed, git
from harness.loading import LoadedScenario
from harness.model.verdict import Trial
from harness.ports import Fixer

_ROOT = Path(__file__).resolve().parents[1]
_WHAT_RUNS = ("harness", "scenarios", "target_app", "mock_api", "kb")  # a commit without these changed is not dirty


def new_id(loaded: LoadedScenario, fixer: str) -> str:
    """Of a trial that begins now, with the fixer as it was named: of a command line, the first word."""
    now, name = datetime.now(UTC), re.sub("[^A-Za-z0-9_.-]", "-", (fixer.split() or [""])[0].rstrip(":"))[:60]
    return f"{now:%Y%m%d-%H%M%S}-{loaded.spec.metadata.name}-{name}-{secrets.token_hex(4)}"


def identified(
    trial_id: str,
    loaded: LoadedScenario,
    fixer: Fixer,
    *,
    retriever: str,
    seed: int,
    isolation: str,
    kb: str,
    min_confidence: float | None,
) -> Trial:
    """A new trial, begun now."""
    return Trial(
        id=trial_id,
        scenario=loaded.spec.metadata.name,
        scenario_hash=loaded.hash,
        fixer=fixer.name,
        model=fixer.model,
        retriever=retriever,
        seed=seed,
        commit=_commit(),
        started_at=utc_now(),
        isolation=isolation,
        kb=kb,
        min_confidence=loaded.spec.budget.min_confidence if min_confidence is None else min_confidence,
    )


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _commit() -> str:
    """Of the harness itself, "-dirty" where what runs is not as committed; empty where there is no repository."""
    try:
        changed = git(_ROOT, "status", "--porcelain", "--", *_WHAT_RUNS)
        return git(_ROOT, "rev-parse", "HEAD").strip() + ("-dirty" if changed else "")
    except GitFailed:
        return ""
