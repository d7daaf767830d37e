"""What the stand-in of Backboard remembers: assistants, memories, documents and threads, in memory, as JSON values."""

from __future__ import annotations

import math
import re
import threading
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from harness.retrieval.tokens import tokens

Json = dict[str, Any]

MAX_FOUND: Final = 50
STATUS: Final = ("pending", "processing", "indexed")  # each look at a document brings it one further

_HEADING: Final = re.compile(r"^## (Root cause|Remediation|Verification)$", re.MULTILINE)
_SOURCES: Final = 3


class Store:
    """One account. Every method is one request; KeyError where what it names is not there."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.unreadable: set[str] = set()  # ids of documents whose files cannot be indexed: "db-001"
        self.slow_answers = False  # an analysis is not ready when it is asked for, only at the next look
        self.assistants: dict[str, Json] = {}
        self.memories: dict[str, dict[str, Json]] = {}  # by assistant
        self.documents: dict[str, Json] = {}
        self.threads: dict[str, Json] = {}

    def create_assistant(self, body: Json) -> Json:
        made = {
            "assistant_id": str(uuid.uuid4()),
            "name": body["name"],
            "description": body.get("description"),
            "system_prompt": body.get("system_prompt"),
            "tools": None,
            "tok_k": body.get("tok_k", 10),
            "created_at": _now(),
        }
        self.assistants[made["assistant_id"]] = made
        self.memories[made["assistant_id"]] = {}
        return made

    def list_assistants(self, name: str | None, skip: int, limit: int) -> list[Json]:
        return [one for one in self.assistants.values() if name in (None, one["name"])][skip : skip + limit]

    def update_assistant(self, assistant: str, body: Json) -> Json:
        self.assistants[assistant] |= body
        return self.assistants[assistant]

    def delete_assistant(self, assistant: str) -> Json:
        del self.assistants[assistant], self.memories[assistant]
        return {"message": "Assistant deleted", "assistant_id": assistant, "deleted_at": _now()}

    def add_memory(self, assistant: str, body: Json) -> Json:
        name = str(uuid.uuid4())
        stored = {"id": name, "content": body["content"], "metadata": body.get("metadata"), "created_at": _now()}
        self.memories[assistant][name] = stored
        return {"success": True, "memory_id": name, "content": body["content"]}

    def list_memories(self, assistant: str, page: int | None, size: int) -> Json:
        every = list(self.memories[assistant].values())
        part = every if page is None else every[(page - 1) * size : page * size]
        pages = {} if page is None else {"page": page, "page_size": size, "total_pages": -(-len(every) // size)}
        return {"memories": part, "total_count": len(every), **pages}

    def update_memory(self, assistant: str, memory: str, body: Json) -> Json:
        stored = self.memories[assistant][memory]
        stored |= {"content": body["content"], "updated_at": _now()}
        stored |= {"metadata": body["metadata"]} if "metadata" in body else {}
        return stored

    def delete_memory(self, assistant: str, memory: str) -> Json:
        del self.memories[assistant][memory]
        return {"success": True, "message": "Memory deleted"}

    def search(self, assistant: str, query: str, limit: int) -> Json:
        """Cosine of the sets of words, 0 to 1, nearest first: a stand-in for meaning."""
        scored = [{**one, "score": alike(query, one["content"])} for one in self.memories[assistant].values()]
        ranked = sorted(scored, key=lambda one: -one["score"])
        found = [one for one in ranked if one["score"] > 0][: min(limit, MAX_FOUND)]
        return {"memories": found, "total_count": len(found)}

    def upload(self, assistant: str, file_name: str, content: str) -> Json:
        self.assistants[assistant]  # there is one
        made: Json = {
            "document_id": str(uuid.uuid4()),
            "filename": file_name,
            "status": STATUS[0],
            "created_at": _now(),
            "file_size_bytes": len(content.encode()),
            "assistant": assistant,
            "content": content,
        }
        self.documents[made["document_id"]] = made
        return _shown(made)

    def list_documents(self, assistant: str) -> list[Json]:
        self.assistants[assistant]  # there is one
        return [_shown(one) for one in self.documents.values() if one["assistant"] == assistant]

    def document_status(self, document: str) -> Json:
        one = self.documents[document]
        if one["status"] == STATUS[1] and one["filename"].split(".")[0] in self.unreadable:
            one |= {"status": "error", "status_message": "the file could not be parsed"}
        elif one["status"] in STATUS[:2]:
            one["status"] = STATUS[STATUS.index(one["status"]) + 1]
        return _shown(one)

    def delete_document(self, document: str) -> Json:
        del self.documents[document]
        return {"message": "Document deleted", "document_id": document, "deleted_at": _now()}

    def create_thread(self, assistant: str) -> Json:
        self.assistants[assistant]  # there is one
        made: Json = {"thread_id": str(uuid.uuid4()), "created_at": _now(), "messages": [], "assistant": assistant}
        self.threads[made["thread_id"]] = made
        return _shown(made)

    def get_thread(self, thread: str) -> Json:
        for message in self.threads[thread]["messages"]:
            message |= {"status": "COMPLETED", "content": message["content"] or message["ready"]}
        return _shown(self.threads[thread])

    def delete_thread(self, thread: str) -> Json:
        del self.threads[thread]
        return {"message": "Thread deleted", "thread_id": thread, "deleted_at": _now()}

    def add_message(self, body: Json) -> Json:
        """The answer of an assistant that quotes its nearest document."""
        thread, asked = self.threads[body["thread_id"]], body.get("content", "")
        sources = self._nearest(thread["assistant"], asked)
        text = _quoted(sources[0]) if sources else "## Root cause\nNo past incident resembles this one.\n"
        names = [one["filename"] for one in sources]
        answer = {
            "message_id": str(uuid.uuid4()),
            "role": "assistant",
            "content": None if self.slow_answers else text,
            "status": "IN_PROGRESS" if self.slow_answers else "COMPLETED",
            "created_at": _now(),
            "metadata_": {"retrieved_files": names, "model_name": "stand-in-001"},
            "ready": text,
        }
        question = {
            "message_id": str(uuid.uuid4()),
            "role": "user",
            "content": asked,
            "created_at": _now(),
            "ready": "",
        }
        thread["messages"] += [question, answer]
        meta = {"retrieved_files": names, "model_provider": "stand-in", "model_name": "stand-in-001"}
        return {"messages": [{**_shown(answer), **meta, "thread_id": body["thread_id"], "timestamp": _now()}]}

    def _nearest(self, assistant: str, question: str) -> list[Json]:
        indexed = [
            one for one in self.documents.values() if (one["assistant"], one["status"]) == (assistant, STATUS[-1])
        ]
        ranked = sorted(indexed, key=lambda one: -alike(question, one["content"]))
        return [one for one in ranked if alike(question, one["content"]) > 0][:_SOURCES]


def alike(one: str, other: str) -> float:
    """Cosine of two texts as sets of words."""
    words, others = frozenset(tokens(one)), frozenset(tokens(other))
    return len(words & others) / math.sqrt(len(words) * len(others)) if words and others else 0.0


def _shown(value: Json) -> Json:
    """Without what only the store knows; the content of a document stays inside, that of a message does not."""
    inside = {"assistant", "ready"} | ({"content"} if "filename" in value else set())
    shown = {key: item for key, item in value.items() if key not in inside}
    return {**shown, "messages": [_shown(each) for each in value["messages"]]} if "messages" in value else shown


def _quoted(document: Json) -> str:
    parts = _HEADING.split(document["content"])[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    return "\n".join(f"## {title}\n{text.partition('## ')[0].strip()}\n" for title, text in sections.items())


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
