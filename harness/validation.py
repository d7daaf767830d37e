"""Are these scenario files right? Starts nothing."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ScenarioError
from harness.loading import load_scenario, scenario_files


def validate(*scenarios: Path | str) -> list[ScenarioError]:
    """The errors in the scenario files, or in all of scenarios/ where none is named; empty when all are right."""
    errors: list[ScenarioError] = []
    for file in scenario_files(tuple(Path(name) for name in scenarios)):
        try:
            load_scenario(file)
        except ScenarioError as error:
            errors.append(error)
    return errors
