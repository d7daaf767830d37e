"""``run`` as a function, for the command line, notebooks and tests. Importing this starts nothing."""

from __future__ import annotations

from pathlib import Path

from harness.loading import load_scenario
from harness.model.verdict import Verdict
from harness.options import Options
from harness.services.containment import Isolation
from harness.settings import Settings
from harness.trial.run import run_trial
from harness.wiring import wired


def run(
    scenario: Path | str,
    *,
    fixer: str | None = None,
    retriever: str = "lexical",
    seed: int | None = None,
    results: Path | str = "results",
    id: str | None = None,
    kb: str | None = None,
    min_confidence: float | None = None,
    learn: bool = False,
    record: bool = True,
    replay: Path | str | None = None,
    withdraw: bool = False,
    isolation: Isolation = "auto",
    compose: Path | str | None = None,
    ecs: Path | str | None = None,
    track: bool = True,
    alert: bool = False,
    console: bool = False,
) -> Verdict:
    """Run one trial and return its verdict. InputError on bad input; a machine's failure is an INVALID verdict.

    ``compose`` is a compose file in whose containers the app runs, ``ecs`` a file that says which service of ECS does;
    with neither, it runs as processes of this machine.
    """
    loaded = load_scenario(Path(scenario))
    options = Options(
        results=Path(results),
        id=id,
        fixer=fixer,
        retriever=retriever,
        seed=seed,
        kb=kb,
        min_confidence=min_confidence,
        learn=learn,
        record=record,
        replay=Path(replay) if replay else None,
        track=track,
        alert=alert,
        withdraw=withdraw,
        isolation=isolation,
        compose=Path(compose) if compose else None,
        ecs=Path(ecs) if ecs else None,
    )
    with wired(loaded, options, Settings.read(), show=console) as ready:
        verdict = run_trial(ready.world)
        ready.finish()
    return verdict
