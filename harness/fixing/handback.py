"""What an agent has left in its folder, read as data: how the app's files differ, and ``fix.json``.

No link is followed, that of the folder itself included: it could lead to what is hidden from the agent, not from us.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from harness.errors import ProposalFailed
from harness.fixing.briefing import ANSWER, APP
from harness.fixing.guard import MAX_FILE_BYTES
from harness.model.fix import DeleteFile, Edit, WriteFile

MAX_ANSWER_BYTES: Final = 1_000_000
MAX_ENTRIES: Final = 20_000  # files and folders that are looked at
MAX_CHANGED: Final = 200  # files: the guard takes far fewer
_COUNT: Final = 10**12

_Text = Annotated[str, Field(max_length=20_000)]
_Count = Annotated[int, Field(ge=0, le=_COUNT)]


class Answer(BaseModel):
    """``fix.json``: every key is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root_cause: _Text = ""
    remediation: _Text = ""
    verification: Annotated[list[_Text], Field(max_length=50), FailFast()] = []
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    abstain: bool = False
    tokens_in: _Count = 0
    tokens_out: _Count = 0
    usd: Annotated[float, Field(ge=0, le=1e6)] | None = None
    model: Annotated[str, Field(max_length=200)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The agent's folder, known by what it was before the agent: another may stand in its place after."""

    path: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        status = path.lstat()
        return cls(path=path, device=status.st_dev, inode=status.st_ino)

    def same(self) -> Path:
        """Its path. ProposalFailed where that is not the folder any more."""
        with contextlib.suppress(OSError):
            status = self.path.lstat()
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                return self.path
        raise ProposalFailed("its folder was moved or replaced", cure="Leave the folder where it is.")


def answer(folder: Folder) -> Answer:
    """What ``fix.json`` says; where there is none, nothing. ProposalFailed says which key is wrong."""
    file = folder.same() / ANSWER
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ANSWER_BYTES:
            cure = f"Write a plain file of at most {MAX_ANSWER_BYTES} bytes."
            raise ProposalFailed(f"{ANSWER} is no file, or too large", cure=cure)
        return Answer.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Answer()
    except OSError as error:
        raise ProposalFailed(f"{ANSWER} cannot be read: {error.strerror}", cure="Leave it readable.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(ascii(part).strip("'") for part in first["loc"])[:200]
        cure = "Write one JSON object with the keys that AGENTS.md tells, or leave the file out."
        raise ProposalFailed(f"{ANSWER}: {where or 'the whole file'}: {first['msg']}", cure=cure) from None


def edits(before: Mapping[str, str], folder: Folder) -> tuple[Edit, ...]:
    """How ``app/`` differs from what it was: deletions first, then by path. Modes and times do not count.

    Left out are new files that tools leave behind: hidden ones, and compiled Python. ProposalFailed where something
    else has become of a file than text: a link, a device, bytes that are not UTF-8, more than a fix may hold.
    """
    root = folder.same()
    app = root / APP
    if not stat.S_ISDIR(_status(app).st_mode):
        raise _unusable(app, root, "is no folder any more", "Leave the folder app/ where it is.")
    found: set[str] = set()
    changed: list[Edit] = []
    for path, file in _files(app, before):
        found.add(path)
        content = _content(file, root, before.get(path))
        if content != before.get(path):
            changed.append(WriteFile(path=path, content=content))
        if len(changed) > MAX_CHANGED:
            raise _unusable(app, root, f"has more than {MAX_CHANGED} changed files", "Change only what is wrong.")
    return (*(DeleteFile(path=path) for path in sorted(before.keys() - found)), *changed)


def _files(app: Path, before: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """All that is no folder and no debris, by relative path, sorted."""
    known = {parent.as_posix() for path in before for parent in Path(path).parents}
    pending, seen = [app], 0
    found: list[tuple[str, Path]] = []
    while pending:
        entries = _entries(pending.pop(), app.parent)
        seen += len(entries)
        if seen > MAX_ENTRIES:
            raise _unusable(app, app.parent, f"holds more than {MAX_ENTRIES} entries", "Leave no debris there.")
        for entry in entries:
            path = Path(entry.path).relative_to(app).as_posix()
            if path not in before and path not in known and _is_debris(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            else:
                found.append((path, Path(entry.path)))
    yield from sorted(found)


def _entries(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    """Never many more than are wanted."""
    try:
        with os.scandir(folder) as scan:
            return list(islice(scan, MAX_ENTRIES + 1))
    except OSError as error:
        raise _unusable(folder, root, f"cannot be read: {error.strerror}", "Leave it readable.") from None


def _is_debris(path: str) -> bool:
    """Whether tools are known to leave such things behind: ``.git``, ``.aider.tags``, ``__pycache__``."""
    name = path.rpartition("/")[2]
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _content(file: Path, root: Path, before: str | None) -> str:
    """The file's text, ends of lines as they are."""
    status = _status(file)
    if not stat.S_ISREG(status.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no plain file"
        raise _unusable(file, root, f"is {what}", "Write plain text files only.")
    if status.st_size > max(MAX_FILE_BYTES, len((before or "").encode())):
        raise _unusable(file, root, f"has {status.st_size} bytes", f"Keep every file within {MAX_FILE_BYTES} bytes.")
    try:
        _name(file, root).encode()
        return file.read_bytes().decode()
    except UnicodeEncodeError:
        raise _unusable(file, root, "has a name that is not UTF-8", "Give it another name.") from None
    except UnicodeDecodeError:
        raise _unusable(file, root, "is not text in UTF-8", "Write text only, and remove what tools made.") from None
    except OSError as error:
        raise _unusable(file, root, f"cannot be read: {error.strerror}", "Leave it readable.") from None


def _status(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise _unusable(path, path.parent, f"cannot be read: {error.strerror}", "Leave it where it is.") from None


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _unusable(path: Path, root: Path, what: str, cure: str) -> ProposalFailed:
    return ProposalFailed(f"{ascii(_name(path, root))[1:-1][:300]} {what}", cure=cure)
