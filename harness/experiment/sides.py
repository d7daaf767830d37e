"""What is compared: the trials of an arm, from a sweep's folder, any folder of trials, or MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from harness.experiment.logged import logged
from harness.experiment.rejudge import judged_last
from harness.experiment.results import FILE, TrialRow, counted, row_of, rows
from harness.model.scenario import Scenario
from harness.reading import read
from harness.sinks.journal import VERDICT
from harness.sinks.tracking import tracking_uri

_MLFLOW = "mlflow:"
Key = tuple[str, int]  # scenario and seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncounted:
    """Trials of an arm in whose place another one of the same scenario and seed counts."""

    again: tuple[TrialRow, ...] = ()  # INVALID, and run again
    repeats: tuple[TrialRow, ...] = ()  # of one that was measured

    def within(self, scenarios: Iterable[str]) -> Uncounted:
        known = {*scenarios}
        again, repeats = (tuple(row for row in of if row.scenario in known) for of in (self.again, self.repeats))
        return Uncounted(again=again, repeats=repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """``name`` as the user gave it; ``trials`` of each arm, one for each scenario and seed.

    ``uncounted`` has the arms of which there are more; none of them is in ``arms``.
    """

    name: str
    arms: Mapping[str, Mapping[Key, TrialRow]]
    uncounted: Mapping[str, Uncounted] = field(default_factory=dict)

    def only(self, names: Iterable[str]) -> Side:
        """Those arms, in that order."""
        arms = {name: self.arms[name] for name in names}
        return Side(name=self.name, arms=arms, uncounted={name: self.beside(name) for name in arms})

    def beside(self, arm: str) -> Uncounted:
        return self.uncounted.get(arm, Uncounted())


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """Two arms. ``first`` is asked about: is it better than ``second``? ``uncounted`` of either."""

    name: str
    first: Mapping[Key, TrialRow]
    second: Mapping[Key, TrialRow]
    uncounted: tuple[Uncounted, Uncounted] = (Uncounted(), Uncounted())


def side(given: str, results: Path = Path("results")) -> Side:
    """``FOLDER``, or ``FOLDER:FIXER@RETRIEVER`` for one arm of it; from MLflow ``mlflow:NAME`` of an experiment, a
    sweep or a trial, or the id of its run, with ``:FIXER@RETRIEVER``, ``?FILTER``, or both in this order.

    Where MLFLOW_TRACKING_URI names no MLflow, it is that of the folder ``results``. InputError where there is none, and
    where an arm has trials of several models.
    """
    if given.startswith(_MLFLOW):
        named, _, where = given.removeprefix(_MLFLOW).partition("?")
        name, _, arm = named.partition(":")
        what, found = f"{_MLFLOW}{name}", logged(name, where.strip(), tracking_uri(results))
    else:
        name, _, arm = given.partition(":")
        folder = Path(name)
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}", cure="name a sweep's folder, or one that holds trials")
        alone = folder / VERDICT  # of one trial
        what, found = str(folder), [*(_of_folders([alone]) if alone.exists() else rows_of(folder, every=True))]
    if not found:
        raise InputError(f"{what} holds no trial that has ended", cure="run some: harness sweep --help")
    told = counting(given, found)
    if arm and arm not in told.arms:
        raise InputError(f"{what} has no arm {arm}", cure=f"it has {', '.join(sorted(told.arms))}")
    told = told.only([arm]) if arm else told
    for each in told.arms:
        _require_one_model(what, each, [row for row in found if row.arm == each])
    return told


def counting(name: str, found: Sequence[TrialRow]) -> Side:
    """Of one scenario and seed, the first that was measured counts.

    In the order of time: the numbers are the same to the last digit, wherever the rows are from.
    """
    arms: dict[str, dict[Key, TrialRow]] = {}
    again: dict[str, list[TrialRow]] = {}
    repeats: dict[str, list[TrialRow]] = {}
    for row in sorted(found, key=lambda row: (row.started_at, row.trial)):
        known, key = arms.setdefault(row.arm, {}), (row.scenario, row.seed)
        if key in known and known[key].measured:
            repeats.setdefault(row.arm, []).append(row)
            continue
        if key in known:
            again.setdefault(row.arm, []).append(known[key])
        known[key] = row
    uncounted = {
        arm: Uncounted(again=tuple(again.get(arm, ())), repeats=tuple(repeats.get(arm, ())))
        for arm in arms
        if arm in again or arm in repeats
    }
    return Side(name=name, arms=arms, uncounted=uncounted)


def _require_one_model(what: str, arm: str, trials: Sequence[TrialRow]) -> None:
    """What two models did together is true of neither.

    A trial names the model that answered; where none did, the one that was asked for, by a name of which the server's
    own may differ. So two names may be of one model, if one answered and the other never did.
    """
    named = {row.model for row in trials if row.model}
    answered = {row.model for row in trials if row.model and (row.live or row.propose_s is not None)}
    if max(len(answered), len(named - answered)) > 1:
        first = min(answered or named)
        cure = f"name one sweep, by its name or folder, or take one: \"mlflow:NAME:{arm}?params.model = '{first}'\""
        raise InputError(f"{what}: {arm} has trials of the models {' and '.join(sorted(named))}", cure=cure)


def versus(first: Side, second: Side) -> list[Versus]:
    """Which arms meet: the one of each, or those that both have.

    InputError where none do, and where they cannot be compared: by other judges, or on other versions of a scenario.
    """
    if len(first.arms) == len(second.arms) == 1:
        (one,), (other,) = first.arms, second.arms
        met = [(one, other)]
    else:
        met = [(arm, arm) for arm in first.arms if arm in second.arms]
    if not met:
        arms = ", ".join(sorted({*first.arms, *second.arms}))
        raise InputError("the two have no arm in common", cure=f"name one of each, as FOLDER:ARM; there are {arms}")
    found = [
        Versus(
            name=one if one == other else f"{one} against {other}",
            first=first.arms[one],
            second=second.arms[other],
            uncounted=(first.beside(one), second.beside(other)),
        )
        for one, other in met
    ]
    for each in found:
        _require_comparable(each)
    return found


def _require_comparable(given: Versus) -> None:
    """A number would be worse than none here."""
    every = [*given.first.values(), *given.second.values()]
    judges = sorted({row.judge for row in every})
    if len(judges) > 1:
        cure = "harness rejudge the older trials and compare their folders, or run them again"
        raise InputError(f"{given.name}: judged by the judges {' and '.join(judges)}", cure=cure)
    scenarios = {scenario for scenario, _ in given.first} & {scenario for scenario, _ in given.second}
    if not scenarios:
        raise InputError(f"{given.name}: the two have no scenario in common", cure="run both on the same ones")
    for name in sorted(scenarios):
        if len({row.scenario_hash for row in every if row.scenario == name}) > 1:
            what = f"{given.name}: they met other versions of {name}: other load, checks, horizon or code"
            raise InputError(what, cure="run both on the same version")


def rows_of(folder: Path, *, every: bool = False) -> Sequence[TrialRow]:
    """The trials of a folder, those of a sweep that count; ``every``: all of them. Each as it was judged last."""
    if (folder / FILE).exists():
        found = [judged_last(row, folder / row.trial) for row in rows(folder)]
        return found if every else counted(found)
    return list(_of_folders(sorted(folder.glob(f"*/{VERDICT}"))))


def _of_folders(verdicts: Iterable[Path]) -> Iterator[TrialRow]:
    for path in verdicts:
        scenario, _ = read(path.parent / "scenario.yml", Scenario)
        verdict, metadata = json.loads(path.read_bytes()), scenario.metadata
        took_s = max((phase["end_s"] for phase in verdict["phases"]), default=0.0)
        first = row_of(verdict, cell=None, fault_class=metadata.fault_class, control=metadata.control, wall_s=took_s)
        yield judged_last(first, path.parent)
