"""``harness run``: one trial."""

from __future__ import annotations

import re
from pathlib import Path

import click

from harness.api import run
from harness.catalogue import RECORDED
from harness.errors import InputError
from harness.services.containment import Isolation
from harness.sinks.journal import verdict_json


@click.command("run")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--fixer", help="A name that harness list shows, cheat:NAME, 'command: ./agent', or your module:Class.")
@click.option("--retriever", default="lexical", show_default=True, help="Where past incidents are looked up.")
@click.option("--seed", type=click.IntRange(min=0), help="Same seed, same arrivals and same upstream draws.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where the trial's folder and MLflow's database go.",
)
@click.option("--kb", metavar="NAME", help="A knowledge base in RESULTS/kb: what it has learnt is searched too.")
@click.option("--learn", is_flag=True, help="Add what this trial teaches to it; it is 'learned' where none is named.")
@click.option(
    "--record/--no-record",
    default=True,
    show_default=True,
    help=f"Keep exchanges with a model, of the fixers {', '.join(RECORDED[:-1])} and {RECORDED[-1]}.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of an earlier trial: the model's answers are taken from there, without key and network. "
    "Without --fixer, the one that was recorded.",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    help="Of fixer and retriever together: what is less sure is not deployed. Else the scenario's own.",
)
@click.option("--withdraw", is_flag=True, help="In the end take the fix away again: the harm must come back.")
@click.option(
    "--isolation",
    type=click.Choice(["auto", "strict", "none"]),
    default="auto",
    show_default=True,
    help="How the app is kept apart: as well as this machine can, wholly or not at all, or by its environment alone.",
)
@click.option(
    "--target",
    default="process",
    show_default=True,
    metavar="process|compose[:FILE]|ecs:FILE",
    help="Where the app runs: as processes of this machine, in containers of ./docker-compose.yml or FILE, or on ECS.",
)
@click.option("--id", "id_", metavar="NAME", help="Of the trial, and of its folder; without it, a new one.")
@click.option("--alert", is_flag=True, help="Tell Slack and PagerDuty, as the environment says.")
@click.option("--no-track", is_flag=True, help="Leave MLflow out.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one JSON object; progress goes to stderr.")
def command(
    scenario: Path,
    fixer: str | None,
    retriever: str,
    seed: int | None,
    results: Path,
    kb: str | None,
    learn: bool,
    record: bool,
    replay: Path | None,
    min_confidence: float | None,
    withdraw: bool,
    isolation: Isolation,
    target: str,
    id_: str | None,
    alert: bool,
    no_track: bool,
    as_json: bool,
) -> None:
    """Run one trial of SCENARIO: load, fault, incident, fix, redeploy, verdict.

    \b
    Examples:
      harness run scenarios/pool_exhaustion.yml
      harness run scenarios/upstream_latency.yml --fixer reference --seed 7
      harness run scenarios/pool_exhaustion.yml --fixer noop --json > verdict.json
      harness run scenarios/pool_exhaustion.yml --target compose
      harness run my/scenario.yml --target ecs:my/staging.yml
    """
    verdict = run(
        scenario,
        fixer=fixer,
        retriever=retriever,
        seed=seed,
        results=results,
        kb=kb or ("learned" if learn else None),
        learn=learn,
        record=record,
        replay=replay,
        min_confidence=min_confidence,
        withdraw=withdraw,
        isolation=isolation,
        **_place(target),
        id=_named(id_),
        alert=alert,
        track=not no_track,
        console=True,
    )
    if as_json:
        click.echo(verdict_json(verdict))
    click.get_current_context().exit(verdict.outcome.exit_code)


def _place(target: str) -> dict[str, Path]:
    """By which file the app runs elsewhere; empty: here, as processes. InputError where the target is unknown."""
    kind, _, file = target.partition(":")
    if target == "process":
        return {}
    if kind == "compose" or (kind == "ecs" and file):
        return {kind: Path(file or "docker-compose.yml")}
    cure = "use process, compose, compose:FILE or ecs:FILE"
    raise InputError(f"--target {target}: there is no such target", cure=cure)


def _named(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,149}", name):
        raise InputError(f"--id {name!r} is no name for a folder", cure="use letters, digits, and any of . _ @ -")
    return name
