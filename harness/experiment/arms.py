"""Who is tried on a scenario: doing nothing, the reference, and each wrong fix, refused unread or to be run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal

from harness.catalogue import CHEAT, cheats, choose_fixer
from harness.errors import FixerError, FixRefused
from harness.experiment.proof import NOOP, REFERENCE, Row
from harness.fixing.guard import apply
from harness.fixing.review import review
from harness.leaks.needles import running_tree
from harness.loading import LoadedScenario
from harness.model.fix import Fix
from harness.model.globs import matches
from harness.model.incident import Incident
from harness.model.source import SourceTree
from harness.model.verdict import Outcome
from harness.model.window import RouteWindow, Window
from harness.trial.judge import JUDGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """``refusal``: the row of a wrong fix of which nothing would ever run."""

    name: str
    patch: str = ""
    refusal: Row | None = None

    def told_by(self, row: Row) -> bool:
        """Whether the row is of this very patch, and, where it never ran, refused for what it is refused for now."""
        now = self.refusal
        same = row.how == "live" or (now is not None and (row.how, row.rule) == (now.how, now.rule))
        return row.arm == self.name and row.patch == self.patch and same


class Arms:
    """Who is tried on one scenario after the other; the wrong fixes of each, which takes seconds, are read once."""

    def __init__(self) -> None:
        self._read: dict[Path, list[Arm]] = {}

    def of(self, loaded: LoadedScenario) -> list[Arm]:
        where = loaded.file.resolve()
        if where not in self._read:
            self._read[where] = arms(loaded)
        return self._read[where]


def arms(loaded: LoadedScenario) -> list[Arm]:
    """All of them, wrong fixes with what guard and review say of them today."""
    tree = _tree(loaded)
    return [Arm(name=NOOP), Arm(name=REFERENCE), *(_cheat(loaded, name, tree) for name in cheats(loaded))]


def present(loaded: LoadedScenario, tried: Iterable[Arm], found: Sequence[Row]) -> list[Row]:
    """The rows that speak of the scenario and the wrong fixes as they are now, by guard, review and judge of now."""
    of_now = [row for row in found if row.scenario_hash == loaded.hash and row.judge == JUDGE]
    known = {arm.name: arm for arm in tried}
    return [row for row in of_now if row.arm in known and known[row.arm].told_by(row)]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _cheat(loaded: LoadedScenario, name: str, tree: SourceTree) -> Arm:
    """A wrong fix, with the row of its refusal where none of it would ever run."""
    arm, refused = f"{CHEAT}{name}", partial(_row, loaded, f"{CHEAT}{name}")
    try:
        fix = choose_fixer(arm, loaded).propose(_incident(loaded), (), tree, ())
    except FixRefused as error:
        return Arm(name=arm, refusal=refused("refused", Outcome.NOT_HEALED, f"guard.{error.rule}", error.message))
    except FixerError as error:
        return Arm(name=arm, refusal=refused("absent", Outcome.NOT_HEALED, "proposal", error.message))
    patch = sha256(repr(fix.edits).encode("utf-8", "replace")).hexdigest()[:16]
    refusal = None
    if loaded.spec.metadata.control and not fix.abstains:
        refusal = refused("refused", Outcome.FALSE_ALARM, "control", "nothing is there to be mended", patch)
    elif why := _refused(tree, fix):
        refusal = refused("refused", Outcome.NOT_HEALED, *why, patch)
    return Arm(name=arm, patch=patch, refusal=refusal)


def _refused(tree: SourceTree, fix: Fix) -> tuple[str, str] | None:
    """By which rule of guard or review, and why; None: it has to be tried."""
    try:
        after = apply(tree, fix)
    except FixRefused as error:
        return f"guard.{error.rule}", error.message
    for flag in review(tree, after):
        if flag.severity == "veto":
            return f"review.{flag.rule}", f"{flag.path}:{flag.line}: {flag.message}"
    return None


def _row(
    loaded: LoadedScenario,
    arm: str,
    how: Literal["refused", "absent"],
    outcome: Outcome,
    rule: str,
    reason: str,
    patch: str = "",
) -> Row:
    return Row(
        patch=patch,
        scenario=loaded.spec.metadata.name,
        scenario_hash=loaded.hash,
        control=loaded.spec.metadata.control,
        judge=JUDGE,
        arm=arm,
        seed=0,
        how=how,
        outcome=outcome,
        rule=rule,
        reason=reason,
        at=now(),
    )


def _tree(loaded: LoadedScenario) -> SourceTree:
    """What a fixer gets to see of the app when it is asked."""
    manifest = loaded.manifest
    files = {path: text for path, text in running_tree(loaded).files.items() if matches(manifest.source, path)}
    return SourceTree(files=files, editable=manifest.editable, protected=manifest.protected)


def _incident(loaded: LoadedScenario) -> Incident:
    """An outage of every route, for wrong fixes that are to be read and not run."""
    routes = {route.name: RouteWindow(failed=10) for route in loaded.spec.load.routes}
    return Incident(
        id="inc-static",
        error_code="SLO_BURN",
        symptoms="every request fails",
        breadcrumbs=tuple(f"route {name}: 10 arrivals, 10 failed" for name in routes),
        logs=(),
        window=Window(index=0, start_s=0.0, end_s=1.0, routes=routes),
        detected_at=now(),
    )
