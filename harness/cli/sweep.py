"""``harness sweep``: many trials of many fixers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.core import ParameterSource
from pydantic import ValidationError

from harness.errors import InputError
from harness.experiment.manifest import begun
from harness.experiment.results import TrialRow, counted, rows
from harness.experiment.sweep import Progress, Sweep
from harness.loading import scenario_files
from harness.model.experiment import Arm, Experiment, SweepBudget
from harness.reading import read
from harness.stats.intervals import rate

_OF_A_FILE = {  # parameters that --experiment stands for, as users write them
    "scenarios": "the scenarios",
    "fixers": "--fixer",
    "retrievers": "--retriever",
    **{name: f"--{name}" for name in ("repeats", "seed", "name", "usd", "hours")},
}


@click.command("sweep")
@click.argument("scenarios", nargs=-1, type=click.Path(path_type=Path))
@click.option("--experiment", "file", type=click.Path(path_type=Path, dir_okay=False), help="All of this from a file.")
@click.option("--fixer", "fixers", multiple=True, help="May be repeated; each meets all scenarios.")
@click.option("--retriever", "retrievers", multiple=True, help="May be repeated; each goes with all fixers.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Trials of each.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of order and trials.")
@click.option("--name", default="sweep", show_default=True, help="Of the sweep, and of its folder in the results.")
@click.option("--usd", type=click.FloatRange(min=0, min_open=True), help="Begin no trial once so much was spent.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="The same, by hours of trials.")
@click.option("--scheduler", metavar="ADDRESS", help="Of Dask: run on its machines, instead of on this one.")
@click.option(
    "--slots",
    type=click.IntRange(min=1, max=64),
    help="Trials side by side on this machine, if a calibration shows that they leave one another's p95 as it is. "
    "Else one, or what this sweep has measured here.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where the sweep's folder goes.",
)
@click.option("--no-track", is_flag=True, help="Leave MLflow out.")
@click.option("--dry-run", is_flag=True, help="Show what would be run, and begin nothing.")
def command(
    scenarios: tuple[Path, ...],
    file: Path | None,
    fixers: tuple[str, ...],
    retrievers: tuple[str, ...],
    repeats: int,
    seed: int,
    name: str,
    usd: float | None,
    hours: float | None,
    scheduler: str | None,
    slots: int | None,
    results: Path,
    no_track: bool,
    dry_run: bool,
) -> None:
    """Run SCENARIOS, or all of scenarios/, against each fixer, again and again.

    All fixers meet the same seeds. To call it again goes on where it stopped, also after a crash; nothing runs twice.

    \b
    Examples:
      harness sweep --fixer noop --fixer playbook --fixer reference --repeats 3
      harness sweep scenarios/pool_exhaustion.yml --fixer playbook --retriever none --retriever lexical --name memory
      harness sweep --experiment experiment.yml --slots 2
      harness sweep --experiment experiment.yml --scheduler tcp://192.0.2.7:8786
    """
    if scheduler and slots:
        cure = "leave one out: a worker says with --resources how many trials it takes"
        raise InputError("--slots is for this machine, and --scheduler for others", cure=cure)
    if file:
        source = click.get_current_context().get_parameter_source
        if given := [word for name, word in _OF_A_FILE.items() if source(name) is ParameterSource.COMMANDLINE]:
            raise InputError(f"{file} says what is to be run", cure=f"leave out {', '.join(given)}, or the file")
        experiment, base = read(file, Experiment)[0], file.parent
    else:
        experiment, base = _from_flags(scenarios, fixers, retrievers, repeats, seed, name, usd, hours), Path()
    if dry_run:
        _tell_plan(experiment)
        return
    with begun(experiment, base, results / experiment.name) as place:
        carry_on(Sweep(place=place), scheduler, slots=slots, track=not no_track)
    click.get_current_context().exit(0 if _whole(place.folder, experiment) else 3)


def _from_flags(
    scenarios: tuple[Path, ...],
    fixers: tuple[str, ...],
    retrievers: tuple[str, ...],
    repeats: int,
    seed: int,
    name: str,
    usd: float | None,
    hours: float | None,
) -> Experiment:
    if not fixers:
        raise InputError("no fixer is named", cure="such as --fixer noop --fixer playbook; harness list shows more")
    try:
        return Experiment(
            name=name,
            scenarios=tuple(str(each) for each in scenario_files(scenarios)),
            arms=tuple(Arm(fixer=fixer, retriever=each) for fixer in fixers for each in retrievers or ("lexical",)),
            repeats=repeats,
            seed=seed,
            budget=SweepBudget(usd=usd, time=hours * 3600 if hours else None),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
        raise InputError(what, cure="change the flags") from None


def carry_on(sweep: Sweep, scheduler: str | None, *, track: bool, slots: int | None = None, err: bool = False) -> None:
    """Run what is missing, and tell of each trial as it ends; then of all. MLflow gets them last: it takes seconds.

    ``err``: all that goes to standard error.
    """
    experiment = sweep.place.manifest.experiment
    missing = len(sweep.missing())
    click.echo(f"{sweep.folder}: {missing} trials to run", err=True)
    try:
        for progress in sweep.run(scheduler, slots) if missing else ():
            click.echo(_line(progress), err=err)
    except KeyboardInterrupt:
        click.echo(f"stopped. To go on: harness resume {sweep.folder}", err=True)
        raise
    for line in _table(counted(rows(sweep.folder)), [arm.name for arm in experiment.arms]):
        click.echo(line, err=err)
    if track and not sweep.track():
        click.echo(f"MLflow did not take the trials, see {sweep.folder}/mlflow.log; resume tries again", err=True)


def _line(progress: Progress) -> str:
    width = len(str(progress.of))
    count = f"[{progress.done:>{width}}/{progress.of}]"
    left = "" if progress.left_s is None else f", {_duration(progress.left_s)} left"
    if progress.row is None:
        return f"{count} {progress.told}{left}"
    row = progress.row
    return f"{count} {row.scenario} {row.arm} seed {row.seed}: {row.outcome} by {row.rule} ({row.wall_s:.0f} s{left})"


def _duration(seconds: float) -> str:
    """Such as 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _table(found: Iterable[TrialRow], arms: list[str]) -> list[str]:
    """A line an arm: what it did right, with a 95 % interval, and what could not be measured."""
    found = list(found)
    lines = []
    for arm in arms:
        of_arm = [row for row in found if row.arm == arm]
        measured = [row for row in of_arm if row.measured]
        right = rate(sum(row.good for row in measured), len(measured))
        invalid = len(of_arm) - len(measured)
        lines.append(f"{arm:32} right {right}" + (f", {invalid} INVALID" if invalid else ""))
    return lines


def _tell_plan(experiment: Experiment) -> None:
    count = len(experiment.scenarios) * len(experiment.arms) * experiment.repeats
    click.echo(f"{count} trials: {len(experiment.scenarios)} scenarios, {experiment.repeats} repeats of each arm:")
    for arm in experiment.arms:
        click.echo(f"  {arm.name}")
    click.echo(f"about {_duration(count * 75.0)} on one machine, at 75 s a trial")


def _whole(folder: Path, experiment: Experiment) -> bool:
    """Whether every trial that was wanted could be measured."""
    wanted = len(experiment.scenarios) * len(experiment.arms) * experiment.repeats
    return sum(row.measured for row in counted(rows(folder))) == wanted
