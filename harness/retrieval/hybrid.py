"""Search by words and by meaning at once, then a second look at the names that incident and document share."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.model.fix import Fix
from harness.model.incident import Incident, Passage
from harness.retrieval.corpus import Document
from harness.retrieval.dense import DenseRetriever
from harness.retrieval.embedding import Embedding
from harness.retrieval.learning import learnt_document, write_document
from harness.retrieval.lexical import LexicalRetriever
from harness.retrieval.query import query_text
from harness.retrieval.vectors import Vectors

CANDIDATES = 50  # that each of the two gives
RANK_CONSTANT = 10  # how slowly a rank loses worth; the usual 60 is for runs of a thousand documents

_WORD = re.compile(r"[A-Za-z0-9_]+")
# what code, logs and people write letter by letter: QueuePool, OOMKilled, pg_stat_activity, FAULT_DB_TIMEOUT, SIGKILL,
# and SQLSTATE codes such as 57014 or 42P01 (with no T, as a timestamp's 24T01 has)
_NAME = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]|[A-Za-z0-9]_[A-Za-z0-9]|^SIG[A-Z]+$|^[0-9]{2}[0-9A-SU-Z]{3}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Of words, of meaning, and of shared names. InputError for one below 0, or where the first two are 0."""

    lexical: float = 0.7
    dense: float = 0.3
    names: float = 0.2

    def __post_init__(self) -> None:
        fair = all(0 <= each < math.inf for each in (self.lexical, self.dense, self.names))
        if not fair or self.lexical + self.dense == 0:
            raise InputError(f"these weights rank nothing: {self}", cure="0 or more each, and not both arms 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Why a document stands where it does. Ranks count from 1; None: not among the candidates of that arm."""

    passage: Passage  # its score is between 0 and 1; it ranks within one query
    lexical: int | None
    dense: int | None
    names: tuple[str, ...]  # those of the query that the document bears too


class HybridRetriever:
    """Weighted reciprocal rank fusion (Cormack, Clarke, Büttcher, 2009) of the lexical and the dense retriever.

    Ranks are fused and not scores, since the two kinds of scores have no common scale. On top comes the share of
    the query's names that a document bears; a name counts by how few candidates bear it, and one that all bear not at
    all.
    """

    name = "hybrid"

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        learned: Path,
        store: Vectors,
        embedding: Embedding,
        weights: Weights | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._learned, self._weights = learned, weights or Weights()
        self._documents = {document.id: document for document in documents}
        self._lexical = LexicalRetriever(documents, learned=learned)
        self._dense = DenseRetriever(documents, learned=learned, store=store, embedding=embedding, progress=progress)

    def prepare(self) -> None:
        self._lexical.prepare()
        self._dense.prepare()

    def query(self, incident: Incident) -> str:
        return query_text(incident)

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        """At most ``limit`` passages, best first; equal scores by id."""
        ranked = self._fused(self.query(incident), self._dense.query(incident), limit)
        return tuple(each.passage for each in ranked)

    def search(self, query: str, limit: int) -> Sequence[Passage]:
        """The same for a text."""
        return tuple(each.passage for each in self.ranked(query, limit))

    def ranked(self, query: str, limit: int) -> Sequence[Ranked]:
        """The same, with the reasons."""
        return self._fused(query, query, limit)

    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str:
        """Write the incident to the folder of learnt documents; the next search sees it."""
        document, text = learnt_document(incident, fix, among=[*self._documents.values()], failed=failed)
        write_document(self._learned, document, text)
        self._documents[document.id] = document
        self._lexical.add(document)
        self._dense.add(document)
        return document.id

    def _fused(self, words: str, meaning: str, limit: int) -> Sequence[Ranked]:
        """``words`` is what the lexical arm is asked, ``meaning`` what the dense one is."""
        if limit < 1:
            return ()
        depth = max(limit, CANDIDATES)
        lexical, dense = _ranks(self._lexical.search(words, depth)), _ranks(self._dense.search(meaning, depth))
        candidates = sorted(lexical.keys() | dense.keys())
        asked = _names(words)
        shared = [asked & frozenset(_WORD.findall(self._documents[name].search_text)) for name in candidates]
        worth = _worth(shared)
        ranked = []
        for name, names in zip(candidates, shared, strict=True):
            score = self._score(lexical.get(name), dense.get(name), sum(worth[each] for each in names))
            passage = self._documents[name].passage(score)
            ranked.append(
                Ranked(passage=passage, lexical=lexical.get(name), dense=dense.get(name), names=tuple(sorted(names)))
            )
        return sorted(ranked, key=lambda each: (-each.passage.score, each.passage.id))[:limit]

    def _score(self, lexical: int | None, dense: int | None, names: float) -> float:
        weights = self._weights
        arms = weights.lexical * _of_rank(lexical) + weights.dense * _of_rank(dense)
        return (arms + weights.names * names) / (weights.lexical + weights.dense + weights.names)


def _ranks(passages: Sequence[Passage]) -> dict[str, int]:
    return {passage.id: rank for rank, passage in enumerate(passages, start=1)}


def _of_rank(rank: int | None) -> float:
    """1 for the first, towards 0 for the last."""
    return 0.0 if rank is None else (RANK_CONSTANT + 1) / (RANK_CONSTANT + rank)


def _names(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text) if _NAME.search(word))


def _worth(shared: Sequence[frozenset[str]]) -> dict[str, float]:
    """By how few bear it, as shares of 1 (Spärck Jones, "A statistical interpretation of term specificity", 1972)."""
    bearers = Counter(name for names in shared for name in names)
    rarity = {name: math.log(len(shared) / count) for name, count in bearers.items()}
    whole = sum(rarity.values())
    return {name: each / whole if whole else 0.0 for name, each in rarity.items()}
