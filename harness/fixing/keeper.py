"""Runs a command, and lets nothing live on that it has started. A process of its own, on the standard library alone:

    python -I -S keeper.py MOST_BYTES PROGRAM ARGUMENT...

It adopts what the command leaves behind, also what leaves its group and its session, by PR_SET_CHILD_SUBREAPER of
prctl(2): so it is found among the descendants, and killed. That is Linux; elsewhere the command's group is all that
ends. A command may kill us: then who started us ends the rest, found by a variable of its environment (``end_marked``).
What has put off that, too, lives on, unless bubblewrap is there: by that it does not see us, and all of its pid
namespace ends with it. What a service such as cron was asked to run is never found.

What the command prints goes to our output: its first and its last MOST_BYTES, and how much is missing between.

We end as the command did: with 128 + N after signal N, with 126 where it can't be run. Asked by SIGTERM, we ask the
command, and kill all of it after a grace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

CANNOT_RUN = 126
GRACE_S = 1.0
_SET_CHILD_SUBREAPER = 36
_NICENESS = 10  # the app under load must not starve while an agent thinks
_POLL_S = 0.01
_END_S = 10.0
_CHUNK_BYTES = 1 << 16


class Asked(Exception):
    """We were asked to end."""


def main(most_bytes: int, command: Sequence[str]) -> int:
    """The code to end with."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _asked)
    os.nice(_NICENESS)
    try:
        popen = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # `kill 0` in a script is meant for the script
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}")
        return CANNOT_RUN
    assert popen.stdout is not None
    pump = threading.Thread(target=_pump, args=(popen.stdout.fileno(), most_bytes), daemon=True)
    pump.start()
    try:
        status = _status_of(popen.pid)
    except Asked:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGTERM)
        _reap_until_gone(GRACE_S)
        status = 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_all(popen.pid)
    pump.join(_END_S)  # nobody is left who could write
    return status


def _asked(number: int, frame: object) -> None:
    raise Asked


def _status_of(pid: int) -> int:
    """Waits for it; the dead that we have adopted are reaped meanwhile."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _reap_until_gone(wait_s: float) -> bool:
    """Whether no child is left, neither alive nor dead, within that time."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)


def _end_all(group: int) -> None:
    """Kills all descendants, again while there are any: the children of the dead become ours.

    Without /proc, the command's group is all that is known.
    """
    if not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        return
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if _reap_until_gone(_POLL_S):
            return


def _descendants(pid: int) -> list[int]:
    """Children, their children, and so on, by field 4 of /proc/PID/stat, see proc(5)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # gone meanwhile
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:  # grows while it is walked
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def end_marked(variable: str) -> None:
    """Kills all that were started with this variable, NAME=value, in their environment, again while there are any."""
    deadline = time.monotonic() + _END_S
    while (found := _marked(os.fsencode(variable))) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _marked(variable: bytes) -> list[int]:
    """By /proc/PID/environ, see proc(5); that of the dead is empty. Nobody, where there is no /proc."""
    found: list[int] = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if variable in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found


def _pump(source: int, most_bytes: int) -> None:
    """All that comes is taken, so that nobody waits for us; its beginning and its end are passed on."""
    room, missing, tail = most_bytes, 0, b""
    while chunk := os.read(source, _CHUNK_BYTES):
        _write(chunk[:room])
        tail += chunk[room:]
        room -= min(room, len(chunk))
        missing += max(0, len(tail) - most_bytes)
        tail = tail[-most_bytes:]
    if missing:
        _write(b"\n... %d bytes left out ...\n" % missing)
    _write(tail)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
