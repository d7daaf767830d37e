"""What the commands do, as functions for notebooks and tests. Importing this starts nothing."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ScenarioError
from harness.loading import load_scenario, scenario_files
from harness.model.verdict import Verdict
from harness.settings import Settings
from harness.trial.run import run_trial
from harness.wiring import Options, wired


def run(
    scenario: Path | str,
    *,
    fixer: str | None = None,
    retriever: str = "lexical",
    seed: int | None = None,
    results: Path | str = "results",
    learn: bool = False,
    track: bool = True,
    console: bool = False,
) -> Verdict:
    """Run one trial and return its verdict. InputError on bad input; a machine's failure is an INVALID verdict."""
    loaded = load_scenario(Path(scenario))
    options = Options(results=Path(results), fixer=fixer, retriever=retriever, seed=seed, learn=learn, track=track)
    with wired(loaded, options, Settings.read(), show=console) as ready:
        verdict = run_trial(ready.world)
        ready.finish()
    return verdict


def validate(*scenarios: Path | str) -> list[ScenarioError]:
    """The errors in the scenario files, or in all of scenarios/ where none is named. Starts nothing."""
    errors: list[ScenarioError] = []
    for file in scenario_files(tuple(Path(name) for name in scenarios)):
        try:
            load_scenario(file)
        except ScenarioError as error:
            errors.append(error)
    return errors
