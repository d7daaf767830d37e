"""One turn of an agent's program: where it runs, what is hidden from it, what it printed, and that all of it ends.

What it prints lies beside the folder that it may write to, and is read through a descriptor that was opened before it
was started: whatever it puts in the file's place is not looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from harness.fixing import keeper
from harness.services.supervisor import Supervisor

_OUTPUT_BYTES: Final = 1 << 18  # kept of its beginning, and of its end
_READ_BYTES: Final = 2 * _OUTPUT_BYTES + 1000  # with what the keeper says between
_STOP_S: Final = 15.0  # more than the keeper takes to end all
_ALL_FILES: Final = ("--dev-bind", "/", "/")
_OWN_PROCESSES: Final = ("--unshare-pid", "--proc", "/proc", "--die-with-parent")
_NO_MOUNTS: Final = ("--cap-drop", "CAP_SYS_ADMIN")  # else root could take away what hides


@dataclass(frozen=True, slots=True)
class Room:
    """The folders of a turn. All that the program may write to is ``own``."""

    root: Path

    @property
    def own(self) -> Path:
        return self.root / "own"

    @property
    def work(self) -> Path:
        return self.own / "work"

    @property
    def scratch(self) -> Path:
        return self.own / "tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int | None  # None: not in time; -N: its keeper by signal N
    printed: str


@contextmanager
def room() -> Iterator[Room]:
    """Empty folders, removed when left."""
    with TemporaryDirectory(prefix="agent-", ignore_cleanup_errors=True) as name:
        made = Room(Path(name))
        made.work.mkdir(parents=True)
        made.scratch.mkdir()
        yield made


def run(command: Sequence[str], room: Room, env: Mapping[str, str], *, budget_s: float) -> Ended:
    """Runs it in ``room.work``, and ends all that it started: by its keeper, and by TMPDIR, should that be killed."""
    keep = [sys.executable, "-I", "-S", str(Path(keeper.__file__).resolve()), str(_OUTPUT_BYTES)]
    log, tmpdir = room.root / "output", f"TMPDIR={room.scratch}"
    own = {**env, "TMPDIR": str(room.scratch)}
    with log.open("xb+") as printed, Supervisor() as supervisor:
        try:
            child = supervisor.start(
                "agent", [*keep, *command], env=own, cwd=room.work, log=log, stop_timeout_s=_STOP_S
            )
            code = child.wait(budget_s)
            child.stop()
        finally:
            keeper.end_marked(tmpdir)
        printed.seek(0)
        return Ended(code=code, printed=printed.read(_READ_BYTES).decode(errors="replace"))


def view(bwrap: str, hidden: Sequence[Path], room: Room) -> list[str]:
    """The words before a command by which it finds folders empty, and files, too. ``bwrap`` is the program."""
    there = list(dict.fromkeys(path for path in hidden if _is_there(path)))
    outermost = [path for path in there if not any(other in path.parents for other in there)]
    masks = [word for path in outermost for word in _mask(path)]
    own = ("--tmpfs", str(room.root), "--bind", str(room.own), str(room.own))  # what is hidden may lie around it
    return [bwrap, *_NO_MOUNTS, *_ALL_FILES, *masks, *own, "--chdir", str(room.work), *_OWN_PROCESSES, "--"]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that is closed to us, and so to the program
        return False


def _mask(path: Path) -> tuple[str, ...]:
    return ("--tmpfs", str(path)) if path.is_dir() else ("--dev-bind", "/dev/null", str(path))
