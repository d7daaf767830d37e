"""What is compared: the trials of an arm, from a sweep's folder, any folder of trials, or MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.experiment.logged import logged
from harness.experiment.results import FILE, TrialRow, counted, row_of, rows
from harness.model.scenario import Scenario
from harness.reading import read
from harness.sinks.journal import VERDICT
from harness.sinks.tracking import tracking_uri

_MLFLOW = "mlflow:"
Key = tuple[str, int]  # scenario and seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """``name`` as the user gave it; ``trials`` of each arm, one for each scenario and seed."""

    name: str
    arms: Mapping[str, Mapping[Key, TrialRow]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """Two arms. ``first`` is asked about: is it better than ``second``?"""

    name: str
    first: Mapping[Key, TrialRow]
    second: Mapping[Key, TrialRow]


def side(given: str, results: Path = Path("results")) -> Side:
    """``FOLDER``, or ``FOLDER:FIXER@RETRIEVER`` for one arm of it; from MLflow ``mlflow:NAME`` of an experiment, a
    sweep or a trial, or the id of its run, with ``:FIXER@RETRIEVER``, ``?FILTER``, or both in this order.

    Where MLFLOW_TRACKING_URI names no MLflow, it is that of the folder ``results``. InputError where there is none.
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
        what, found = str(folder), list(_of_folders([alone]) if alone.exists() else rows_of(folder))
    if not found:
        raise InputError(f"{what} holds no trial that has ended", cure="run some: harness sweep --help")
    arms = arms_of(found)
    if arm and arm not in arms:
        raise InputError(f"{what} has no arm {arm}", cure=f"it has {', '.join(sorted(arms))}")
    return Side(name=given, arms={arm: arms[arm]} if arm else arms)


def arms_of(found: Sequence[TrialRow]) -> dict[str, dict[Key, TrialRow]]:
    """Of one scenario and seed, the first that was measured counts.

    In the order of time: the numbers are the same to the last digit, wherever the rows are from.
    """
    arms: dict[str, dict[Key, TrialRow]] = {}
    for row in sorted(found, key=lambda row: (row.started_at, row.trial)):
        known = arms.setdefault(row.arm, {})
        if (row.scenario, row.seed) not in known or not known[row.scenario, row.seed].measured:
            known[row.scenario, row.seed] = row
    return arms


def versus(first: Side, second: Side) -> list[Versus]:
    """Which arms meet: the one of each, or those that both have.

    InputError where none do, and where they cannot be compared: by other judges, or on other versions of a scenario.
    """
    if len(first.arms) == len(second.arms) == 1:
        ((one, a),) = first.arms.items()
        ((other, b),) = second.arms.items()
        found = [Versus(name=one if one == other else f"{one} against {other}", first=a, second=b)]
    else:
        common = [arm for arm in first.arms if arm in second.arms]
        found = [Versus(name=arm, first=first.arms[arm], second=second.arms[arm]) for arm in common]
    if not found:
        arms = ", ".join(sorted({*first.arms, *second.arms}))
        raise InputError("the two have no arm in common", cure=f"name one of each, as FOLDER:ARM; there are {arms}")
    for each in found:
        _require_comparable(each)
    return found


def _require_comparable(given: Versus) -> None:
    """A number would be worse than none here."""
    every = [*given.first.values(), *given.second.values()]
    judges = sorted({row.judge for row in every})
    if len(judges) > 1:
        cure = "harness rejudge the older trials, or run them again"
        raise InputError(f"{given.name}: judged by the judges {' and '.join(judges)}", cure=cure)
    scenarios = {scenario for scenario, _ in given.first} & {scenario for scenario, _ in given.second}
    if not scenarios:
        raise InputError(f"{given.name}: the two have no scenario in common", cure="run both on the same ones")
    for name in sorted(scenarios):
        if len({row.scenario_hash for row in every if row.scenario == name}) > 1:
            what = f"{given.name}: they met other versions of {name}: other load, checks, horizon or code"
            raise InputError(what, cure="run both on the same version")


def rows_of(folder: Path, *, every: bool = False) -> Sequence[TrialRow]:
    """The trials of a folder, those of a sweep that count; ``every``: all of them."""
    if (folder / FILE).exists():
        return rows(folder) if every else counted(rows(folder))
    return list(_of_folders(sorted(folder.glob(f"*/{VERDICT}"))))


def _of_folders(verdicts: Iterable[Path]) -> Iterator[TrialRow]:
    for path in verdicts:
        scenario, _ = read(path.parent / "scenario.yml", Scenario)
        verdict, metadata = json.loads(path.read_bytes()), scenario.metadata
        took_s = max((phase["end_s"] for phase in verdict["phases"]), default=0.0)
        yield row_of(verdict, cell=None, fault_class=metadata.fault_class, control=metadata.control, wall_s=took_s)
