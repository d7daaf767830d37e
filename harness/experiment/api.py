"""``sweep``, ``compare`` and ``calibration`` as functions, for notebooks and programs. Importing it starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.experiment.compare import WORTH, Report
from harness.experiment.compare import report as compared
from harness.experiment.manifest import begun
from harness.experiment.results import TrialRow, counted, rows
from harness.experiment.sides import side, versus
from harness.experiment.sweep import Progress, Sweep
from harness.experiment.trust import Trust, Whose, trust
from harness.model.experiment import Experiment
from harness.reading import read


def sweep(
    experiment: Experiment | Path | str,
    *,
    results: Path | str = "results",
    scheduler: str | None = None,
    track: bool = True,
    tell: Callable[[Progress], object] = lambda _: None,
) -> list[TrialRow]:
    """Run what is missing of it, and return the trials that count. ``tell`` hears of each as it ends.

    ``experiment`` is a file, or made here: then its scenarios' files count from where we are. The sweep is a folder of
    its name in ``results``. InputError, MeasurementError; Ctrl-C ends the trials that run, and the next call goes on.
    """
    if isinstance(experiment, Experiment):
        given, base = experiment, Path()
    else:
        given, base = read(Path(experiment), Experiment)[0], Path(experiment).parent
    with begun(given, base, Path(results) / given.name) as place:
        there = Sweep(place=place)
        for progress in there.run(scheduler):
            tell(progress)
        if track:
            there.track()
        return counted(rows(there.folder))


def compare(first: Path | str, second: Path | str, *, worth: float = WORTH) -> list[Report]:
    """Is the first better? One report for each pair of arms that meet; sides as ``harness compare`` takes them.

    InputError where they cannot be compared.
    """
    return [compared(each, worth) for each in versus(side(str(first)), side(str(second)))]


def calibration(
    trials: Path | str, *, confidence: Whose = "stated", benefit: float = 1.0, cost: float = 5.0
) -> list[Trust]:
    """For each arm whose fixes went live with a confidence. InputError where there is none."""
    return trust(side(str(trials)), confidence, benefit=benefit, cost=cost)
