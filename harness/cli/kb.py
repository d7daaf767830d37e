"""``harness kb``: the knowledge base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.kb_analyse import command as analyse
from harness.cli.kb_eval import command as evaluation
from harness.errors import HarnessError, InputError

if TYPE_CHECKING:
    from harness.retrieval.corpus import Document

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_RESULTS = click.Path(path_type=Path, file_okay=False)


@click.group("kb")
def command() -> None:
    """Look into the knowledge base, measure it, or upload it.

    \b
    Examples:
      harness kb search connection pool timed out
      harness kb list --name team
      harness kb eval
      harness kb seed
    """


command.add_command(analyse)
command.add_command(evaluation)


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


@command.command("list")
@click.option("--kb", "folder", type=_FOLDER, default=Path("kb"), show_default=True)
@click.option("--results", type=_RESULTS, default=Path("results"), show_default=True, help="Where --name is kept.")
@click.option("--name", help="With what was learnt and retired in RESULTS/kb/NAME.")
def list_(folder: Path, results: Path, name: str | None) -> None:
    """List the incidents: id, error code and title, and whether one was learnt or is retired.

    \b
    Examples:
      harness kb list
      harness kb list --name team
    """
    from harness.retrieval.base import folder_of, retired  # noqa: PLC0415 see above
    from harness.retrieval.corpus import load_corpus  # noqa: PLC0415 see above

    documents, learnt, gone = {each.id: each for each in load_corpus(folder)}, set[str](), frozenset[str]()
    if name is not None:
        added = folder_of(results, name)
        if added.is_dir():
            new = {each.id: each for each in load_corpus(added)}
            documents, learnt, gone = documents | new, set(new), retired(added)
        else:
            click.echo(f"nothing was learnt or retired in {added} yet", err=True)
    wide = [max((len(each) for each in column), default=0) for column in (documents, _codes(documents))]
    for each in documents.values():
        marks = [mark for mark, ids in (("learnt", learnt), ("retired", gone)) if each.id in ids]
        told = f"  [{', '.join(marks)}]" if marks else ""
        click.echo(f"{each.id:{wide[0]}}  {each.error_code:{wide[1]}}  {each.title}{told}")


def _codes(documents: Mapping[str, Document]) -> list[str]:
    return [each.error_code for each in documents.values()]


@command.command("retire")
@click.argument("document_id", metavar="ID")
@click.option("--name", required=True, help="The knowledge base that shall no longer search it.")
@click.option("--why", required=True, help="Kept beside the id.")
@click.option("--results", type=_RESULTS, default=Path("results"), show_default=True, help="Where --name is kept.")
@click.option("--kb", "folder", type=_FOLDER, default=Path("kb"), show_default=True)
def retire_(document_id: str, name: str, why: str, results: Path, folder: Path) -> None:
    """Search the incident ID no longer in the knowledge base NAME.

    Its file stays, and RESULTS/kb/NAME/retired.txt says when and why.

    \b
    Example:
      harness kb retire learned-1234 --name team --why "the limit that it sets was wrong"
    """
    from harness.retrieval.base import folder_of, retire  # noqa: PLC0415 see above

    if not why.strip():
        raise InputError("no reason is given", cure="--why says it, so that others can judge whether it still holds")
    added = folder_of(results, name)
    retire(folder, added, document_id, why)
    click.echo(f"{name} no longer searches {document_id}; to take it back, delete its line in {added / 'retired.txt'}")


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
