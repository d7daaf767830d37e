"""Retrievers without an index: a list for dry runs, and none at all."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.fix import Fix
from harness.model.incident import Incident, Passage
from harness.retrieval.learning import learnt_document


class MemoryRetriever:
    """A list of passages: those that name the incident's error code first, the newest first among equals."""

    name = "memory"

    def __init__(self, passages: Sequence[Passage] = ()) -> None:
        self._passages = {passage.id: passage for passage in passages}

    def prepare(self) -> None:
        """The list is ready."""

    def query(self, incident: Incident) -> str:
        return incident.error_code

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        newest_first = reversed(self._passages.values())
        ranked = sorted(newest_first, key=lambda passage: incident.error_code not in passage.text)
        return tuple(ranked[: max(limit, 0)])

    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str:
        known = [remedy for passage in self._passages.values() for remedy in passage.remedies if passage.helped]
        document, _ = learnt_document(incident, fix, known=known, failed=failed)
        self._passages.pop(document.id, None)  # so that it counts as newest when it is learnt again
        self._passages[document.id] = document.passage(score=0.0)
        return document.id


class NoRetriever:
    """The arm without memory: finds nothing, keeps nothing."""

    name = "none"

    def prepare(self) -> None:
        """Nothing is there to be prepared."""

    def query(self, incident: Incident) -> str:
        """Nothing is looked up."""
        return ""

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        return ()

    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str:
        """An empty id: no document was made."""
        return ""
