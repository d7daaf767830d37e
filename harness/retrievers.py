"""Retrievers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from harness.errors import InputError
from harness.loading import LoadedScenario
from harness.plugins import made
from harness.ports import Retriever
from harness.retrieval.ablation import PerfectRetriever, PoisonedRetriever, ShuffledRetriever, StaleRetriever
from harness.retrieval.backboard.retriever import BackboardRetriever
from harness.retrieval.base import KnowledgeBase
from harness.retrieval.corpus import Document
from harness.retrieval.dense import DenseRetriever
from harness.retrieval.embedding import MiniLM
from harness.retrieval.hybrid import HybridRetriever
from harness.retrieval.judged import EVALUATION, answers_of
from harness.retrieval.lexical import LexicalRetriever
from harness.retrieval.memory import NoRetriever
from harness.retrieval.vectors import MemoryVectors, PgVectors, Vectors

RETRIEVERS = ("lexical", "dense", "hybrid", "backboard", "none")
ARMS = ("perfect", "stale", "poisoned", "shuffled")  # for experiments: what does a fixer make of such memories?


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What retrievers are made of.

    ``base``: what is searched; None: there is nothing. ``database``: the URL of the PostgreSQL that keeps vectors,
    asked for once it is up; None: they are kept in memory. ``learns``: whether what a trial teaches may leave its
    folder. ``answers``: the ids of the documents that answer this scenario. ``seed``: of what is drawn.
    """

    base: KnowledgeBase | None
    database: Callable[[], str] | None = None
    learns: bool = False
    answers: Callable[[], Sequence[str]] = tuple
    seed: int = 0

    def vectors(self, model: MiniLM) -> Vectors:
        if self.database is None:
            return MemoryVectors()
        return PgVectors(self.database, model=lambda: model.model, dimensions=model.dimensions)


def require_retriever(name: str, *, has_base: bool) -> None:
    """InputError when there is none of that name, or no knowledge base for it to look into."""
    if ":" not in name and name not in ("none", *RETRIEVERS, *ARMS):
        known = ", ".join((*RETRIEVERS, *ARMS))
        raise InputError(f"no retriever {name!r}", cure=f"known: {known}, or your own as mypkg.mymod:MyRetriever")
    if name != "none" and not has_base:
        raise InputError("no knowledge base: no folder kb/ above the scenario", cure="make one, or --retriever none")


def choose_retriever(name: str, shelf: Shelf) -> Retriever:
    """The retriever of that name. InputError when there is none, or when it lacks what it needs. Nothing is started."""
    base = shelf.base
    require_retriever(name, has_base=base is not None)
    if name == "none" or base is None:
        return NoRetriever()
    documents, over = base.documents, partial(LexicalRetriever, learned=base.learned)
    match name:
        case "dense" | "hybrid":
            model = MiniLM()
            kind = DenseRetriever if name == "dense" else HybridRetriever
            return kind(documents, learned=base.learned, store=shelf.vectors(model), embedding=model)
        case "backboard":
            return BackboardRetriever(documents, learned=base.learned, frozen=not shelf.learns)
        case "perfect":
            return PerfectRetriever(documents, relevant=shelf.answers())
        case "stale":
            return StaleRetriever(documents, over=over)
        case "poisoned":
            return PoisonedRetriever(documents, over=over, seed=shelf.seed)
        case "shuffled":
            return ShuffledRetriever(documents, over=over, seed=shelf.seed)
        case "lexical":
            return over(documents)
    return _own(name, documents, base)


def answers_to(loaded: LoadedScenario) -> tuple[str, ...]:
    """What was judged to answer this scenario, best first. InputError where nothing was."""
    assert loaded.kb is not None, "asked for of a knowledge base"
    return answers_of(loaded.kb / EVALUATION, loaded.spec.metadata.name)


def _own(name: str, documents: Sequence[Document], base: KnowledgeBase) -> Retriever:
    retriever: Retriever = made(name, "retriever", "retrieve", documents, learned=base.learned)
    return retriever
