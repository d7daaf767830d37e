"""``harness validate``: is this scenario file right, and can its verdicts be trusted?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.loading import load_scenario, scenario_files
from harness.model.scenario import Scenario
from harness.validation import validate


@click.command("validate")
@click.argument("scenarios", nargs=-1, type=click.Path(path_type=Path))
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a scenario, from which editors complete.")
@click.option("--prove", is_flag=True, help="Run what each must stand: doing nothing, the reference, every wrong fix.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Of no-op and reference.")
@click.option("--cheat-repeats", type=click.IntRange(min=0), default=1, show_default=True, help="Of each wrong fix.")
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
    _prove(files, proof, results, repeats, cheat_repeats)


def _prove(files: list[Path], proof: Path, results: Path, repeats: int, cheat_repeats: int) -> None:
    # imported here: they bring fixers and services, and a check of files is to start in a blink
    from harness.experiment import matrix  # noqa: PLC0415
    from harness.experiment.proof import rows  # noqa: PLC0415
    from harness.experiment.prove import Plan, present, prove  # noqa: PLC0415
    from harness.sinks.journal import write_atomically  # noqa: PLC0415

    plan = Plan(results=results, proof=proof, repeats=repeats, cheat_repeats=cheat_repeats)
    proven = [load_scenario(file) for file in files]
    for loaded in proven:
        for row in prove(loaded, plan, lambda text: click.echo(text, err=True)):
            mark = "ok   " if row.as_it_must or not row.measured else "WRONG"
            click.echo(f"{mark} {row.scenario} {row.arm}: {row.outcome} by {row.rule} ({row.how}, {row.seconds:g} s)")
    everything = rows(proof)
    counted = [row for loaded in proven for row in present(loaded, everything)]
    siblings = sorted({loaded.file.parent.resolve() for loaded in proven})
    every = [load_scenario(each) for folder in siblings for each in scenario_files((), folder)]
    told = [row for loaded in every for row in present(loaded, everything)]
    write_atomically(proof.with_suffix(".md"), matrix.page(told, len(everything) - len(told)).encode())
    click.echo("\n".join(matrix.lines(counted)))
    wrong = any(row.measured and not row.as_it_must for row in counted)
    click.get_current_context().exit(1 if wrong else 0)
