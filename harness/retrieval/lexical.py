"""Search by words (BM25), strong where an incident names its error."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.model.fix import Fix
from harness.model.incident import Incident, Passage
from harness.retrieval.corpus import Document
from harness.retrieval.learning import learnt_document, write_document
from harness.retrieval.query import MARKER, query_text
from harness.retrieval.tokens import tokens

# The app's own name for its fault outweighs the words that every incident shares: routes, percentiles, requests.
MARKER_WEIGHT = 5


class LexicalRetriever:
    """BM25 over whole documents (Robertson, Zaragoza, "The Probabilistic Relevance Framework", 2009).

    ``learned`` is the folder for new documents. Scores are BM25 scores: they rank within one query and mean nothing
    beyond it.
    """

    name = "lexical"

    def __init__(self, documents: Sequence[Document], *, learned: Path) -> None:
        self._learned = learned
        self._documents = {document.id: document for document in documents}
        self._index: Any = None  # bm25s publishes no types; None: to be built at the next search

    def prepare(self) -> None:
        """Build the index: a trial is not to wait for it in an outage."""
        if self._documents:
            self._built_index()

    def query(self, incident: Incident) -> str:
        return query_text(incident)

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        """At most ``limit`` passages that share a word with the incident, best first; equal scores by id."""
        return self.search(query_text(incident), limit)

    def search(self, query: str, limit: int) -> Sequence[Passage]:
        """The same for a text. Each word of it counts once, and a marker ``MARKER_WEIGHT`` times."""
        terms = list(dict.fromkeys(tokens(query)))
        terms += [marker.lower() for marker in sorted(set(MARKER.findall(query)))] * (MARKER_WEIGHT - 1)
        if not terms or not self._documents or limit < 1:
            return ()
        scores = self._built_index().get_scores(terms).tolist()
        least = min(heapq.nlargest(limit, scores))  # so that of many only a few are sorted
        found = [
            pair for pair in zip(self._documents.values(), scores, strict=True) if pair[1] >= least and pair[1] > 0
        ]
        found.sort(key=lambda pair: (-pair[1], pair[0].id))
        return tuple(document.passage(score) for document, score in found[:limit])

    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str:
        """Write the incident to the folder of learnt documents; the next search sees it. Learning twice overwrites."""
        document, text = learnt_document(incident, fix, among=[*self._documents.values()], failed=failed)
        write_document(self._learned, document, text)
        self.add(document)
        return document.id

    def add(self, document: Document) -> None:
        """From now on it is searched, in place of one of the same id."""
        self._documents[document.id] = document
        self._index = None

    def _built_index(self) -> Any:  # noqa: ANN401 bm25s publishes no types
        if self._index is None:
            import bm25s  # noqa: PLC0415 takes 0.7 s to import, and a run without search never needs it

            self._index = bm25s.BM25()
            self._index.index(
                [tokens(document.search_text) for document in self._documents.values()], show_progress=False
            )
        return self._index
