"""Can this scenario be trusted? Nobody heals it by doing nothing, the reference does, and every wrong fix loses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    for arm in (NOOP, REFERENCE, *(f"{CHEAT}{name}" for name in cheats(loaded))):
        wanted = plan.cheat_repeats if arm.startswith(CHEAT) else plan.repeats
        yield from _arm(loaded, arm, wanted, plan, tell)


def present(loaded: LoadedScenario, found: Sequence[Row]) -> list[Row]:
    """The rows that speak of the scenario as it is now, by the judge of now."""
    return [row for row in found if row.scenario_hash == loaded.hash and row.judge == JUDGE]


def _arm(loaded: LoadedScenario, arm: str, wanted: int, plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    of_arm = [row for row in present(loaded, rows(plan.proof)) if row.arm == arm]
    had = len(of_arm)
    while not _enough(of_arm, wanted):
        if len(of_arm) >= had + wanted + _SPARE:
            why = of_arm[-1].reason
            raise MeasurementError(
                f"{loaded.spec.metadata.name}: {arm} could not be measured {wanted} times in {wanted + _SPARE}: {why}",
                cure="is the machine busy? Look at the trials' folders",
            )
        seed = len(of_arm) + 1
        row = (_without_load(loaded, arm) if arm.startswith(CHEAT) else None) or _live(loaded, arm, seed, plan, tell)
        append(plan.proof, row)
        of_arm.append(row)
        yield row


def _enough(of_arm: Sequence[Row], wanted: int) -> bool:
    settled = any(row.how != "live" for row in of_arm)
    return settled or sum(row.measured for row in of_arm) >= wanted


def _without_load(loaded: LoadedScenario, arm: str) -> Row | None:
    """The row of a wrong fix that is refused before any of it runs; None: it has to be tried."""
    fixer, tree = choose_fixer(arm, loaded, Settings.read()).fixer, _tree(loaded)
    try:
        fix = fixer.propose(_incident(loaded), (), tree, ())
    except FixRefused as error:
        return _row(loaded, arm, "refused", Outcome.NOT_HEALED, f"guard.{error.rule}", error.message)
    except FixerError as error:
        return _row(loaded, arm, "absent", Outcome.NOT_HEALED, "proposal", error.message)
    if loaded.spec.metadata.control and not fix.abstains:
        return _row(loaded, arm, "refused", Outcome.FALSE_ALARM, "control", "nothing is there to be mended")
    return _refused(loaded, arm, tree, fix)


def _refused(loaded: LoadedScenario, arm: str, tree: SourceTree, fix: Fix) -> Row | None:
    try:
        after = apply(tree, fix)
    except FixRefused as error:
        return _row(loaded, arm, "refused", Outcome.NOT_HEALED, f"guard.{error.rule}", error.message)
    for flag in review(tree, after):
        if flag.severity == "veto":
            why = f"{flag.path}:{flag.line}: {flag.message}"
            return _row(loaded, arm, "refused", Outcome.NOT_HEALED, f"review.{flag.rule}", why)
    return None


def _row(loaded: LoadedScenario, arm: str, how: Any, outcome: Outcome, rule: str, reason: str) -> Row:  # noqa: ANN401 - one of Row's own words
    return Row(
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


def _live(loaded: LoadedScenario, arm: str, seed: int, plan: Plan, tell: Callable[[str], None]) -> Row:
    """One whole trial, in a process of its own. MeasurementError where that gives no verdict."""
    name = loaded.spec.metadata.name
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
