"""``harness validate``: is this scenario file right?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.loading import scenario_files
from harness.model.scenario import Scenario
from harness.validation import validate


@click.command("validate")
@click.argument("scenarios", nargs=-1, type=click.Path(path_type=Path))
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a scenario, from which editors complete.")
def command(scenarios: tuple[Path, ...], schema: bool) -> None:
    """Check SCENARIOS, or all of scenarios/, without starting anything. Exit code 2 when one is wrong.

    \b
    Examples:
      harness validate scenarios/pool_exhaustion.yml
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
    click.get_current_context().exit(2 if errors else 0)
