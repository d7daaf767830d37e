"""Whether a fix may go out by itself. Every rule is a reason for FixRefused, and the first one that speaks is told."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from harness.delivery.audit import Entry, standing
from harness.errors import FixRefused
from harness.model.delivery import GitDelivery
from harness.model.globs import matches

STOP_FILE = ".no-autofix"  # at the top of the repository's branch: whoever may push may stop the bot
STOP = "DELIVERY_STOP"  # the same for whoever runs the harness
_DAY = timedelta(hours=24)


def require_leave(
    spec: GitDelivery,
    entries: Sequence[Entry],
    *,
    confidence: float | None,
    stopped: bool,
    now: datetime | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """``entries`` are all of the log, ``stopped`` says whether the branch holds STOP_FILE."""
    if stopped or environ.get(STOP):
        where = f"{STOP_FILE} is in the branch" if stopped else f"{STOP} is set"
        raise FixRefused(f"deliveries are stopped: {where}", rule="stopped", cure="take it away once you trust the bot")
    here = [entry for entry in entries if (entry.remote, entry.branch) == (spec.remote, spec.branch)]
    if undecided := standing(here):
        commit = undecided[-1].commit[:12]
        cure = f"harness deliveries --revert {commit}, or --keep {commit}"
        raise FixRefused(f"nobody has decided about an earlier fix, {commit}", rule="undecided", cure=cure)
    if confidence is None or confidence < spec.min_confidence:
        told = "none was stated" if confidence is None else f"{confidence:.0%}"
        raise FixRefused(f"the confidence is too low: {told}, and {spec.min_confidence:.0%} is demanded", rule="floor")
    since = (now or datetime.now(UTC)) - _DAY
    pushed = [entry for entry in here if entry.action == "pushed" and datetime.fromisoformat(entry.at) > since]
    if len(pushed) >= spec.per_day:
        raise FixRefused(f"{len(pushed)} fixes went out in the last 24 hours, as many as may", rule="cap")


def require_open(spec: GitDelivery, paths: Collection[str]) -> None:
    """``paths`` of the repository, which a fix changes."""
    if closed := sorted(path for path in paths if matches(spec.protected, path, ignore_case=True)):
        raise FixRefused(f"{closed[0]} is protected in the repository", rule="protected", cure="leave it alone")
