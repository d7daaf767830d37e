"""Follows growing log files, line by line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_CHUNK_BYTES = 1 << 20  # read at most this much a call: a flood of logs delays nobody
_LINE_BYTES = 1 << 16  # a longer line is cut


class LogTail:
    """New whole lines of some files since the last look; a file that is not there yet has none.

    A file that was truncated or replaced is read from its beginning.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._rests: dict[Path, bytes] = dict.fromkeys(files, b"")
        self._offsets: dict[Path, int] = dict.fromkeys(self._rests, 0)
        self._inodes: dict[Path, int] = {}

    def read(self) -> list[str]:
        return [line for path in self._rests for line in self._new_lines(path)]

    def _new_lines(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if (
                    self._inodes.setdefault(path, status.st_ino) != status.st_ino
                    or status.st_size < self._offsets[path]
                ):
                    self._inodes[path], self._offsets[path], self._rests[path] = status.st_ino, 0, b""
                file.seek(self._offsets[path])
                chunk = file.read(_CHUNK_BYTES)
        except FileNotFoundError:
            return []
        self._offsets[path] += len(chunk)
        *whole, rest = (self._rests[path] + chunk).split(b"\n")
        self._rests[path] = rest[:_LINE_BYTES]
        return [line[:_LINE_BYTES].decode(errors="replace") for line in whole if line.strip()]
