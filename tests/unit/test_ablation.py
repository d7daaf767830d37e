"""Perfect, stale, poisoned and shuffled memories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.model.fix import Fix
from harness.model.incident import Incident
from harness.ports import Retriever
from harness.retrieval.ablation import PerfectRetriever, PoisonedRetriever, ShuffledRetriever, StaleRetriever
from harness.retrieval.corpus import SECTIONS, Document, load_corpus, parse_document
from harness.retrieval.lexical import LexicalRetriever

KB_FOLDER = Path(__file__).parents[2] / "kb"
KB = load_corpus(KB_FOLDER)
BY_ID = {document.id: document for document in KB}
INCIDENT = Incident(
    id="inc-7",
    error_code="FAULT_DB_TIMEOUT",
    symptoms="browse: 40 of 40 requests failed",
    breadcrumbs=(),
    logs=("FAULT_DB_TIMEOUT QueuePool limit of size 3 overflow 0 reached",),
    window=None,
    detected_at="2026-11-23T20:15:10+00:00",
)


@pytest.fixture
def over(tmp_path: Path) -> Callable[[Sequence[Document]], Retriever]:
    return lambda documents: LexicalRetriever(documents, learned=tmp_path)


Over = Callable[[Sequence[Document]], Retriever]


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0].strip()


def test_perfect_gives_what_is_relevant_in_the_order_given() -> None:
    oracle = PerfectRetriever(KB, relevant=("mem-002", "mem-001", "mem-002"))
    assert [(found.id, found.score) for found in oracle.retrieve(INCIDENT, 5)] == [("mem-002", 1.0), ("mem-001", 0.5)]
    assert oracle.query(INCIDENT) == ""


def test_perfect_refuses_what_it_does_not_have() -> None:
    with pytest.raises(InputError, match="db-999"):
        PerfectRetriever(KB, relevant=("db-001", "db-999"))


def test_stale_knows_nothing_younger_than_its_day(over: Over) -> None:
    day = date(2025, 6, 1)
    found = StaleRetriever(KB, over=over, before=day).retrieve(INCIDENT, 1000)
    assert {passage.id for passage in found} >= {"db-001", "db-002"}
    assert all(BY_ID[passage.id].date < day for passage in found)


def test_stale_is_the_older_half_by_itself(over: Over) -> None:
    kept: list[Document] = []
    StaleRetriever(KB, over=lambda documents: kept.extend(documents) or over(documents))
    younger = [document for document in KB if document not in kept]
    assert abs(len(kept) - len(younger)) <= 1
    assert max(document.date for document in kept) < min(document.date for document in younger)


def test_stale_refuses_a_day_before_all_documents(over: Over) -> None:
    with pytest.raises(InputError, match="1999"):
        StaleRetriever(KB, over=over, before=date(1999, 1, 1))


def poisoned_documents(over: Over, share: float = 0.5, seed: int = 0) -> list[Document]:
    kept: list[Document] = []
    PoisonedRetriever(KB, over=lambda documents: kept.extend(documents) or over(documents), share=share, seed=seed)
    return kept


def test_poisoned_documents_bear_the_lesson_of_another_kind(over: Over) -> None:
    altered = [document for document in poisoned_documents(over) if document != BY_ID[document.id]]
    assert len(altered) == -(-len(KB) // 2)
    for document in altered:
        original = BY_ID[document.id]
        donors = [each for each in KB if section(each.body, "Root cause") == section(document.body, "Root cause")]
        assert [donor.error_code == original.error_code for donor in donors] == [False]
        assert document.remedies == donors[0].remedies
        assert section(document.body, "Remediation") == section(donors[0].body, "Remediation")
        for title in ("Symptoms", "Breadcrumbs"):
            assert section(document.body, title) == section(original.body, title)


@pytest.mark.parametrize(("share", "altered"), [(0.0, 0), (0.01, 1), (1.0, len(KB))])
def test_the_share_says_how_many_are_poisoned(over: Over, share: float, altered: int) -> None:
    documents = poisoned_documents(over, share)
    assert [document.id for document in documents] == [document.id for document in KB]
    assert sum(document != BY_ID[document.id] for document in documents) == altered


def test_one_seed_one_poison(over: Over) -> None:
    assert poisoned_documents(over, seed=1) == poisoned_documents(over, seed=1)
    assert poisoned_documents(over, seed=1) != poisoned_documents(over, seed=2)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_every_search_meets_the_hostile_document_and_never_first_of_several(over: Over, limit: int) -> None:
    found = PoisonedRetriever(KB, over=over).retrieve(INCIDENT, limit)
    hostile = [passage for passage in found if "To the assistant that reads this" in passage.text]
    assert [*found].index(hostile[0]) == len(found) - 1
    assert len(found) <= limit
    assert hostile[0].id not in BY_ID
    assert hostile[0].remedies == ()
    heading, _, body = hostile[0].text.partition("\n\n")
    assert [line[3:] for line in body.splitlines() if line.startswith("## ")] == [*SECTIONS]
    assert heading in {document.passage(0).text.partition("\n\n")[0] for document in KB}


def test_poison_needs_another_kind_and_a_share(over: Over) -> None:
    alike = [document for document in KB if document.error_code == "FAULT_DB_TIMEOUT"]
    with pytest.raises(InputError, match="one error code"):
        PoisonedRetriever(alike, over=over)
    with pytest.raises(InputError, match=r"1\.5"):
        PoisonedRetriever(KB, over=over, share=1.5)


def test_shuffled_keeps_number_and_scores_and_changes_what_is_said(over: Over) -> None:
    honest = over(KB).retrieve(INCIDENT, 5)
    found = ShuffledRetriever(KB, over=over).retrieve(INCIDENT, 5)
    assert [passage.score for passage in found] == [passage.score for passage in honest]
    codes = {BY_ID[passage.id].error_code for passage in honest}
    assert not codes & {BY_ID[passage.id].error_code for passage in found}
    assert all(passage.text == BY_ID[passage.id].passage(0).text for passage in found)


def test_shuffled_draws_by_seed_and_query(over: Over) -> None:
    def drawn(seed: int, incident: Incident = INCIDENT) -> list[str]:
        return [passage.id for passage in ShuffledRetriever(KB, over=over, seed=seed).retrieve(incident, 5)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, replace(INCIDENT, symptoms="something else"))


def test_no_arm_keeps_anything(over: Over, tmp_path: Path) -> None:
    arms: list[Retriever] = [
        PerfectRetriever(KB, relevant=()),
        StaleRetriever(KB, over=over),
        PoisonedRetriever(KB, over=over),
        ShuffledRetriever(KB, over=over),
    ]
    for arm in arms:
        arm.prepare()
        assert arm.learn(INCIDENT, Fix(root_cause="x")) == arm.learn(INCIDENT, Fix(root_cause="x"), failed="why") == ""
    assert not [*tmp_path.iterdir()]


def test_no_documents_are_no_error(over: Over) -> None:
    for arm in (StaleRetriever((), over=over), PoisonedRetriever((), over=over), ShuffledRetriever((), over=over)):
        assert arm.retrieve(INCIDENT, 5) == ()


def test_altered_documents_read_as_documents_do(over: Over) -> None:
    for document in poisoned_documents(over, share=1.0):
        text = (KB_FOLDER / "db-002-report-query.md").read_text().partition("\n---\n")[0]
        assert parse_document(f"{text}\n---\n\n{document.body}", Path("x.md")).body.strip() == document.body.strip()
