"""What the bot did to other people's repositories: one line each, only ever added to, each sealed by the one before."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import TypeAdapter, ValidationError

from harness.errors import ServiceUnavailable

FILE = "deliveries.jsonl"  # in the results folder
Action = Literal["refused", "pushed", "passed", "failed", "reverted", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that was done, or refused."""

    at: str  # ISO 8601, UTC
    action: Action
    trial: str
    remote: str
    branch: str
    incident: str = ""
    attempt: int = 0
    confidence: float | None = None
    commit: str = ""  # that the action is about: what was pushed, by which pipeline, what was taken back
    base: str = ""  # what the commit stands on
    folder: str = "."
    author: str = ""
    reason: str = ""
    revert: str = ""  # the commit that took it back
    previous: str = ""  # sha256 of the line before; of the first: empty


_ENTRY = TypeAdapter(Entry)


class Audit:
    """The log in ``results``. Every call reads the whole file: it is short, and others may write to it."""

    def __init__(self, results: Path) -> None:
        self.path = results / FILE

    def entries(self) -> list[Entry]:
        """In order. ServiceUnavailable where a line was changed or taken out."""
        try:
            with self.path.open("rb") as file:
                return [entry for entry, _ in self._lines(file)]
        except FileNotFoundError:
            return []

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else delivers meanwhile: what is counted still holds when the commit is pushed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def append(self, entry: Entry) -> None:
        """On disk before it returns. ServiceUnavailable on a broken chain, and when the disk refuses."""
        try:
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                seals = [seal for _, seal in self._lines(file)]
                line = json.dumps({**asdict(entry), "previous": seals[-1] if seals else ""}, ensure_ascii=False) + "\n"
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            cure = "make room there: what cannot be recorded is not done"
            raise ServiceUnavailable(f"{self.path} cannot be written: {error.strerror}", cure=cure) from None

    def _lines(self, file: BinaryIO) -> Iterator[tuple[Entry, str]]:
        """Each entry and the seal of its line."""
        seal = ""
        for number, line in enumerate(file, start=1):
            try:
                entry = _ENTRY.validate_json(line)
            except ValidationError as error:
                raise self._broken(number, error.errors()[0]["msg"]) from None
            if entry.previous != seal or not line.endswith(b"\n"):
                raise self._broken(number, "it does not follow the line before it")
            seal = hashlib.sha256(line).hexdigest()
            yield entry, seal

    def _broken(self, number: int, why: str) -> ServiceUnavailable:
        cure = "somebody changed it: find out who, and move it away before anything is delivered again"
        return ServiceUnavailable(f"{self.path}:{number}: {why}", cure=cure)


def standing(entries: Sequence[Entry]) -> list[Entry]:
    """Of what was pushed, whatever nobody has kept or taken back."""
    decided = {entry.commit for entry in entries if entry.action in ("kept", "reverted")}
    return [entry for entry in entries if entry.action == "pushed" and entry.commit not in decided]


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
