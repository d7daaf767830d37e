"""Words and meaning fused, and the names that both sides share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import InputError
from harness.model.fix import Fix
from harness.model.incident import Incident
from harness.retrieval.corpus import Document, load_corpus
from harness.retrieval.embedding import MiniLM
from harness.retrieval.hybrid import HybridRetriever, Weights
from harness.retrieval.lexical import LexicalRetriever
from harness.retrieval.vectors import MemoryVectors

KB = load_corpus(Path(__file__).parents[2] / "kb")
MINILM, STORE = MiniLM(), MemoryVectors()


class Axes:
    """What a text means is its first word."""

    model = "axes"
    dimensions = 3
    meanings = ("water", "fire", "the")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        first = [text.split()[0] for text in texts]
        return np.array([[float(word == meaning) for meaning in self.meanings] for word in first], np.float32)


def document(name: str, text: str) -> Document:
    return replace(KB[0], id=name, error_code=text.split()[0], title="", tags=(), body=text)


def hybrid(folder: Path, *texts: str, **weights: float) -> HybridRetriever:
    """Documents a, b, c ..."""
    documents = [document(chr(97 + number), text) for number, text in enumerate(texts)]
    return HybridRetriever(
        documents, learned=folder, store=MemoryVectors(), embedding=Axes(), weights=Weights(**weights)
    )


def test_what_only_one_of_the_two_finds_is_found(tmp_path: Path) -> None:
    found = hybrid(tmp_path, "water here", "fire burns", "earth sleeps").ranked("water burns", 5)
    assert [(each.passage.id, each.lexical, each.dense) for each in found] == [("a", 1, 1), ("b", 2, None)]


def test_the_weights_decide_whom_to_believe(tmp_path: Path) -> None:
    texts = ("fire burns brightly", "water")
    for weights, first in (({"lexical": 1.0, "dense": 0.0}, "a"), ({"lexical": 0.0, "dense": 1.0}, "b")):
        retriever = hybrid(tmp_path, *texts, **weights)
        assert retriever.search("water burns brightly", 1)[0].id == first


def test_with_words_alone_the_order_is_that_of_the_lexical_arm(tmp_path: Path) -> None:
    alone = HybridRetriever(
        KB, learned=tmp_path, store=STORE, embedding=MINILM, weights=Weights(lexical=1, dense=0, names=0)
    )
    words = "no connection could be had within 3 s, the pool is used up"
    found = LexicalRetriever(KB, learned=tmp_path).search(words, 10)
    assert [each.id for each in alone.search(words, 10)] == [each.id for each in found]


@pytest.mark.parametrize(
    "name", ["QueuePool", "OOMKilled", "FAULT_DB_TIMEOUT", "pg_stat_activity", "SIGKILL", "57014", "42P01"]
)
def test_a_name_that_both_bear_lifts_a_document(tmp_path: Path, name: str) -> None:
    texts = ("water x", f"water x {name}")
    plain = hybrid(tmp_path, *texts, lexical=0, dense=1, names=0).ranked(f"water {name}", 2)
    named = hybrid(tmp_path, *texts, lexical=0, dense=1, names=0.2).ranked(f"water {name}", 2)
    assert [each.passage.id for each in plain] == ["a", "b"]
    assert [each.passage.id for each in named] == ["b", "a"]
    assert [each.names for each in named] == [(name,), ()]


@pytest.mark.parametrize("word", ["error", "HTTP", "24T01", "2026", "503", "f2e11ca3"])
def test_what_is_no_name_lifts_nothing(tmp_path: Path, word: str) -> None:
    ranked = hybrid(tmp_path, "water x", f"water x {word}", lexical=0, dense=1).ranked(f"water {word}", 2)
    assert [each.names for each in ranked] == [(), ()]


def test_a_rare_name_outweighs_one_that_many_bear_and_one_that_all_bear_counts_for_nothing(tmp_path: Path) -> None:
    texts = ("water InAll", "water InAll InThree", "water InAll InThree", "water InAll InThree", "water InAll InOne")
    retriever = hybrid(tmp_path, *texts, lexical=0, dense=1, names=1)
    ranked = {each.passage.id: each.passage.score for each in retriever.ranked("water InAll InThree InOne", 5)}
    without = hybrid(tmp_path, *texts, lexical=0, dense=1, names=0).ranked("water", 5)
    assert ranked["e"] > ranked["b"] > ranked["c"] > ranked["d"]
    assert ranked["a"] == pytest.approx(without[0].passage.score / 2)  # half of the weight is that of names


def test_first_in_both_with_all_names_is_one(tmp_path: Path) -> None:
    best = hybrid(tmp_path, "fire y", "water x SomeName", "water z").ranked("water x SomeName", 3)[0]
    assert (best.passage.id, best.passage.score) == ("b", pytest.approx(1.0))


def test_equal_scores_go_by_id(tmp_path: Path) -> None:
    for texts in (("fire zebra", "the"), ("the", "fire zebra")):
        ranked = hybrid(tmp_path, *texts, lexical=0.5, dense=0.5).ranked("the zebra", 2)
        assert ranked[0].passage.score == ranked[1].passage.score
        assert [each.passage.id for each in ranked] == ["a", "b"]


def test_real_incidents_are_found_by_both_ways(tmp_path: Path) -> None:
    retriever = HybridRetriever(KB, learned=tmp_path, store=STORE, embedding=MINILM)
    retriever.prepare()
    assert retriever.search("ERROR (psycopg.errors.UndefinedTable) relation does not exist", 1)[0].id == "sql-003"
    assert retriever.search("the kernel ended a process that had eaten all of the RAM", 1)[0].id.startswith("mem")


def test_learnt_is_found_by_both(tmp_path: Path) -> None:
    retriever = HybridRetriever(KB, learned=tmp_path, store=STORE, embedding=MINILM)
    seen = Incident(
        id="7",
        error_code="SLO_BURN",
        symptoms="the giraffe enclosure has no hay",
        breadcrumbs=(),
        logs=(),
        window=None,
        detected_at="2026-11-23T20:15:10+00:00",
    )
    name = retriever.learn(seen, Fix(root_cause="A herd."), failed="it got worse")
    first = retriever.ranked("giraffe enclosure without hay", 1)[0]
    assert (first.passage.id, first.lexical, first.dense) == (name, 1, 1)
    assert not first.passage.helped


@pytest.mark.parametrize("weights", [{"lexical": -1.0}, {"names": -0.1}, {"lexical": 0, "dense": 0}, {"names": np.nan}])
def test_weights_that_rank_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InputError, match="rank nothing"):
        Weights(**weights)


def test_nothing_in_common_finds_nothing(tmp_path: Path) -> None:
    retriever = hybrid(tmp_path, "water x", "fire y")
    assert retriever.search("", 5) == retriever.search("water", 0) == ()
    assert retriever.search("air zyzzyva", 5) == ()
