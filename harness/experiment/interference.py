"""What do trials side by side do to one another? A healthy app is watched alone, and beside trials of the sweep."""

from __future__ import annotations

import math
import secrets
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.errors import MeasurementError
from harness.experiment import slots
from harness.experiment.lanes import Lane, lanes
from harness.experiment.plan import seed_of
from harness.experiment.slots import Kept, Round, Slots, Way, keep, rounds_kept, this_host
from harness.loading import LoadedScenario
from harness.model.faults import DefectFault
from harness.model.scenario import Scenario
from harness.reading import read
from harness.sinks.journal import WINDOWS, read_story
from harness.trial.criteria import baseline_held, load_was_honest, machine_was_free
from harness.trial.facts import Facts, gathered

_FOLDER = "calibration"  # in the sweep's
_LOOK_S = 0.1
_TAIL_S = 5.0  # for which a stretched trial's outage is watched: its baseline is over by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How it is measured: a baseline of ``hold_s`` in each trial, so long that all of a neighbour's fits beside it."""

    rounds: int = 8
    hold_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What one trial tells of its healthy app. ``failure``: why it could not be measured; empty: it could."""

    p95_ms: float | None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stand:
    """Where the trials of a calibration run. ``token`` is in their ids, as earlier ones may lie beside them."""

    folder: Path
    lanes: tuple[Lane, ...]
    pool: ThreadPoolExecutor
    token: str


def trials_at_once(
    folder: Path, scenarios: Sequence[LoadedScenario], seed: int, asked: int | None, how: Calibration
) -> Generator[str, None, int]:
    """How many trials of the sweep in ``folder`` run side by side on this machine. Yields what is to be told meanwhile.

    One, unless more are ``asked`` for and it was measured, here and with these scenarios, that they leave one another
    alone. None is asked: as was found, or was being measured, before.
    """
    host, hashes, known = this_host(), _hashes(scenarios), slots.stored(folder)
    here = known if known and known.fits(host, hashes) else None
    if asked is None and here is None:
        asked = slots.asked_before(folder / _FOLDER, host=host, hashes=hashes)
    if here is None or asked not in {None, here.asked}:
        if known and asked is None:
            told = f"{slots.FILE} is of another machine, or of other scenarios; to measure anew: --slots {known.asked}"
            yield f"one trial at a time: {told}"
        if asked is None or asked == 1:
            return 1
        here = yield from _calibrated(folder, scenarios, seed, asked, how)
    yield str(here)
    return here.allowed


def _calibrated(
    folder: Path, scenarios: Sequence[LoadedScenario], seed: int, asked: int, how: Calibration
) -> Generator[str, None, Slots]:
    rounds: list[Round] = []
    for each in measured(scenarios, folder / _FOLDER, asked, seed, how):
        rounds.append(each)
        yield f"round {len(rounds)} of {how.rounds}: {each}"
        if slots.decided(rounds):
            break
    found = slots.concluded(rounds, asked=asked, host=this_host(), hashes=_hashes(scenarios))
    if found.quiet:  # else the next call may find it so
        slots.write(folder, found)
    slots.forget(folder / _FOLDER)
    return found


def measured(
    scenarios: Sequence[LoadedScenario], folder: Path, count: int, seed: int, how: Calibration
) -> Iterator[Round]:
    """Round after round, as they end: one trial alone, and ``count`` side by side, in an order that alternates.

    Each is kept in ``folder``. Those of a calibration that was cut short come first, and are not measured again.

    Of the scenarios each is measured in turn, beside the next one. The fixer does nothing. Both trials of a round that
    are compared have the same seed: the same arrivals. They keep the scenario's load, app and SLOs; their baseline is
    longer. The neighbours are the scenario as it is. They begin once the measured one is under load, so that their
    start falls into its baseline, and their fault too.
    """
    host, hashes = this_host(), _hashes(scenarios)
    before = rounds_kept(folder, asked=count, host=host, hashes=hashes)
    yield from before
    if len(before) >= how.rounds:
        return
    with lanes(folder, count) as (free, pool):
        stand = _Stand(folder=folder, lanes=tuple(free), pool=pool, token=secrets.token_hex(3))
        for number in range(len(before) + 1, how.rounds + 1):
            one, other = scenarios[(number - 1) % len(scenarios)], scenarios[number % len(scenarios)]
            made = _round(stand, number, one, other, seed, how)
            keep(folder, Kept(asked=count, host=host, hashes=hashes, round=made))
            yield made


def _round(
    stand: _Stand, number: int, one: LoadedScenario, other: LoadedScenario, sweep_seed: int, how: Calibration
) -> Round:
    name = one.spec.metadata.name
    seed, file = seed_of(sweep_seed, name, number), stand.folder / f"{name}.yml"
    stand.folder.mkdir(parents=True, exist_ok=True)
    file.write_text(stretched(one, how.hold_s), encoding="utf-8")
    order: tuple[Way, Way] = ("alone", "beside") if number % 2 else ("beside", "alone")
    found: dict[Way, Stretch] = {}
    for way in order:
        id_ = f"calibration-{stand.token}-{number}-{way}"
        found[way] = _run(stand.lanes[0], file, seed, id_) if way == "alone" else _beside(stand, file, other, seed, id_)
    return Round(
        scenario=name,
        neighbour=other.spec.metadata.name,
        seed=seed,
        first=order[0],
        alone_p95_ms=found["alone"].p95_ms,
        beside_p95_ms=found["beside"].p95_ms,
        void=found["alone"].failure,
        lost=found["beside"].failure,
    )


def _beside(stand: _Stand, file: Path, other: LoadedScenario, seed: int, id_: str) -> Stretch:
    """The measured one, with neighbours. Its failure is theirs, too: a sweep would lose those trials."""
    first, *rest = stand.lanes
    one = stand.pool.submit(_run, first, file, seed, id_)
    windows = first.results / id_ / WINDOWS
    while not one.done() and not (windows.exists() and windows.stat().st_size):
        wait([one], timeout=_LOOK_S)
    neighbours = [
        stand.pool.submit(_run, lane, other.file, seed + number, f"{id_}-{number}")
        for number, lane in enumerate(rest, start=1)
    ]
    ended = [one.result(), *(each.result() for each in neighbours)]
    return Stretch(p95_ms=ended[0].p95_ms, failure=next((each.failure for each in ended if each.failure), ""))


def _run(lane: Lane, file: Path, seed: int, id_: str) -> Stretch:
    words = ["--fixer", "noop", "--retriever", "none", "--seed", str(seed), "--id", id_, "--no-track"]
    try:
        lane.run(str(file), *words)
    except MeasurementError as error:
        return Stretch(p95_ms=None, failure=" ".join(error.message.split()))
    return seen(lane.results / id_)


def seen(folder: Path) -> Stretch:
    """What an ended trial in ``folder`` tells. Whether it was measured is asked of what lies before any fixer."""
    story = list(read_story(folder))
    facts = gathered(story, ended_s=max(event.at_s for event in story))
    scenario, _ = read(folder / "scenario.yml", Scenario)
    p95_ms = _p95_ms(facts, scenario.steady_state.warmup_s)
    checks = (machine_was_free(facts), load_was_honest(scenario, facts), baseline_held(facts))
    failed = next((f"{check.name}: no: {check.evidence}" for check in checks if not check.passed), "")
    if failed and facts.failure:
        failed = f"{facts.failure}; {failed}"
    return Stretch(p95_ms=p95_ms, failure=failed or ("" if p95_ms else "nothing was answered"))


def _p95_ms(facts: Facts, warmup_s: float) -> float | None:
    """From the warm-up to the end of the baseline: the geometric mean of p95, of each window and route alike.

    All windows count, not only those in which the SLOs held in the end: what a neighbour broke is to be seen.
    """
    if not facts.baseline:
        return None
    first_s, end_s = facts.windows[0].start_s + warmup_s, facts.baseline[-1].end_s
    windows = [window for window in facts.windows if first_s <= window.start_s < end_s]
    logs = [math.log(route.p95_ms) for window in windows for route in window.routes.values() if route.p95_ms]
    return math.exp(fmean(logs)) if logs else None


def _hashes(scenarios: Sequence[LoadedScenario]) -> dict[str, str]:
    return {each.spec.metadata.name: each.hash for each in scenarios}


def stretched(loaded: LoadedScenario, hold_s: float) -> str:
    """The scenario with a baseline of at least ``hold_s`` and a short end, as a file (JSON, which is YAML) for any
    folder: what it names, it names by absolute paths. Nothing of it is for a fixer, so there is no answer in it."""
    spec = loaded.spec
    steady = spec.steady_state.model_copy(update={"hold_s": max(hold_s, spec.steady_state.hold_s)})
    recovery = spec.recovery.model_copy(update={"horizon_s": min(_TAIL_S, spec.recovery.horizon_s)})
    target: dict[str, object] = {"app": str(loaded.app.resolve())}
    if loaded.defect:
        target["defect"] = str(loaded.defect.resolve())
    file = spec.load.locustfile
    made = spec.model_copy(
        update={
            "steady_state": steady,
            "recovery": recovery,
            "target": spec.target.model_copy(update=target),
            "load": spec.load.model_copy(update={"locustfile": _absolute(loaded, file)}) if file else spec.load,
            "method": tuple(
                each.model_copy(update={"patch": _absolute(loaded, each.patch)})
                if isinstance(each, DefectFault)
                else each
                for each in spec.method
            ),
            "checks": tuple(str(check.resolve()) for check in loaded.checks),
            "reference": None,
            "cheats": None,
        }
    )
    return made.model_dump_json(by_alias=True, exclude_unset=True, indent=2)


def _absolute(loaded: LoadedScenario, name: str) -> str:
    return str(loaded.path(name).resolve())
