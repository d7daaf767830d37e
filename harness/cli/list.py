"""``harness list``: what there is."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from harness.catalogue import CHEAT, FIXERS, own_cheats
from harness.errors import ScenarioError
from harness.fixing.cheats import CHEATS
from harness.loading import LoadedScenario, load_scenario, scenario_files
from harness.retrievers import ARMS, RETRIEVERS

_WIDTH = 100


@click.command("list")
@click.argument("folder", default="scenarios", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--cheats", is_flag=True, help="The wrong fixes instead, which must all lose.")
def command(folder: Path, *, cheats: bool) -> None:
    """List the scenarios in FOLDER, the fixers and the retrievers; or the wrong fixes that must lose.

    \b
    Examples:
      harness list
      harness list --cheats
    """
    found: list[LoadedScenario] = []
    for file in scenario_files((), folder):
        try:
            found.append(load_scenario(file))
        except ScenarioError as error:
            click.echo(f"{file} is wrong: {error}", err=True)
    click.echo(_wrong_fixes(found) if cheats else _everything(found))


def _everything(found: list[LoadedScenario]) -> str:
    of_one = sum(len(own_cheats(loaded)) for loaded in found)
    rows = [(str(loaded.file), loaded.spec.metadata.fault_class, loaded.spec.metadata.title) for loaded in found]
    wide = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return "\n".join(
        [
            *(f"{file:{wide[0]}}  {kind:{wide[1]}}  {title}" for file, kind, title in rows),
            "",
            f"Fixers       {', '.join(FIXERS)}, 'command: ./agent', or your own as module:Class",
            f"Retrievers   {', '.join(RETRIEVERS)}, or your own as module:Class",
            f"             for experiments: {', '.join(ARMS)}",
            f"Wrong fixes  {len(CHEATS)} for any scenario, {of_one} for one of these: harness list --cheats",
        ]
    )


def _wrong_fixes(found: list[LoadedScenario]) -> str:
    """Each with what it does, as far as that is told: a patch begins with it."""
    parts = [_part("any scenario", dict(CHEATS))]
    for loaded in found:
        told = {name: _beginning(patch) for name, patch in own_cheats(loaded).items()}
        parts += [_part(str(loaded.file), told)] if told else []
    return "\n\n".join(parts)


def _part(title: str, told: dict[str, str]) -> str:
    width = min(_WIDTH, shutil.get_terminal_size().columns)
    lines = [f"  {CHEAT}{name}\n{click.wrap_text(what, width, '    ', '    ')}" for name, what in told.items()]
    return "\n".join([title, *lines])


def _beginning(patch: Path) -> str:
    """The text before the first line of the patch itself, in one line."""
    return " ".join(patch.read_text(errors="replace").partition("diff --git")[0].split())
