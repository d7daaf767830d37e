"""``harness kb eval``: how well retrievers find what answers an incident."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.retrieval.evaluation import Arm, Evaluation, Pair
    from harness.stats.ranking import Mean

_PATIENCE_S = 2.0  # whoever waits longer is told how far it is
_NAME_CHARS = 18
_VALUE_CHARS = 19  # of '0.81 (0.70 to 0.91)'


@click.command("eval")
@click.option(
    "--retriever",
    "names",
    multiple=True,
    default=("lexical", "dense", "hybrid", "none"),
    show_default=True,
    help="Repeat to compare.",
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
    from harness.retrieval.base import load_base  # noqa: PLC0415 - with numpy, 0.3 s that --help need not wait for
    from harness.retrieval.evaluation import evaluate  # noqa: PLC0415 - as above
    from harness.retrieval.judged import EVALUATION, load_judged  # noqa: PLC0415 - as above
    from harness.retrievers import Shelf, choose_retriever  # noqa: PLC0415 - as above

    base = load_base(folder, learned=folder)
    judged = load_judged(folder / EVALUATION, {document.id for document in base.documents})
    chosen = [each for each in judged if split in (each.query.split, "all")]
    if not chosen:
        raise InputError(f"{folder / EVALUATION} holds no query of {split}", cure="name another --split or --kb")
    makers = {name: partial(choose_retriever, name, Shelf(base=base)) for name in dict.fromkeys(names)}
    found = evaluate(makers, chosen, seed=seed, tell=_progress())
    if as_json:
        click.echo(json.dumps({"split": split, **_without_nan(asdict(found))}, indent=2, allow_nan=False))
    else:
        click.echo("\n".join(_told(found, split)))


def _progress() -> Callable[[str, int, int], None]:
    """Tells on stderr which arm begins, and every two seconds how far it is."""
    told_at = time.monotonic()

    def tell(name: str, done: int, of: int) -> None:
        nonlocal told_at
        if done == 0:
            click.echo(f"{name}: preparing, then {of} queries ...", err=True)
        elif time.monotonic() - told_at < _PATIENCE_S:
            return
        else:
            click.echo(f"{name}: {done} of {of} queries", err=True)
        told_at = time.monotonic()

    return tell


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON has no NaN: null stands for what is not known."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _told(found: Evaluation, split: str) -> Iterator[str]:
    yield f"{split}: {found.queries} queries from {found.trials} trials of {found.scenarios} scenarios"
    yield "in brackets: the 95 % interval over scenarios"
    yield ""
    measures = list(found.arms[0].means)
    titles = "  ".join(f"{measure:{_VALUE_CHARS}}" for measure in measures)
    width = max(len(_short(arm.name)) for arm in found.arms)
    yield f"{'arm':{width}}  {titles}  {'p50 ms':>7}  {'p95 ms':>7}"
    for arm in found.arms:
        yield _row(arm, width)
    if found.pairs:
        yield ""
        yield f"{measures[0]}, paired by query:"
    for pair in found.pairs:
        yield _compared(pair, measures[0], found.scenarios)


def _row(arm: Arm, width: int) -> str:
    values = "  ".join(f"{_value(mean):{_VALUE_CHARS}}" for mean in arm.means.values())
    return f"{_short(arm.name):{width}}  {values}  {arm.latency.p50_ms:7.1f}  {arm.latency.p95_ms:7.1f}"


def _value(mean: Mean) -> str:
    if math.isnan(mean.low):
        return f"{mean.value:.2f}"
    return f"{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f})"


def _compared(pair: Pair, measure: str, scenarios: int) -> str:
    """In words, the one with the higher mean first."""
    apart = pair.differences[measure]
    mean = apart.mean
    first, second, better = pair.first, pair.second, apart.better_in
    value, low, high, choice = mean.value, mean.low, mean.high, apart.choice
    if value < 0:
        first, second, better = second, first, apart.worse_in
        value, low, high = -value, -high, -low
        choice = "better" if choice == "worse" else choice
    told = "" if math.isnan(low) else f" ({low:+.2f} to {high:+.2f})"
    arms = f"{_short(first)} over {_short(second)}"
    return f"{arms}: {value:+.2f}{told}, better in {better} of {scenarios} scenarios: {choice}"


def _short(name: str) -> str:
    """The end of a long name: of ``mypkg.mymod:MyRetriever`` it tells most."""
    return name if len(name) <= _NAME_CHARS else f"..{name[2 - _NAME_CHARS :]}"
