"""Ends the children of a harness that died, however it died: also by ``kill -9``.

Runs as a process, ``python -I -S reaper.py PARENT_PID``, on the standard library alone. It reads on stdin:

    ?KEY              a child is about to start; its output goes to the file KEY, "device:inode"
    +PID SIGNAL KEY   it has started and leads a process group; SIGNAL is how it is asked to stop
    -PID              it has ended, and so has its group
    !UID              every process of this user is to be killed at the end, whatever its group (root only)
    ~UID              not any more
    =COMMAND          a program to be run at the end, words in JSON: it ends what is no process of ours
    /COMMAND          not any more
    .                 that was all

End of file means that the parent is gone. So does a changed parent pid: a forked copy of the parent may hold the pipe
open. Then, as after ".", every group that is left is ended, the latest first, and then every user.

The "?" line is for a parent that dies between the birth of a child and its "+": the child is then known by its output
file. The pipe ends no sooner than the child has become its program, since the write end closes then.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

GRACE_S = 2.0
PARENT_CHECK_S = 1.0
_POLL_S = 0.01
_END_USER_S = 5.0
_COMMAND_S = 60.0
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Process(NamedTuple):
    """A process that can't be mistaken for a later one with the same pid.

    ``born`` is field 22 of /proc/PID/stat, clock ticks after boot; None where there is no /proc.
    """

    pid: int
    born: int | None


class _Stat(NamedTuple):
    state: str
    parent: int
    group: int
    session: int
    born: int


def _stat(pid: int) -> _Stat | None:
    """The fields of /proc/PID/stat that are used here, see proc(5); None when there is no such process, or no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before ")" may hold blanks and brackets
    return _Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def _stats() -> dict[int, _Stat]:
    with contextlib.suppress(FileNotFoundError):
        found = ((int(entry.name), _stat(int(entry.name))) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return {pid: stat for pid, stat in found if stat}
    return {}


def identify(pid: int) -> Process:
    """The process that has this pid now."""
    stat = _stat(pid)
    return Process(pid, stat.born if stat else None)


def alive(process: Process) -> bool:
    """Whether it still runs. A zombie does not."""
    if process.born is None:
        with contextlib.suppress(OSError):
            os.kill(process.pid, 0)
            return True
        return False
    stat = _stat(process.pid)
    return stat is not None and stat.born == process.born and stat.state not in "ZX"


def descendants(pid: int) -> list[Process]:
    """Children, their children, and so on: PostgreSQL's backends, for one, leave the group for their own sessions."""
    stats = _stats()
    found = [pid]
    for parent in found:  # grows while it is walked
        found += [child for child, stat in stats.items() if stat.parent == parent]
    return [Process(child, stats[child].born) for child in found[1:]]


def parent_of(pid: int) -> int:
    """0 when there is no such process."""
    stat = _stat(pid)
    return stat.parent if stat else 0


def end_group(
    leader: Process, stop_signal: int, grace_s: float, gone: Callable[[], bool], *, asked: int | None = None
) -> None:
    """Asks the leader to stop, waits up to ``grace_s`` until it is ``gone``, then kills what is left of its family.

    ``asked`` is who gets the signal instead of a leader that only waits for it.
    """
    family = descendants(leader.pid)
    if not gone():
        _send(os.kill, asked or leader.pid, stop_signal)
        _send(os.kill, asked or leader.pid, signal.SIGCONT)  # a stopped process can't obey
        _send(os.killpg, leader.pid, signal.SIGCONT)
        deadline = time.monotonic() + grace_s
        while not gone() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        family += descendants(leader.pid)
    if identify(leader.pid) in (leader, Process(leader.pid, None)):  # else the number is another process's by now
        _send(os.killpg, leader.pid, signal.SIGKILL)
    for process in family:
        if alive(process):
            _send(os.kill, process.pid, signal.SIGKILL)


def end_user(uid: int) -> None:
    """Kills every process of the user (root only), also those that fork faster than they can be listed.

    One kill(2) of all that a process of this user may signal, which no fork escapes. Again while there is somebody: two
    who do this may kill each other first.
    """
    deadline = time.monotonic() + _END_USER_S
    while processes_of(uid) and time.monotonic() < deadline:
        subprocess.run(
            ["/bin/sh", "-c", "kill -9 -1"],
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            env={},
            stderr=subprocess.DEVNULL,
            check=False,
        )
        time.sleep(_POLL_S)


def processes_of(uid: int) -> set[int]:
    """Who runs as this user, by whichever of its four ids. A zombie does not run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = dict(line.split(b":", 1) for line in (entry / "status").read_bytes().splitlines())
                if b"%d" % uid in fields[b"Uid"].split() and fields[b"State"].split()[0] not in b"ZX":
                    found.add(int(entry.name))
    return found


def _send(how: Callable[[int, int], None], number: int, sig: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        how(number, sig)


def _writers(keys: set[str]) -> list[Process]:
    """Session leaders whose standard output is one of the files."""
    found = []
    for pid, stat in _stats().items():
        with contextlib.suppress(OSError):
            if stat.session == pid and file_key(Path(f"/proc/{pid}/fd/1").stat()) in keys:
                found.append(Process(pid, stat.born))
    return found


def file_key(stat: os.stat_result) -> str:
    """Names an open file in the protocol above."""
    return f"{stat.st_dev}:{stat.st_ino}"


class Register:
    """The children that are to be ended, in the order of their start."""

    def __init__(self) -> None:
        self._started: dict[int, tuple[Process, int]] = {}
        self._starting: set[str] = set()
        self._users: set[int] = set()
        self._commands: list[str] = []

    def note(self, line: str) -> None:
        """Takes in one line of the protocol, all but "."."""
        sign, words = line[0], line[1:].split()
        if sign == "?":
            self._starting.add(words[0])
        elif sign == "+":
            pid = int(words[0])
            self._started[pid] = (identify(pid), int(words[1]))
            self._starting.discard(words[2])
        elif sign == "-":
            self._started.pop(int(words[0]), None)
        elif sign == "!":
            self._users.add(int(words[0]))
        elif sign == "~":
            self._users.discard(int(words[0]))
        elif sign == "=":
            self._commands.append(line[1:])
        elif sign == "/" and line[1:] in self._commands:
            self._commands.remove(line[1:])

    def end_all(self) -> None:
        """Ends every group that is left, the latest first, runs every command, and ends every user."""
        unannounced = [(process, int(signal.SIGTERM)) for process in _writers(self._starting)] if self._starting else []
        for leader, stop_signal in [*unannounced, *reversed(self._started.values())]:
            end_group(leader, stop_signal, GRACE_S, partial(_gone, leader))
        for command in reversed(self._commands):
            _run(json.loads(command))
        for uid in self._users:
            end_user(uid)


def _run(command: list[str]) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=_COMMAND_S, check=False)


def _gone(process: Process) -> bool:
    return not alive(process)


def main(parent: int) -> None:
    """Reads until the parent is gone or done, then cleans up."""
    for sig in _IGNORED:
        signal.signal(sig, signal.SIG_IGN)
    register = Register()
    rest = b""
    while True:
        if not select.select([0], [], [], PARENT_CHECK_S)[0]:
            if os.getppid() != parent:
                break
            continue
        chunk = os.read(0, 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line != b".":
                register.note(line.decode())
        if not chunk or b"." in lines:
            break
    register.end_all()


if __name__ == "__main__":
    main(int(sys.argv[1]))
