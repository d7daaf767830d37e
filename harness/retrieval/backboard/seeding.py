"""Bringing an assistant's memories and documents to what a knowledge base holds: done twice, it changes nothing.

A memory bears the document's id and a sha256 of its text as metadata; a document, which takes no metadata, in its file
name. A pass lists what is there, and adds, replaces and removes what differs. A process that dies in between leaves
nothing to clean up: the next pass goes on. Where it is unknown whether something was added, another pass looks. What
others put there is left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.redaction import redacted, secrets_in
from harness.retrieval.backboard.calls import Calls, Gone, Unsure, backoff_s
from harness.retrieval.corpus import Document

if TYPE_CHECKING:
    from backboard import BackboardClient
    from backboard.models import Document as File
    from backboard.models import MemoriesListResponse, Memory

ID: Final = "creamandonion_id"  # keys of a memory's metadata
SHA256: Final = "creamandonion_sha256"
MEMORY_CHARS: Final = 24_000  # what an embedding of 8,191 tokens still reads

State = Literal["new", "changed", "kept"]
Told = Callable[[str, State], None]  # a document's id, and what became of it

_PAGE: Final = 100  # the most that Backboard gives at once
_PAGES: Final = 200
_FILE: Final = re.compile(r"(?P<id>.+)\.(?P<sha>[0-9a-f]{12})\.md")
_ENDED_BADLY: Final = frozenset({"error", "failed"})
_READ_IT: Final = "mend or shorten the document, and run harness kb seed again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A document as it leaves the machine: without secrets."""

    id: str
    title: str
    text: str

    @classmethod
    def of(cls, document: Document) -> Sent:
        about = f"{document.error_code} in {document.service}, {document.date.isoformat()}. {', '.join(document.tags)}"
        text = redacted(f"# {document.title}\n\n{about}\n\n{document.body}", secrets_in(os.environ))
        return cls(id=document.id, title=text.partition("\n")[0].removeprefix("# "), text=text)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def file_name(self) -> str:
        return f"{self.id}.{self.sha256[:12]}.md"


def document_id(file_name: str) -> str | None:
    """Of a file that was uploaded from here; None: of another."""
    match = _FILE.fullmatch(file_name)
    return match["id"] if match else None


class Seeding:
    """``assistant`` is brought to hold ``documents``. ``changes`` says what was done to each, once it is done."""

    def __init__(self, calls: Calls, assistant: str, documents: Iterable[Document], told: Told) -> None:
        self.changes: dict[str, State] = {}
        self.others = 0  # memories that are not of these documents
        self._calls, self._assistant, self._told = calls, assistant, told
        self._documents = [Sent.of(document) for document in documents]
        self._ids = frozenset(sent.id for sent in self._documents)

    async def run(self, *, files: bool, wait: bool = True) -> None:
        """Memories, and with ``files`` the documents too; with ``wait`` until they are indexed.

        ServiceUnavailable says why not.
        """
        for number in range(1, self._calls.limits.tries + 1):
            try:
                await self._memories()
                if files:
                    await self._files(wait=wait)
            except (Unsure, Gone):  # unsure whether it was added; or somebody removed what was just listed
                if number == self._calls.limits.tries:
                    raise
                await self._calls.pause("seeding", backoff_s(self._calls.limits, number))
            else:
                break
        for sent in self._documents:
            self._done(sent, "kept")

    def _done(self, sent: Sent, state: State) -> None:
        """The first change counts: what was new in one pass is there in the next."""
        if sent.id not in self.changes:
            self.changes[sent.id] = state
            self._told(sent.id, state)

    async def _memories(self) -> None:
        there: dict[str, list[Memory]] = defaultdict(list)
        for memory in await listed_memories(self._calls, self._assistant):
            there[str((memory.metadata or {}).get(ID))].append(memory)
        self.others = sum(len(have) for name, have in there.items() if name not in self._ids)
        for sent in self._documents:
            await self._memory(sent, sorted(there[sent.id], key=lambda memory: (not _tells(memory, sent), memory.id)))

    async def _memory(self, sent: Sent, have: Sequence[Memory]) -> None:
        """``have``: what is remembered of the document, the right one first; the others are superfluous."""
        content, metadata = sent.text[:MEMORY_CHARS], {ID: sent.id, SHA256: sent.sha256, "title": sent.title}
        what = f"the memory {sent.id}"
        if not have:
            await self._calls.ask(
                what, lambda client: client.add_memory(self._assistant, content, metadata), repeatable=False
            )
            self._done(sent, "new")
        elif not _tells(have[0], sent):
            await self._calls.ask(
                what, lambda client: client.update_memory(self._assistant, have[0].id, content, metadata)
            )
            self._done(sent, "changed")
        for memory in have[1:]:
            await self._forgotten(what, memory.id)

    async def _files(self, *, wait: bool) -> None:
        """An older text stays until the new one is indexed, so that it can be found meanwhile."""
        there = await self._calls.ask(
            "the list of documents", lambda client: client.list_assistant_documents(self._assistant)
        )
        there = [file for file in there if document_id(file.filename) in self._ids]
        known = {document_id(file.filename) for file in there}
        for file in there:
            if file.status in _ENDED_BADLY:
                await self._without(file)
        sound = [file for file in there if file.status not in _ENDED_BADLY]
        sound.sort(key=lambda file: (_is_indexed(file), file.document_id))  # all who seed keep the same one of two
        right = {file.filename: file for file in sound}  # of two of one name, one that is indexed
        for sent in self._documents:
            if sent.file_name not in right:
                right[sent.file_name] = await self._uploaded(sent)
                self._done(sent, "changed" if sent.id in known else "new")
        chosen = [right[sent.file_name] for sent in self._documents]
        if wait:
            await self._indexed([file for file in chosen if not _is_indexed(file)])
        stays = [*chosen, *([] if wait else _readable([*sound, *chosen]).values())]
        for file in sound:
            if file not in stays:
                await self._without(file)

    async def _uploaded(self, sent: Sent) -> File:
        with tempfile.TemporaryDirectory(prefix="backboard-") as folder:  # the SDK takes no text, and its file's name
            path = Path(folder) / sent.file_name
            path.write_text(sent.text, encoding="utf-8")
            return await self._calls.ask(
                f"the document {sent.id}",
                lambda client: client.upload_document_to_assistant(self._assistant, path),
                repeatable=False,
            )

    async def _indexed(self, files: Iterable[File]) -> None:
        """Wait until each is. ServiceUnavailable names those that cannot be, once the others are."""
        waiting, refused = {str(file.document_id): file.filename for file in files}, []
        progress_s = time.monotonic()
        while waiting:
            for name in list(waiting):
                file = await self._status(name, waiting[name])
                if file.status in _ENDED_BADLY:
                    refused.append(f"{waiting[name]} ({file.status_message or 'no reason given'})")
                if _is_indexed(file) or file.status in _ENDED_BADLY:
                    del waiting[name]
                    progress_s = time.monotonic()
            what = f"{len(waiting)} documents are not indexed yet"
            if waiting and time.monotonic() - progress_s > self._calls.limits.indexing_s:
                raise self._calls.failed(what, cure="run harness kb seed again: what is there is kept")
            if waiting:
                await self._calls.pause(what, self._calls.limits.poll_s)
        if refused:
            raise self._calls.failed(f"could not index {', '.join(refused)}", cure=_READ_IT)

    async def _status(self, document: str, file_name: str) -> File:
        return await self._calls.ask(f"the state of {file_name}", lambda client: client.get_document_status(document))

    async def _forgotten(self, what: str, memory: str) -> None:
        await self._removed(what, lambda client: client.delete_memory(self._assistant, memory))

    async def _without(self, file: File) -> None:
        name = str(file.document_id)
        await self._removed(f"an older {file.filename}", lambda client: client.delete_document(name))

    async def _removed(self, what: str, call: Callable[[BackboardClient], Awaitable[object]]) -> None:
        """What is gone already need not be removed."""
        with suppress(Gone):
            await self._calls.ask(f"the removal of {what}", call)


async def listed_memories(calls: Calls, assistant: str) -> list[Memory]:
    """All memories of the assistant."""
    found: list[Memory] = []
    for page in range(1, _PAGES + 1):
        part = await _page(calls, assistant, page)
        found += part.memories
        if not part.memories or len(found) >= part.total_count:
            return found
    raise calls.failed(
        f"the assistant holds over {_PAGE * _PAGES} memories", cure="choose another: BACKBOARD_ASSISTANT"
    )


async def _page(calls: Calls, assistant: str, page: int) -> MemoriesListResponse:
    return await calls.ask(
        "the list of memories", lambda client: client.get_memories(assistant, page=page, page_size=_PAGE)
    )


def _tells(memory: Memory, sent: Sent) -> bool:
    return bool((memory.metadata or {}).get(SHA256) == sent.sha256)


def _readable(files: Iterable[File]) -> dict[str | None, File]:
    """By document, the last of the files that are indexed."""
    return {document_id(file.filename): file for file in files if _is_indexed(file)}


def _is_indexed(file: File) -> bool:
    return bool(file.status == "indexed")
