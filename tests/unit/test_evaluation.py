"""Retrievers that rank as told, over judged queries: what is counted, and how arms are compared."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.model.incident import Incident, Passage
from harness.retrieval.evaluation import DEPTH, Evaluation, evaluate
from harness.retrieval.judged import Judged, Query
from harness.retrieval.memory import NoRetriever
from harness.stats.ranking import Source

GRADES = {"best": 3, "good": 2, "near": 1}


class Ranking(NoRetriever):
    """Gives the same ids for each incident, and keeps what it was asked."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids
        self.asked: list[tuple[str, int]] = []
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        assert self.prepared == 1
        self.asked.append((incident.id, limit))
        return [Passage(id=name, title=name, text=name, score=1.0) for name in self.ids][:limit]


def judged(scenarios: int = 6, forms: Sequence[str] = ("whole", "logs")) -> list[Judged]:
    pairs = [(scenario, form) for scenario in range(scenarios) for form in forms]
    return [
        Judged(
            query=Query(id=f"q{number:03}", split="test", trial=f"t{scenario:03}", form=form),
            source=Source(group=f"s{scenario}", trial=f"t{scenario:03}"),
            grades=GRADES,
        )
        for number, (scenario, form) in enumerate(pairs, start=1)
    ]


def evaluated(**arms: Ranking) -> Evaluation:
    return evaluate({name: lambda arm=arm: arm for name, arm in arms.items()}, judged())  # type: ignore[misc]


def test_each_arm_is_prepared_once_and_asked_everything() -> None:
    arm = Ranking("best")
    found = evaluated(arm=arm)
    assert arm.asked == [(f"q{number:03}", DEPTH) for number in range(1, 13)]
    assert (found.queries, found.trials, found.scenarios) == (12, 6, 6)


def test_the_values_are_those_of_the_ranking() -> None:
    (arm,) = evaluated(arm=Ranking("near", "good")).arms
    assert arm.means["nDCG@5"].value == pytest.approx((1 + 3 * 0.6309297536) / (7 + 3 * 0.6309297536 + 0.5))
    assert arm.means["MRR"].value == 0.5, "grade 1 is no answer"
    assert arm.means["recall@5"].value == 0.5
    assert set(arm.by_form) == {"whole", "logs"} and set(arm.by_scenario) == {f"s{n}" for n in range(6)}


def test_what_stands_sixth_counts_for_the_rank_and_not_for_five() -> None:
    (arm,) = evaluated(arm=Ranking("v", "w", "x", "y", "z", "best")).arms
    assert arm.means["nDCG@5"].value == arm.means["recall@5"].value == 0
    assert arm.means["MRR"].value == pytest.approx(1 / 6)


def test_all_pairs_are_compared_in_order() -> None:
    found = evaluated(first=Ranking("best", "good", "near"), second=Ranking("near"), third=Ranking("near"))
    told = {(pair.first, pair.second): pair.differences["nDCG@5"] for pair in found.pairs}
    assert list(told) == [("first", "second"), ("first", "third"), ("second", "third")]
    assert (told["first", "second"].choice, told["first", "second"].better_in) == ("better", 6)
    assert told["second", "third"].choice == "the same"


def test_progress_is_told_before_an_arm_and_after_each_answer() -> None:
    told: list[tuple[str, int, int]] = []
    evaluate({"a": Ranking, "b": Ranking}, judged(1), tell=lambda *words: told.append(words))
    assert told == [(name, done, 2) for name in "ab" for done in (0, 1, 2)]
