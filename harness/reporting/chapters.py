"""Which notebooks a report is made of: that depends on what the folders hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import InputError
from harness.experiment.manifest import PLAN
from harness.experiment.nights import counts, nights_in
from harness.experiment.results import FILE
from harness.experiment.sides import Side, side
from harness.reporting.learning import courses
from harness.reporting.recall import fixers
from harness.sinks.journal import VERDICT

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A notebook with its parameters."""

    notebook: Path
    parameters: dict[str, str | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """``left_out``: what there is nothing to say about, and why."""

    title: str
    chapters: tuple[Chapter, ...]
    left_out: tuple[str, ...] = ()


def outline(folders: Sequence[Path], against: str = "") -> Outline:
    """Of one trial or several; of a sweep, or two of them that are compared; of the nights in a folder.

    ``against`` is the arm that the others are compared with. InputError where a folder holds nothing of the kind, or
    they do not go together.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}", cure="name one of a trial, a sweep, or nights")
    if all((folder / VERDICT).exists() for folder in folders):
        chapters = tuple(_chapter("01_trial", trial=str(folder)) for folder in folders)
        return Outline(title=", ".join(folder.name for folder in folders), chapters=chapters)
    if len(folders) == 2:
        first, second = map(str, folders)
        told = _chapter("02_compare", first=first, second=second, against="")
        return Outline(title=f"{folders[0].name} against {folders[1].name}", chapters=(told,))
    if len(folders) > 2:
        cure = "name trials, or one or two sweeps, or one folder of nights"
        raise InputError(f"{len(folders)} folders that are not all of trials", cure=cure)
    (folder,) = folders
    is_of_nights = not (folder / FILE).exists() and any(folder.glob(f"*/{PLAN}"))
    return _of_nights(folder, against) if is_of_nights else _of_sweep(folder, against)


def _of_nights(folder: Path, against: str) -> Outline:
    """The trend, and the last night against the first; of a single one that counts its own sweep."""
    first, others = nights_in(folder)
    later = [night for night in others if counts(night)]
    if not later:
        alone = _of_sweep(first, against)
        without = [f"{night.name}: no measured trial" for night in others]
        return replace(alone, left_out=(*alone.left_out, "06_nightly_trend: there is one night", *without))
    last = folder / later[-1].name
    chapters = (
        _chapter("06_nightly_trend", nights=str(folder), baseline=""),
        _chapter("02_compare", first=str(last), second=str(first), against=""),
    )
    return Outline(title=folder.name, chapters=chapters)


def _of_sweep(folder: Path, against: str) -> Outline:
    given = side(str(folder))
    name = str(folder)
    chapters = [_chapter("02_compare", first=name, second="", against=against)]
    left_out = []
    for reason, told, about in (
        ("no fix went live with a confidence", _chapter("03_calibration", trials=name), _is_confident),
        ("no fixer went with two retrievers", _chapter("04_retrieval", trials=name), lambda it: bool(fixers(it))),
        ("the knowledge base was frozen", _chapter("05_learning_curve", trials=name), lambda _: _learns(folder)),
    ):
        tell: Callable[[Side], bool] = about
        if tell(given):
            chapters.append(told)
        else:
            left_out.append(f"{told.notebook.stem}: {reason}")
    return Outline(title=folder.name, chapters=tuple(chapters), left_out=tuple(left_out))


def _is_confident(given: Side) -> bool:
    rows = (row for trials in given.arms.values() for row in trials.values())
    return any(row.measured and row.live and row.confidence is not None for row in rows)


def _learns(folder: Path) -> bool:
    return any(each.snapshots > 1 for each in courses(folder))


def _chapter(name: str, **parameters: str | float) -> Chapter:
    notebook = NOTEBOOKS / f"{name}.ipynb"
    if not notebook.exists():
        raise InputError(f"there is no notebook {notebook}", cure="run from a checkout: notebooks/ is not installed")
    return Chapter(notebook=notebook, parameters=parameters)
