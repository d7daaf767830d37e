"""``harness kb``: the knowledge base."""

from __future__ import annotations

from pathlib import Path

import click

from harness.retrieval.corpus import load_corpus
from harness.retrieval.lexical import LexicalRetriever


@click.group("kb")
def command() -> None:
    """Look into the knowledge base.

    \b
    Example:
      harness kb search connection pool timed out
    """


@command.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--kb",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("kb"),
    show_default=True,
)
@click.option("--limit", type=click.IntRange(min=1), default=5, show_default=True)
def search(words: tuple[str, ...], folder: Path, limit: int) -> None:
    """Search the incidents for WORDS; best first, with the score.

    \b
    Example:
      harness kb search connection pool timed out
    """
    found = LexicalRetriever(load_corpus(folder), learned=folder).search(" ".join(words), limit)
    for passage in found:
        click.echo(f"{passage.score:7.2f}  {passage.id}  {passage.title}")
    if not found:
        click.echo("nothing found")
