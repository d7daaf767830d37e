"""Retrieval by Backboard.io.

Past incidents are stored twice: as memories, which are searched by meaning and give scores, and as documents, from
which Backboard's assistant writes an analysis of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError, ServiceUnavailable
from harness.model.fix import Fix
from harness.model.incident import Incident, Passage
from harness.redaction import redacted, secrets_in
from harness.retrieval.backboard.analysis import Analysis, analysed
from harness.retrieval.backboard.calls import (
    Account,
    Calls,
    Gone,
    Limits,
    Refused,
    Unsure,
    backoff_s,
    connected,
    require_sdk,
    run,
)
from harness.retrieval.backboard.seeding import ID, Seeding, State, Told
from harness.retrieval.corpus import Document
from harness.retrieval.learning import learnt_document, write_document
from harness.retrieval.query import query_text

if TYPE_CHECKING:
    from backboard.models import Assistant

logger = logging.getLogger(__name__)

MAX_QUERY_CHARS: Final = 8_000
MAX_FOUND: Final = 50  # the most that Backboard searches for

_MOST_ASSISTANTS: Final = 200


class _Hit(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # a service's answers grow

    metadata: dict[str, Any] | None = None
    score: float = Field(allow_inf_nan=False)


class _Found(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    memories: list[_Hit]


class BackboardRetriever:
    """The given documents, ranked by Backboard. Scores are its similarities: higher is nearer, within one query.

    The documents that it is given are the knowledge base; what else the assistant remembers is never a passage. What
    is learnt goes to the folder ``learned``, and to the assistant as well unless the knowledge base is ``frozen``. All
    that leaves the machine is redacted first.

    InputError where the account is incomplete or the SDK is missing. Every failure of Backboard or the network is
    ServiceUnavailable, in one line and without the key.
    """

    name = "backboard"

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        learned: Path,
        frozen: bool = False,
        account: Account | None = None,
        limits: Limits | None = None,
    ) -> None:
        """``account``: by default, what the environment says."""
        require_sdk()
        self._documents = {document.id: document for document in documents}
        self._learned, self._frozen = learned, frozen
        self._account = account or Account.read()
        self._limits = limits or Limits()
        self._assistant: str | None = None  # its id, once it holds the documents
        self._others = 0  # memories that it holds beside them

    def prepare(self) -> None:
        """Make the assistant where there is none, and bring its memories to what the knowledge base holds.

        Where all is there, it takes two requests.
        """
        run(self._prepared())

    def query(self, incident: Incident) -> str:
        """What is sent."""
        return redacted(query_text(incident), secrets_in(os.environ)).strip()[:MAX_QUERY_CHARS]

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        """At most ``limit`` and 50 passages, best first; equal scores by id. All tries within ``Limits.search_s``."""
        query = self.query(incident)
        if limit < 1 or not query or not self._documents:
            return ()
        return run(self._searched(query, limit))

    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str:
        """Keep the incident in the folder, and unless frozen as a memory and a document. Twice is once.

        It ends within ``Limits.learn_s``: the memory is there then, the document may be indexed later. What cannot be
        sent is warned of: it is in the folder, and ``prepare`` sends the memories of all that is searched.
        """
        document, text = learnt_document(incident, fix, among=[*self._documents.values()], failed=failed)
        write_document(self._learned, document, text)
        self._documents[document.id] = document
        if not self._frozen:
            try:
                run(self._seeded([document], _untold, within_s=self._limits.learn_s, wait=False))
            except ServiceUnavailable as error:
                logger.warning("%s is kept in %s, and not sent: %s", document.id, self._learned, error.message)
        return document.id

    def seed(self, told: Told) -> dict[str, State]:
        """Bring the assistant's memories and documents to what the knowledge base holds; InputError for a wrong key.

        ``told`` hears of each document once. What is there already is kept: to seed again changes nothing, or goes on
        where it was cut short.
        """
        try:
            return run(self._seeded(self._documents.values(), told, within_s=self._limits.seed_s, wait=True))
        except Refused as error:
            raise InputError(error.message, cure=error.cure) from None

    def analyse(self, incident: Incident) -> Analysis:
        """The assistant's own answer, from the documents that ``seed`` gave it. Within ``Limits.analysis_s``."""
        return run(self._analysed(incident))

    async def _prepared(self) -> None:
        async with connected(self._account, self._limits, within_s=self._limits.prepare_s) as calls:
            await self._ready(calls)

    async def _searched(self, query: str, limit: int) -> tuple[Passage, ...]:
        async with connected(self._account, self._limits, within_s=self._limits.search_s) as calls:
            assistant = self._assistant or await self._ready(calls)
            most = min(MAX_FOUND, limit + self._others)
            try:
                reply = await calls.ask(
                    "the search", lambda client: client.search_memories(assistant, query, limit=most)
                )
            except Gone:
                self._assistant = None
                raise
            try:
                return self._passages(_Found.model_validate(reply).memories, limit)
            except ValidationError:
                raise calls.failed("the search: the answer is not in Backboard's protocol") from None

    def _passages(self, hits: Iterable[_Hit], limit: int) -> tuple[Passage, ...]:
        """Of several memories of one document, the nearest counts."""
        best: dict[str, float] = {}
        for hit in hits:
            name = str((hit.metadata or {}).get(ID))
            if name in self._documents:
                best[name] = max(hit.score, best.get(name, hit.score))
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        return tuple(self._documents[name].passage(score) for name, score in ranked[:limit])

    async def _seeded(
        self, documents: Iterable[Document], told: Told, *, within_s: float, wait: bool
    ) -> dict[str, State]:
        async with connected(self._account, self._limits, within_s=within_s) as calls:
            assistant = await _found_or_made(calls)
            seeding = Seeding(calls, assistant, documents, told)
            await seeding.run(files=True, wait=wait)
            return seeding.changes

    async def _ready(self, calls: Calls) -> str:
        assistant = await _found_or_made(calls)
        seeding = Seeding(calls, assistant, self._documents.values(), _untold)
        await seeding.run(files=False)
        self._assistant, self._others = assistant, seeding.others
        return assistant

    async def _analysed(self, incident: Incident) -> Analysis:
        async with connected(self._account, self._limits, within_s=self._limits.analysis_s) as calls:
            return await analysed(calls, self._assistant or await _found_or_made(calls), incident)


def _untold(_document: str, _state: State) -> None:
    """Nobody wants to know."""


async def _found_or_made(calls: Calls) -> str:
    """The id of the oldest assistant of that name, with today's instructions. Two that make it at once agree on one."""
    name, prompt = calls.account.assistant, instructions()
    for number in range(1, calls.limits.tries + 1):
        found = await calls.ask(
            "the list of assistants", lambda client: client.list_assistants(name=name, limit=_MOST_ASSISTANTS)
        )
        ours = sorted((one for one in found if one.name == name), key=lambda one: one.created_at.isoformat())
        if ours:
            return await _instructed(calls, ours[0], prompt)
        with suppress(Unsure):  # the next look tells
            await calls.ask(
                "a new assistant", lambda client: client.create_assistant(name, system_prompt=prompt), repeatable=False
            )
            continue
        await calls.pause("a new assistant", backoff_s(calls.limits, number))
    raise calls.failed(f"the assistant {name} was made, and is not listed")


async def _instructed(calls: Calls, assistant: Assistant, prompt: str) -> str:
    name = str(assistant.assistant_id)
    if assistant.system_prompt != prompt:
        await calls.ask(
            "the assistant's instructions", lambda client: client.update_assistant(name, system_prompt=prompt)
        )
    return name


def instructions() -> str:
    """The assistant's system prompt; its first line bears the version."""
    return (files("harness.retrieval.backboard") / "prompt.md").read_text(encoding="utf-8").strip()
