"""Follows growing log files, line by line."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = 1 << 20  # bytes read at most of a file in one look: a flood of logs delays nobody
_BEHIND = 16 << 20  # bytes not read yet from which on most of them are skipped
_SEARCHED = 16 << 20  # bytes of what is skipped that are searched for telling lines
_TELLING = b"FAULT_"
_TELLING_LINES = 20  # that are kept of what is skipped
_HEAD, _GAP, _TAIL = 6144, b" ... ", 2048  # bytes that are kept of a longer line
_SAYS_NOTHING = b" \t\r\v\f\0."  # the dot too: a line of spaces that was cut
_LONGEST = _HEAD + len(_GAP) + _TAIL
_SEEN = 64  # bytes by which a file is known again


class LogTail:
    """New whole lines of some files since the last look; a file that is not there, or no regular file, has none.

    A file that was truncated or replaced is read from its beginning. Of a line that is too long the beginning and the
    end come. Of a file that grows faster than it is read the most is skipped, up to its last megabyte: a line says how
    much, and lines with a fault marker are kept as far as they are found in passing.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = {path: _File() for path in files}

    def read(self) -> list[str]:
        """At most a megabyte of lines for each file, in their order."""
        lines: list[str] = []
        for path, file in self._files.items():
            with _opened(path) as descriptor:
                if descriptor is not None:
                    lines += (line.decode(errors="replace") for line in file.new_lines(descriptor))
        return lines


class _File:
    """How far one file has been read."""

    def __init__(self) -> None:
        self._inode = -1
        self._begin()

    def _begin(self) -> None:
        self._offset = 0
        self._seen = b""  # the last bytes before the offset
        self._rest = b""  # of a line whose end has not been written yet

    def new_lines(self, descriptor: int) -> list[bytes]:
        status = os.fstat(descriptor)
        if status.st_ino != self._inode or status.st_size < self._offset or not self._is_known(descriptor):
            self._inode = status.st_ino
            self._begin()
        skipped = self._skipped(descriptor, status.st_size) if status.st_size - self._offset > _BEHIND else []
        chunk = os.pread(descriptor, _CHUNK, self._offset)
        self._advance(chunk)
        *whole, rest = (self._rest + chunk).split(b"\n")
        self._rest = _cut(rest.lstrip(b"\0"))
        return [*skipped, *(line for line in map(_told, whole) if line)]

    def _is_known(self, descriptor: int) -> bool:
        """Whether what was read last still stands there: a file may be truncated and grow again between two looks."""
        return os.pread(descriptor, len(self._seen), self._offset - len(self._seen)) == self._seen

    def _advance(self, chunk: bytes) -> None:
        self._offset += len(chunk)
        self._seen = (self._seen + chunk[-_SEEN:])[-_SEEN:]

    def _skipped(self, descriptor: int, size: int) -> list[bytes]:
        """Go on to the last megabyte, from its first whole line. What there is to tell of what was left out."""
        begin, end = self._offset, size - _CHUNK
        telling = _telling_lines(descriptor, begin, min(end, begin + _SEARCHED))
        last = os.pread(descriptor, _CHUNK, end)
        self._offset, self._seen, self._rest = end, b"", b""
        self._advance(last[: last.find(b"\n") + 1])
        return [*telling, b"... %d MB of log skipped" % round((self._offset - begin) / 1e6)]


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """The file to read, None where it cannot be: the app may have put a pipe, a link or a folder in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)


def _telling_lines(descriptor: int, begin: int, end: int) -> list[bytes]:
    """The first lines between two offsets that carry a marker; those that reach over the end of a chunk are missed."""
    found: list[bytes] = []
    for offset in range(begin, end, _CHUNK):
        chunk = os.pread(descriptor, min(_CHUNK, end - offset), offset)
        at = chunk.find(_TELLING)
        while at >= 0:
            start, stop = chunk.rfind(b"\n", 0, at) + 1, chunk.find(b"\n", at)
            if start and stop >= 0 and (line := _told(chunk[start:stop])):
                found.append(line)
            if len(found) == _TELLING_LINES:
                return found
            at = chunk.find(_TELLING, stop) if stop >= 0 else -1
    return found


def _told(line: bytes) -> bytes:
    """What is kept of it, without the NULs that fill the hole where a file was truncated under its app.

    Empty where nothing is said: asked of what is kept, since the rest of a long line is gone by when its end comes.
    """
    kept = _cut(line.lstrip(b"\0"))
    return kept if kept.strip(_SAYS_NOTHING) else b""


def _cut(line: bytes) -> bytes:
    return line if len(line) <= _LONGEST else line[:_HEAD] + _GAP + line[-_TAIL:]
