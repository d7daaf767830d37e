"""Retrievers by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.retrieval.base import load_base
from harness.retrievers import ARMS, RETRIEVERS, Shelf, choose_retriever
from tests import events as sample

KB = Path(__file__).parents[2] / "kb"
OWN = """
class Mine:
    name = "mine"
    def __init__(self, documents, *, learned): self.documents, self.learned = documents, learned
    def retrieve(self, incident, limit): return self.documents[:limit]
class Silent:
    def __init__(self, documents, *, learned): pass
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("BACKBOARD_API_KEY", "a-key-of-nobody")
    base = load_base(KB, learned=tmp_path)
    return Shelf(base=base, answers=lambda: (base.documents[0].id,))


@pytest.mark.parametrize("name", [*RETRIEVERS, *ARMS])
def test_each_name_gives_a_retriever_that_bears_it(name: str, shelf: Shelf) -> None:
    assert choose_retriever(name, shelf).name == name


@pytest.mark.parametrize("name", [name for name in (*RETRIEVERS, *ARMS) if name != "backboard"])
def test_what_is_found_is_of_the_knowledge_base(name: str, shelf: Shelf) -> None:
    assert shelf.base
    retriever = choose_retriever(name, shelf)
    retriever.prepare()
    found = retriever.retrieve(sample.incident(), 3)
    assert len(found) == {"none": 0, "perfect": 1}.get(name, 3)
    known = {document.id for document in shelf.base.documents}
    assert len({passage.id for passage in found} - known) == (1 if name == "poisoned" else 0)


def test_the_seed_draws_what_is_drawn(shelf: Shelf, tmp_path: Path) -> None:
    def found(name: str, seed: int) -> list[str]:
        drawn = Shelf(base=shelf.base, seed=seed)
        return [passage.text for passage in choose_retriever(name, drawn).retrieve(sample.incident(), 5)]

    for name in ("poisoned", "shuffled"):
        assert found(name, 1) == found(name, 1)
        assert len({tuple(found(name, seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("name", [name for name in (*RETRIEVERS, *ARMS, "mine:Mine") if name != "none"])
def test_without_a_knowledge_base_only_none_will_do(name: str) -> None:
    assert choose_retriever("none", Shelf(base=None)).name == "none"
    with pytest.raises(InputError, match="no knowledge base"):
        choose_retriever(name, Shelf(base=None))


def test_an_unknown_name_is_told_with_the_known_ones(shelf: Shelf) -> None:
    with pytest.raises(InputError, match=r"(?s)no retriever 'best'.*lexical, dense.*shuffled.*MyRetriever"):
        choose_retriever("best", shelf)


def test_a_class_of_ones_own(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "retrievers_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    assert shelf.base
    mine = choose_retriever("retrievers_of_mine:Mine", shelf)
    assert mine.name == "mine" and mine.retrieve(sample.incident(), 2) == shelf.base.documents[:2]
    with pytest.raises(InputError, match=r"is no retriever: it has no retrieve\(\)"):
        choose_retriever("retrievers_of_mine:Silent", shelf)
    with pytest.raises(InputError, match="takes tuple, learned="):
        choose_retriever("retrievers_of_mine:Nobody", shelf)
    sys.modules.pop("retrievers_of_mine")
