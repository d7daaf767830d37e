"""What every retriever promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.model.fix import Fix
from harness.model.incident import Incident
from harness.ports import Retriever
from harness.retrieval.ablation import PerfectRetriever, PoisonedRetriever, ShuffledRetriever, StaleRetriever
from harness.retrieval.corpus import Document, load_corpus
from harness.retrieval.dense import DenseRetriever
from harness.retrieval.embedding import MiniLM
from harness.retrieval.hybrid import HybridRetriever
from harness.retrieval.lexical import LexicalRetriever
from harness.retrieval.memory import MemoryRetriever, NoRetriever
from harness.retrieval.vectors import MemoryVectors

DOCUMENTS = load_corpus(Path(__file__).parents[2] / "kb")
INCIDENT = Incident(
    id="2026-11-23-0007",
    error_code="FAULT_DB_TIMEOUT",
    symptoms="browse: 40 of 40 requests failed",
    breadcrumbs=("20:15:01 p95 over 300 ms",),
    logs=("FAULT_DB_TIMEOUT QueuePool limit of size 3 overflow 0 reached",),
    window=None,
    detected_at="2026-11-23T20:15:10+00:00",
)
FIX = Fix(
    root_cause="No limit on statements.", remediation="Set one.", verification=("browse is fast",), confidence=0.5
)
EMBEDDING = MiniLM()
STORE = MemoryVectors()  # for all tests here, so that the documents are embedded once


def over(folder: Path) -> Callable[[Sequence[Document]], Retriever]:
    return lambda documents: LexicalRetriever(documents, learned=folder)


MAKERS: dict[str, Callable[[Path], Retriever]] = {
    "lexical": lambda folder: LexicalRetriever(DOCUMENTS, learned=folder),
    "dense": lambda folder: DenseRetriever(DOCUMENTS, learned=folder, store=STORE, embedding=EMBEDDING),
    "hybrid": lambda folder: HybridRetriever(DOCUMENTS, learned=folder, store=STORE, embedding=EMBEDDING),
    "perfect": lambda folder: PerfectRetriever(DOCUMENTS, relevant=("db-001", "db-002")),
    "stale": lambda folder: StaleRetriever(DOCUMENTS, over=over(folder)),
    "poisoned": lambda folder: PoisonedRetriever(DOCUMENTS, over=over(folder)),
    "shuffled": lambda folder: ShuffledRetriever(DOCUMENTS, over=over(folder)),
    "memory": lambda folder: MemoryRetriever([document.passage(0.0) for document in DOCUMENTS]),
    "none": lambda folder: NoRetriever(),
}


@pytest.fixture(params=MAKERS)
def retriever(request: pytest.FixtureRequest, tmp_path: Path) -> Retriever:
    return MAKERS[request.param](tmp_path / "learned")


def test_it_has_the_name_by_which_it_is_chosen(request: pytest.FixtureRequest, retriever: Retriever) -> None:
    assert retriever.name == request.node.callspec.params["retriever"]


@pytest.mark.parametrize("limit", [0, 1, 5, 1000])
def test_at_most_limit_passages_each_once_best_first(retriever: Retriever, limit: int) -> None:
    found = retriever.retrieve(INCIDENT, limit)
    assert len(found) <= limit
    assert len({passage.id for passage in found}) == len(found)
    assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)
    assert all(passage.text and passage.title for passage in found)


def test_the_same_question_has_the_same_answer(retriever: Retriever) -> None:
    assert retriever.retrieve(INCIDENT, 5) == retriever.retrieve(INCIDENT, 5)
    assert retriever.query(INCIDENT) == retriever.query(INCIDENT)


def test_what_was_learnt_is_found_or_no_id_is_claimed(retriever: Retriever) -> None:
    before = {passage.id for passage in retriever.retrieve(INCIDENT, 1000)}
    name = retriever.learn(INCIDENT, FIX)
    after = {passage.id: passage for passage in retriever.retrieve(INCIDENT, 1000)}
    assert set(after) - before == ({name} if name else set())
    if name:
        assert "No limit on statements." in after[name].text


def test_learning_again_keeps_one_document(retriever: Retriever) -> None:
    assert retriever.learn(INCIDENT, FIX) == retriever.learn(INCIDENT, FIX)
    found = [passage.id for passage in retriever.retrieve(INCIDENT, 1000)]
    assert len(found) == len(set(found))


def test_an_empty_incident_is_no_error(retriever: Retriever) -> None:
    bare = Incident(
        id="x", error_code="", symptoms="", breadcrumbs=(), logs=(), window=None, detected_at=INCIDENT.detected_at
    )
    retriever.retrieve(bare, 5)
    retriever.learn(bare, Fix(root_cause=""))
