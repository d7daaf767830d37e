"""``harness kb eval``: how well retrievers find what answers an incident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from harness.errors import InputError


@click.command("eval")
@click.option(
    "--retriever", "names", multiple=True, default=("lexical", "none"), show_default=True, help="Repeat to compare."
)
@click.option(
    "--split",
    type=click.Choice(["dev", "test", "all"]),
    default="dev",
    show_default=True,
    help="Choose settings on dev; test is for what was chosen.",
)
@click.option(
    "--kb",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("kb"),
    show_default=True,
    help="Documents, and evaluation/ with queries and judgments.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the intervals.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with more detail.")
def command(names: tuple[str, ...], split: str, folder: Path, seed: int, *, as_json: bool) -> None:
    """Ask retrievers the judged queries in KB/evaluation: nDCG@5, MRR and recall@5, with 95 % intervals.

    \b
    Examples:
      harness kb eval
      harness kb eval --retriever lexical --retriever hybrid --split test
    """
    from harness.catalogue import choose_retriever  # noqa: PLC0415 - with numpy, 0.3 s that --help need not wait for
    from harness.retrieval.base import load_base  # noqa: PLC0415 - as above
    from harness.retrieval.evaluation import evaluate  # noqa: PLC0415 - as above
    from harness.retrieval.judged import load_judged  # noqa: PLC0415 - as above

    base = load_base(folder, learned=folder)
    judged = load_judged(folder / "evaluation", {document.id for document in base.documents})
    chosen = [each for each in judged if split in (each.query.split, "all")]
    if not chosen:
        raise InputError(f"{folder / 'evaluation'} holds no query of {split}", cure="name another --split or --kb")
    makers = {name: partial(choose_retriever, name, base) for name in dict.fromkeys(names)}
    plain = asdict(evaluate(makers, chosen, seed=seed))
    click.echo(json.dumps(_without_nan(plain), indent=2) if as_json else "\n".join(_table(plain, split)))


def _table(plain: dict, split: str) -> Iterator[str]:  # type: ignore[type-arg]
    yield ""
