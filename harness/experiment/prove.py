"""Can scenarios be trusted? Nobody heals them by doing nothing, the reference does, and every wrong fix loses."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.catalogue import CHEAT
from harness.errors import MeasurementError
from harness.experiment.arms import Arm, Arms, now, present
from harness.experiment.lanes import Lane, side_by_side
from harness.experiment.proof import REFERENCE, Row, append, rows
from harness.experiment.rejudge import rejudge
from harness.loading import LoadedScenario
from harness.model.verdict import Outcome
from harness.trial.judge import JUDGE

_SPARE = 3  # more trials of an arm than wanted, where some could not be measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often: ``repeats`` for doing nothing and for the reference, ``cheat_repeats`` for each wrong fix.

    What guard or review refuses is tried once: it is the same each time, and no load can change it. ``jobs`` trials
    run side by side.
    """

    results: Path
    proof: Path
    repeats: int = 5
    cheat_repeats: int = 1
    jobs: int = 1

    def wanted(self, arm: Arm) -> int:
        return self.cheat_repeats if arm.name.startswith(CHEAT) else self.repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    loaded: LoadedScenario
    arm: Arm
    seed: int
    spare: bool = False  # in the stead of one that could not be measured

    @property
    def name(self) -> str:
        return f"{self.loaded.spec.metadata.name}: {self.arm.name}"


def prove(scenarios: Sequence[LoadedScenario], arms: Arms, plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """Run what the proof still lacks, each row appended as it comes. What an older judge saw is judged again first.

    MeasurementError, once all else is done, where a trial gave no verdict, or an arm can hardly ever be measured here.
    """
    trials: deque[_Trial] = deque()
    for loaded in scenarios:
        tell(f"{loaded.spec.metadata.name}: reading its wrong fixes ...")
        tried = arms.of(loaded)
        for row in _judged_again(loaded, rows(plan.proof), plan.results):
            append(plan.proof, row)
            yield row
        found = present(loaded, tried, rows(plan.proof))
        for arm in tried:
            of_arm = [row for row in found if row.arm == arm.name]
            if not arm.refusal:
                trials.extend(_lacking(loaded, arm, of_arm, plan.wanted(arm)))
            elif all(row.how == "live" for row in of_arm):
                append(plan.proof, arm.refusal)
                yield arm.refusal
    for row in _run(trials, plan, tell):
        append(plan.proof, row)
        yield row


def counted(scenarios: Sequence[LoadedScenario], arms: Arms, proof: Path) -> tuple[list[Row], int]:
    """The rows of the file that count for these scenarios as they are now, and how many do not."""
    everything = rows(proof)
    found = [row for loaded in scenarios for row in present(loaded, arms.of(loaded), everything)]
    return found, len(everything) - len(found)


def _judged_again(loaded: LoadedScenario, everything: Sequence[Row], results: Path) -> Iterator[Row]:
    """The trials of this version whose newest row is of an older judge, as far as their journals are still here."""
    newest = {row.trial: row for row in everything if row.how == "live" and row.scenario_hash == loaded.hash}
    for row in newest.values():
        folders = [folder for folder in (results / row.trial, *results.glob(f"lane-*/{row.trial}")) if folder.is_dir()]
        if row.judge != JUDGE and row.trial and folders:
            verdict = rejudge(folders[0])
            effect = verdict.efficacy
            yield replace(
                row,
                judge=verdict.judge,
                outcome=verdict.outcome,
                rule=verdict.rule,
                reason=verdict.reason,
                at=now(),
                cohens_h=effect.cohens_h if effect else None,
                ended_by_itself=effect.ended_by_itself if effect else None,
                harm_returned=effect.harm_returned if effect else None,
            )


def _lacking(loaded: LoadedScenario, arm: Arm, of_arm: Sequence[Row], wanted: int) -> list[_Trial]:
    missing = wanted - sum(row.measured for row in of_arm)
    return [_Trial(loaded=loaded, arm=arm, seed=len(of_arm) + number) for number in range(1, missing + 1)]


def _run(trials: deque[_Trial], plan: Plan, tell: Callable[[str], None]) -> Iterator[Row]:
    """The rows of these trials, as they end, and of more where some could not be measured."""

    def live(trial: _Trial, lane: Lane) -> Row:
        tell(f"{trial.name}, seed {trial.seed} ...")
        return _live(trial, lane)

    failures: list[MeasurementError] = []
    spares = Counter({trial.name: _SPARE for trial in trials})
    seeds = {trial.name: trial.seed for trial in trials}  # of each arm the last, which is the highest
    for trial, future in side_by_side(trials, plan.results, plan.jobs, live):
        try:
            row = future.result()
        except MeasurementError as error:
            failures.append(error)
            continue
        yield row
        if row.measured:
            continue
        if spares[trial.name]:
            spares[trial.name] -= 1
            seeds[trial.name] += 1
            trials.append(replace(trial, seed=seeds[trial.name]))
        else:
            what = f"{trial.name}: {_SPARE} more trials did not help: {row.reason}"
            failures.append(MeasurementError(what, cure="is the machine busy? Look at the trials' folders"))
    if failures:
        raise failures[0]


def _live(trial: _Trial, lane: Lane) -> Row:
    """One whole trial. MeasurementError where that gives no verdict."""
    loaded, arm = trial.loaded, trial.arm
    arguments = [str(loaded.file), "--fixer", arm.name, "--seed", str(trial.seed), "--no-track"]
    withdraw = arm.name == REFERENCE and not loaded.spec.metadata.control
    try:
        ran = lane.run(*arguments, *(["--withdraw"] if withdraw else []))
    except MeasurementError as error:
        raise MeasurementError(f"{trial.name}: {error.message}") from None
    verdict, effect = ran.verdict, ran.verdict["efficacy"] or {}
    return Row(
        scenario=loaded.spec.metadata.name,
        scenario_hash=verdict["trial"]["scenario_hash"],
        control=loaded.spec.metadata.control,
        judge=verdict["judge"],
        arm=arm.name,
        seed=trial.seed,
        how="live",
        outcome=Outcome(verdict["outcome"]),
        rule=verdict["rule"],
        reason=verdict["reason"],
        at=now(),
        patch=arm.patch,
        seconds=round(ran.seconds, 1),
        trial=verdict["trial"]["id"],
        commit=verdict["trial"]["commit"],
        isolation=verdict["trial"]["isolation"],
        cohens_h=effect.get("cohens_h"),
        ended_by_itself=effect.get("ended_by_itself"),
        harm_returned=effect.get("harm_returned"),
    )
