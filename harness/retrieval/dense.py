"""Search by meaning: the vectors of an incident and of the documents are compared."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import ServiceUnavailable
from harness.model.fix import Fix
from harness.model.incident import Incident, Passage
from harness.retrieval.corpus import Document
from harness.retrieval.embedding import Embedding
from harness.retrieval.learning import learnt_document, write_document
from harness.retrieval.query import brief_query_text
from harness.retrieval.vectors import Vectors, key_of

BATCH = 64  # documents, after which their vectors are kept and progress is told
PREPARE_S = 600.0  # what is not embedded by then is for the next try, which goes on from there

_INDEX_S = 1.0  # at least, for the index

logger = logging.getLogger(__name__)


class DenseRetriever:
    """The nearest documents by cosine.

    One vector a document, of the first 256 tokens: code, title, tags, symptoms. An incident is told by its
    symptoms, and so they are what it is compared with. Vectors of root cause and remediation beside that, of which the
    best counted, found less of what was wanted in queries made of trials. Scores are cosines, of which those above
    0 count: they rank within one query.

    ``store`` keeps the vectors. ``progress`` is told how many documents of how many are embedded.
    """

    name = "dense"

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        learned: Path,
        store: Vectors,
        embedding: Embedding,
        progress: Callable[[int, int], None] | None = None,
        prepare_s: float = PREPARE_S,
    ) -> None:
        self._learned, self._store, self._embedding = learned, store, embedding
        self._progress, self._prepare_s = progress or _logged, prepare_s
        self._documents: dict[str, Document] = {}
        self._by_key: dict[bytes, set[str]] = {}  # ids of the documents with this text
        self._missing: dict[bytes, str] = {}  # texts that may have no vector yet
        for document in documents:
            self.add(document)

    def prepare(self) -> None:
        """Load the model and embed what is new. ServiceUnavailable also where that takes over ``prepare_s``."""
        self._embedding.embed(("the first run is slower than the others",))
        self._embed_missing()

    def query(self, incident: Incident) -> str:
        return brief_query_text(incident)

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        """At most ``limit`` passages, best first; equal scores by id."""
        return self.search(self.query(incident), limit)

    def search(self, query: str, limit: int) -> Sequence[Passage]:
        """The same for a text, of which the first 256 tokens count."""
        if not query.strip() or not self._documents or limit < 1:
            return ()
        self._embed_missing()
        (vector,) = self._embedding.embed((query,))
        found = self._store.nearest(vector, self._by_key.keys(), limit)
        pairs = [(score, self._documents[name]) for key, score in found for name in self._by_key[key] if score > 0]
        pairs.sort(key=lambda pair: (-pair[0], pair[1].id))
        return tuple(document.passage(score) for score, document in pairs[:limit])

    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str:
        """Write the incident to the folder of learnt documents; the next search embeds and sees it."""
        document, text = learnt_document(incident, fix, among=[*self._documents.values()], failed=failed)
        write_document(self._learned, document, text)
        self.add(document)
        return document.id

    def add(self, document: Document) -> None:
        """From now on it is searched, in place of one of the same id. Its vector is made at the next search."""
        if earlier := self._documents.get(document.id):
            key = key_of(earlier.search_text)
            self._by_key[key].discard(document.id)
            if not self._by_key[key]:
                del self._by_key[key]
                self._missing.pop(key, None)
        key = key_of(document.search_text)
        self._documents[document.id] = document
        if key not in self._by_key:
            self._missing[key] = document.search_text
        self._by_key.setdefault(key, set()).add(document.id)

    def _embed_missing(self) -> None:
        if not self._missing:
            return
        until_s = time.monotonic() + self._prepare_s
        known = self._store.known(self._missing.keys())
        todo = [(key, text) for key, text in self._missing.items() if key not in known]
        for done in range(0, len(todo), BATCH):
            if done and time.monotonic() > until_s:
                raise ServiceUnavailable(
                    f"{done} of {len(todo)} documents were embedded in {self._prepare_s:g} s",
                    cure="try again: it goes on from there",
                )
            keys, texts = zip(*todo[done : done + BATCH], strict=True)
            self._store.keep(keys, self._embedding.embed(texts))
            self._progress(done + len(keys), len(todo))
        self._store.index(self._by_key.keys(), max(until_s - time.monotonic(), _INDEX_S))
        self._missing.clear()


def _logged(done: int, wanted: int) -> None:
    if done % (16 * BATCH) == 0 or done == wanted:
        logger.info("embedded %d of %d documents", done, wanted)
