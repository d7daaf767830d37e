"""``harness kb``: the knowledge base."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path

import click

from harness.cli.kb_analyse import command as analyse
from harness.errors import HarnessError

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group("kb")
def command() -> None:
    """Look into the knowledge base, or upload it.

    \b
    Examples:
      harness kb search connection pool timed out
      harness kb seed
    """


command.add_command(analyse)


@command.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--kb", "folder", type=_FOLDER, default=Path("kb"), show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=5, show_default=True)
def search(words: tuple[str, ...], folder: Path, limit: int) -> None:
    """Search the incidents for WORDS; best first, with the score.

    \b
    Example:
      harness kb search connection pool timed out
    """
    # what is needed is imported here and below, since Flask imports this module with each of its own commands
    from harness.retrieval.corpus import load_corpus  # noqa: PLC0415 see above
    from harness.retrieval.lexical import LexicalRetriever  # noqa: PLC0415 see above

    found = LexicalRetriever(load_corpus(folder), learned=folder).search(" ".join(words), limit)
    for passage in found:
        click.echo(f"{passage.score:7.2f}  {passage.id}  {passage.title}")
    if not found:
        click.echo("nothing found")


@command.command("seed")
@click.option("--kb", "folder", type=_FOLDER, default=Path("kb"), show_default=True)
@click.pass_context
def seed(context: click.Context, folder: Path) -> None:
    """Upload the incidents to Backboard, each as a memory and as a document.

    What is there already is kept, so it can be run again at any time, also after it was cut short. Needs
    BACKBOARD_API_KEY; BACKBOARD_ASSISTANT names the assistant, which is made where there is none. In an environment
    with Flask and the harness, this is also `flask seed-kb`.

    \b
    Example:
      harness kb seed
    """
    try:
        changes = _seeded(folder)
    except HarnessError as error:  # told here, since Flask would show a traceback
        click.echo(f"error: {error}", err=True)
        context.exit(error.exit_code)
    counts = Counter(changes.values())
    told = ", ".join(f"{counts[state]} {state}" for state in ("new", "changed", "kept"))
    click.echo(f"{len(changes)} incidents: {told}; all are indexed")


def _seeded(folder: Path) -> dict[str, str]:
    from harness.retrieval.backboard.retriever import BackboardRetriever  # noqa: PLC0415 see above
    from harness.retrieval.corpus import load_corpus  # noqa: PLC0415 see above

    documents = load_corpus(folder)
    numbers, width = count(1), len(str(len(documents)))

    def tell(document: str, state: str) -> None:
        click.echo(f"{next(numbers):{width}}/{len(documents)}  {state:7}  {document}")

    return dict(BackboardRetriever(documents, learned=folder).seed(tell))
