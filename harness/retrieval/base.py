"""A named knowledge base: the documents that ship, what trials have added, and without what was retired."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import InputError
from harness.retrieval.corpus import Document, load_corpus

RETIRED = "retired.txt"  # an id a line, then when and why

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeBase:
    """``documents`` are searched; new ones go to the folder ``learned``."""

    name: str
    documents: tuple[Document, ...]
    learned: Path

    @property
    def snapshot(self) -> str:
        """``NAME@`` and the beginning of a sha256 over all documents: with the same one, trials had the same memory."""
        digest = hashlib.sha256()
        for document in sorted(self.documents, key=lambda each: each.id):
            digest.update(repr(document).encode("utf-8", "replace") + b"\0")
        return f"{self.name}@{digest.hexdigest()[:12]}"


def folder_of(results: Path, name: str) -> Path:
    """Where a named knowledge base keeps what was added to it. InputError for a name that is none."""
    if not _NAME.fullmatch(name):
        raise InputError(f"no name of a knowledge base: {name!r}", cure="use a-z, 0-9, '.', '_' and '-'")
    return results / "kb" / name


def load_base(shipped: Path, added: Path | None = None, *, learned: Path) -> KnowledgeBase:
    """The documents in the folder ``shipped`` and those in ``added``, which replace others of the same id.

    ``added`` may be missing: it begins empty. InputError names file, line, key and cure.
    """
    documents = {document.id: document for document in load_corpus(shipped)}
    if added and added.is_dir():
        documents |= {document.id: document for document in load_corpus(added)}
        documents = {name: document for name, document in documents.items() if name not in retired(added)}
    return KnowledgeBase(name=(added or shipped).name, documents=tuple(documents.values()), learned=learned)


def retired(added: Path) -> frozenset[str]:
    """The ids that are no longer searched."""
    file = added / RETIRED
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return frozenset(line.split()[0] for line in lines if line.strip())


def retire(shipped: Path, added: Path, document_id: str, why: str) -> None:
    """From now on the document is not searched in this knowledge base; its file stays. InputError if it has none."""
    known = {document.id for document in load_base(shipped, added, learned=added).documents}
    if document_id not in known:
        raise InputError(f"no document {document_id!r} in {added.name}", cure="harness kb list shows what is there")
    added.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC).date().isoformat()
    with (added / RETIRED).open("a", encoding="utf-8") as file:
        file.write(f"{document_id}  {today}  {' '.join(why.split())}\n")
