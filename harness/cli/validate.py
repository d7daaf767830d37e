"""``harness validate``: is this scenario file right, and can its verdicts be trusted?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.errors import MeasurementError
from harness.loading import load_scenario, scenario_files
from harness.model.scenario import Scenario
from harness.validation import validate


@click.command("validate")
@click.argument("scenarios", nargs=-1, type=click.Path(path_type=Path))
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a scenario, from which editors complete.")
@click.option("--prove", is_flag=True, help="Run what each must stand: doing nothing, the reference, every wrong fix.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Of no-op and reference.")
@click.option("--cheat-repeats", type=click.IntRange(min=0), default=1, show_default=True, help="Of each wrong fix.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Trials side by side.")
@click.option(
    "--proof",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("results/proof.jsonl"),
    show_default=True,
    help="Rows are added to this file, and a page of the same name is written; what it has is not run again.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where the trials' folders go.",
)
def command(
    scenarios: tuple[Path, ...],
    schema: bool,
    prove: bool,
    repeats: int,
    cheat_repeats: int,
    jobs: int,
    proof: Path,
    results: Path,
) -> None:
    """Check SCENARIOS, or all of scenarios/, without starting anything. Exit code 2 when one is wrong.

    With --prove, run the trials that show whether their verdicts can be trusted; exit code 1 when one came out as it
    must not. Ctrl-C is safe: the next call goes on from there.

    \b
    Examples:
      harness validate scenarios/pool_exhaustion.yml
      harness validate --prove --repeats 5 scenarios/pool_exhaustion.yml
      harness validate --schema > scenarios/schema.json
    """
    if schema:
        click.echo(json.dumps(Scenario.model_json_schema(), indent=2))
        return
    files = scenario_files(scenarios)
    errors = validate(*files)
    for error in errors:
        click.echo(f"error: {error}", err=True)
    click.echo(f"{len(files) - len(errors)} of {len(files)} scenarios are valid")
    if errors or not prove:
        click.get_current_context().exit(2 if errors else 0)
    counts = {"repeats": repeats, "cheat_repeats": cheat_repeats, "jobs": jobs}
    click.get_current_context().exit(0 if _proven(files, proof, results, counts) else 1)


def _proven(files: list[Path], proof: Path, results: Path, counts: dict[str, int]) -> bool:
    """Whether nothing came out as it must not."""
    # imported here: they bring fixers and services, and a check of files is to start in a blink
    from harness.experiment import matrix  # noqa: PLC0415
    from harness.experiment.arms import Arms  # noqa: PLC0415
    from harness.experiment.prove import Plan, counted, prove  # noqa: PLC0415
    from harness.sinks.journal import write_atomically  # noqa: PLC0415

    proven = [load_scenario(file) for file in files]
    arms, plan, failure = Arms(), Plan(results=results, proof=proof, **counts), None
    try:
        for row in prove(proven, arms, plan, lambda text: click.echo(text, err=True)):
            mark = "ok   " if row.as_it_must else "WRONG" if row.measured else "void "
            click.echo(f"{mark} {row.scenario} {row.arm}: {row.outcome} by {row.rule} ({row.how}, {row.seconds:g} s)")
    except MeasurementError as error:
        failure = error
    siblings = sorted({loaded.file.parent.resolve() for loaded in proven})
    every = [load_scenario(each) for folder in siblings for each in scenario_files((), folder)]
    if beside := len(every) - len(proven):
        click.echo(f"The page tells of {beside} more scenarios: reading their wrong fixes ...", err=True)
    told, older = counted(every, arms, proof)
    write_atomically(proof.with_suffix(".md"), matrix.page(told, older).encode())
    names = {loaded.spec.metadata.name for loaded in proven}
    asked = [row for row in told if row.scenario in names]
    click.echo("\n".join(matrix.lines(asked)))
    if failure:
        raise failure
    return all(row.as_it_must for row in asked if row.measured)
