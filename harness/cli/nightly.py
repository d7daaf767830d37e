"""``harness nightly``: the same experiment each night, held against a baseline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from harness.cli.sweep import carry_on
from harness.experiment.compared import markdown
from harness.experiment.manifest import begun
from harness.experiment.nights import counts, nights_in, text, watched
from harness.experiment.sides import side
from harness.experiment.sweep import Sweep
from harness.model.experiment import Experiment
from harness.reading import read


@click.command("nightly")
@click.argument("experiment", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--baseline", type=click.Path(path_type=Path, file_okay=False), help="The sweep that was good.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results/nightly"),
    show_default=True,
    help="Where each night gets a folder, named by its date.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of Dask: run on its machines, instead of on this one.")
@click.option("--look", is_flag=True, help="Run nothing: look at the nights that there are.")
def command(experiment: Path, baseline: Path | None, results: Path, scheduler: str | None, look: bool) -> None:
    """Run EXPERIMENT, a file as harness sweep takes it, and tell whether it has become worse since the baseline.

    Without --baseline the first night with a measured trial is it; what is not later than it is no night. Exit code 1
    on an alarm of any arm, and at most one in twenty seasons of thirty nights has a false one.

    \b
    Examples:
      harness nightly experiment.yml --baseline results/good >> "$GITHUB_STEP_SUMMARY"
      harness nightly experiment.yml --look
    """
    given, _ = read(experiment, Experiment)
    if not look:
        tonight = given.model_copy(update={"name": f"{datetime.now(UTC):%Y-%m-%d}"})
        with begun(tonight, experiment.parent, results / tonight.name) as place:
            carry_on(Sweep(place=place), scheduler, track=False, err=True)
    first, nights = nights_in(results, baseline)
    if not any(counts(night) for night in nights):
        click.echo(f"{first} is the baseline from now on.")
    if not nights:
        return
    found = watched(side(str(first)), nights)
    click.echo(text(found))
    if last := [each.last for each in found if each.last]:
        click.echo("## The last night against the baseline\n")
        click.echo(markdown(last))
    click.get_current_context().exit(1 if any(each.alarm for each in found) else 0)
