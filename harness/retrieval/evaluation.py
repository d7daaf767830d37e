"""How well do retrievers find what answers an incident? Arms side by side, over judged queries."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import fmean

import numpy as np

from harness.ports import Retriever
from harness.retrieval.judged import RELEVANT, Judged
from harness.stats.ranking import Difference, Mean, difference, mean, ndcg, recall, reciprocal_rank

SHOWN = 5  # passages that a fixer gets
DEPTH = 10  # passages that are asked for: the reciprocal rank is looked for among them
MEASURES = ("nDCG@5", "MRR", "recall@5")

Make = Callable[[], Retriever]
Tell = Callable[[str, int, int], None]  # of an arm: its name, how many queries are answered, of how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds. ``prepare`` is done once, before the first search."""

    prepare_ms: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One retriever's means by measure, and its nDCG@5 by form of query and by scenario."""

    name: str
    means: Mapping[str, Mean]
    by_form: Mapping[str, float]
    by_scenario: Mapping[str, float]
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What the first arm has over the second, by measure."""

    first: str
    second: str
    differences: Mapping[str, Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    queries: int
    trials: int
    scenarios: int
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Searched:
    """One arm's values in the order of the queries, by measure."""

    values: Mapping[str, list[float]]
    latency: Latency


def _silent(name: str, done: int, of: int) -> None:
    """Tells nobody."""


def evaluate(
    makers: Mapping[str, Make], judged: Sequence[Judged], *, seed: int = 1, tell: Tell = _silent
) -> Evaluation:
    """Ask each retriever all queries. ``seed`` is that of the intervals; the retrievers get none.

    A retriever is made, prepared and asked, then the next: none is measured while another one works. ``tell`` is called
    before an arm is prepared, and after each answer.
    """
    searched = {name: _searched(make, judged, partial(tell, name)) for name, make in makers.items()}
    sources = [each.source for each in judged]
    return Evaluation(
        queries=len(judged),
        trials=len({(source.group, source.trial) for source in sources}),
        scenarios=len({source.group for source in sources}),
        arms=tuple(
            Arm(
                name=name,
                means={measure: mean(arm.values[measure], sources, seed) for measure in MEASURES},
                by_form=_by(arm.values[MEASURES[0]], [each.query.form for each in judged]),
                by_scenario=_by(arm.values[MEASURES[0]], [source.group for source in sources]),
                latency=arm.latency,
            )
            for name, arm in searched.items()
        ),
        pairs=tuple(
            Pair(
                first=first,
                second=second,
                differences={
                    measure: difference(
                        searched[first].values[measure], searched[second].values[measure], sources, seed
                    )
                    for measure in MEASURES
                },
            )
            for first, second in combinations(searched, 2)
        ),
    )


def _searched(make: Make, judged: Sequence[Judged], tell: Callable[[int, int], None]) -> _Searched:
    tell(0, len(judged))
    began = time.perf_counter()
    retriever = make()
    retriever.prepare()
    prepare_ms = 1000 * (time.perf_counter() - began)
    values: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    taken_ms = []
    for done, each in enumerate(judged, start=1):
        incident = each.query.incident
        began = time.perf_counter()
        passages = retriever.retrieve(incident, DEPTH)
        taken_ms.append(1000 * (time.perf_counter() - began))
        ranked = [passage.id for passage in passages]
        found = (
            ndcg(ranked, each.grades, SHOWN),
            reciprocal_rank(ranked, each.grades, RELEVANT),
            recall(ranked, each.grades, SHOWN, RELEVANT),
        )
        for measure, value in zip(MEASURES, found, strict=True):
            values[measure].append(value)
        tell(done, len(judged))
    p50_ms, p95_ms = np.quantile(taken_ms, [0.5, 0.95])
    return _Searched(values=values, latency=Latency(prepare_ms=prepare_ms, p50_ms=float(p50_ms), p95_ms=float(p95_ms)))


def _by(values: Sequence[float], keys: Sequence[str]) -> dict[str, float]:
    """The mean over the queries of each key, by key."""
    parts: dict[str, list[float]] = defaultdict(list)
    for value, key in zip(values, keys, strict=True):
        parts[key].append(value)
    return {key: fmean(part) for key, part in sorted(parts.items())}
