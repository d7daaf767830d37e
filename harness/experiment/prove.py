"""Can this scenario be trusted? Nobody heals it by doing nothing, the reference does, and every wrong fix loses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal

from harness.catalogue import CHEAT, cheats, choose_fixer
from harness.errors import FixerError, FixRefused, MeasurementError
from harness.experiment.proof import NOOP, REFERENCE, Row, append, rows
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
from harness.settings import Settings
from harness.trial.judge import JUDGE

_SPARE = 3  # more trials of an arm than wanted, where some could not be measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often: ``repeats`` for doing nothing and for the reference, ``cheat_repeats`` for each wrong fix.

    What guard or review refuses is tried once: it is the same each time, and no load can change it.
    """

    results: Path
    proof: Path
    repeats: int = 5
    cheat_repeats: int = 1


def prove(loaded: LoadedScenario, plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Run what the proof still lacks for this scenario, appending each row before the next trial starts.

    MeasurementError where an arm can hardly ever be measured here.
    """
    found, arms = rows(plan.proof), _arms(loaded)
    for arm in arms:
        of_arm = [row for row in _present(loaded, arms, found) if row.arm == arm.name]
        yield from _lacking(loaded, arm, of_arm, plan, tell)


def present(loaded: LoadedScenario, found: Sequence[Row]) -> list[Row]:
    """The rows that speak of the scenario and the wrong fixes as they are now, by guard, review and judge of now."""
    return _present(loaded, _arms(loaded), found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arm:
    name: str
    patch: str = ""
    refusal: Row | None = None  # of a wrong fix that need not run

    def told_by(self, row: Row) -> bool:
        """Whether the row is of this very patch, and, where it never ran, refused for what it is refused for now."""
        now = self.refusal
        same = row.how == "live" or (now is not None and (row.how, row.rule) == (now.how, now.rule))
        return row.arm == self.name and row.patch == self.patch and same


def _arms(loaded: LoadedScenario) -> list[_Arm]:
    tree, settings = _tree(loaded), Settings.read()
    return [_Arm(name=NOOP), _Arm(name=REFERENCE), *(_cheat(loaded, name, tree, settings) for name in cheats(loaded))]


def _present(loaded: LoadedScenario, arms: Sequence[_Arm], found: Sequence[Row]) -> list[Row]:
    of_now = [row for row in found if row.scenario_hash == loaded.hash and row.judge == JUDGE]
    return [row for row in of_now if any(arm.told_by(row) for arm in arms)]


def _lacking(
    loaded: LoadedScenario, arm: _Arm, of_arm: list[Row], plan: Plan, tell: Callable[[str], None]
) -> Iterator[Row]:
    had, wanted = len(of_arm), plan.cheat_repeats if arm.name.startswith(CHEAT) else plan.repeats
    while not _enough(of_arm, wanted):
        if len(of_arm) >= had + wanted + _SPARE:
            scenario, tries = loaded.spec.metadata.name, wanted + _SPARE
            raise MeasurementError(
                f"{scenario}: {arm.name} not measured {wanted} times in {tries}: {of_arm[-1].reason}",
                cure="is the machine busy? Look at the trials' folders",
            )
        row = arm.refusal or _live(loaded, arm, len(of_arm) + 1, plan, tell)
        append(plan.proof, row)
        of_arm.append(row)
        yield row


def _enough(of_arm: Sequence[Row], wanted: int) -> bool:
    settled = any(row.how != "live" for row in of_arm)
    return settled or sum(row.measured for row in of_arm) >= wanted


def _cheat(loaded: LoadedScenario, name: str, tree: SourceTree, settings: Settings) -> _Arm:
    """A wrong fix, with the row of its refusal where none of it would ever run."""
    arm, refused = f"{CHEAT}{name}", partial(_row, loaded, f"{CHEAT}{name}")
    try:
        fix = choose_fixer(arm, loaded, settings).fixer.propose(_incident(loaded), (), tree, ())
    except FixRefused as error:
        return _Arm(name=arm, refusal=refused("refused", Outcome.NOT_HEALED, f"guard.{error.rule}", error.message))
    except FixerError as error:
        return _Arm(name=arm, refusal=refused("absent", Outcome.NOT_HEALED, "proposal", error.message))
    patch = sha256(repr(fix.edits).encode("utf-8", "replace")).hexdigest()[:16]
    refusal = None
    if loaded.spec.metadata.control and not fix.abstains:
        refusal = refused("refused", Outcome.FALSE_ALARM, "control", "nothing is there to be mended", patch)
    elif why := _refused(tree, fix):
        refusal = refused("refused", Outcome.NOT_HEALED, *why, patch)
    return _Arm(name=arm, patch=patch, refusal=refusal)


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
        at=_now(),
    )


def _live(loaded: LoadedScenario, tried: _Arm, seed: int, plan: Plan, tell: Callable[[str], None]) -> Row:
    """One whole trial, in a process of its own. MeasurementError where that gives no verdict."""
    name, arm = loaded.spec.metadata.name, tried.name
    tell(f"{name}: {arm}, seed {seed} ...")
    command = [sys.executable, "-P", "-m", "harness", "run", str(loaded.file), "--fixer", arm, "--seed", str(seed)]
    command += ["--results", str(plan.results), "--json", "--no-track"]
    command += ["--withdraw"] if arm == REFERENCE and not loaded.spec.metadata.control else []
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        verdict = json.loads(done.stdout)
    except ValueError:
        raise MeasurementError(f"{name}: {arm} gave no verdict:\n{done.stderr[-2000:]}") from None
    effect = verdict["efficacy"] or {}
    return Row(
        scenario=name,
        scenario_hash=verdict["trial"]["scenario_hash"],
        control=loaded.spec.metadata.control,
        judge=verdict["judge"],
        arm=arm,
        seed=seed,
        how="live",
        outcome=Outcome(verdict["outcome"]),
        rule=verdict["rule"],
        reason=verdict["reason"],
        at=_now(),
        patch=tried.patch,
        seconds=round(time.monotonic() - started, 1),
        trial=verdict["trial"]["id"],
        commit=verdict["trial"]["commit"],
        isolation=verdict["trial"]["isolation"],
        cohens_h=effect.get("cohens_h"),
        ended_by_itself=effect.get("ended_by_itself"),
        harm_returned=effect.get("harm_returned"),
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
        detected_at=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
