"""Where an app's processes run: each in a sandbox made of the means that there are (see `containment`)."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from harness.services import firewall, users
from harness.services import launch as launcher
from harness.services.containment import Containment
from harness.services.launch import Rights
from harness.services.reaper import descendants, end_user, parent_of, processes_of
from harness.services.supervisor import Child, Supervisor
from harness.services.unprivileged import open_to_readers
from harness.services.view import hidden, visible

Role = Literal["live", "canary"]
_PROCESSES = 512  # with their threads: ten times what the shop has
_LIMITS = {"NOFILE": 4096, "FSIZE": 512 << 20, "CORE": 0}
_SCRATCH = str(64 << 20)  # bytes in /tmp and in shared memory
_DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]
_LAUNCH_INSIDE = "/run/launch.py"
_RESOLVER = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is to run of the app: ``command`` in ``folder``, which writes to ``tmp`` alone."""

    name: str  # such as "web", "worker", "canary-1", "prepare"
    role: Role
    command: Sequence[str]  # a first word "python" is the sandbox' interpreter
    folder: Path
    tmp: Path
    env: Mapping[str, str]
    port: int | None = None  # of 127.0.0.1, where it serves; None: it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What to start instead, for `Supervisor.start`."""

    command: list[str]
    env: Mapping[str, str]
    program: Callable[[int], int | None] | None = None
    after: Callable[[], None] | None = None


class Sandbox(Protocol):
    """Where an app's processes run. The canary cannot harm what is live."""

    def admit(self, role: Role, folder: Path, tmp: Path) -> None: ...  # let it read the one, write to the other
    def launched(self, launch: Launch) -> Launched: ...
    def clear(self, role: Role) -> None: ...  # end all of it
    def end_strays(self, children: Iterable[Child]) -> None: ...  # end what the live app has left to itself


class LocalSandbox:
    """Implements `Sandbox`. Made by `sandboxed`. The canary is another user than what is live."""

    def __init__(self, means: Containment, uids: dict[Role, int], ports: Collection[int] | None) -> None:
        self._means, self._uids = means, uids
        self._ports = sorted(ports) if ports is not None and means.ports_only else None

    def admit(self, role: Role, folder: Path, tmp: Path) -> None:
        """Let the role's processes read ``folder``, and write to ``tmp``."""
        if uid := self._uids.get(role):
            open_to_readers(folder)
            tmp.parent.chmod(0o711)  # who knows a name in there may pass
            os.chown(tmp, uid, uid)
            tmp.chmod(0o700)

    def launched(self, launch: Launch) -> Launched:
        program = _inside if self._means.bwrap else None
        return Launched(command=self._command(launch), env=launch.env, program=program)

    def _command(self, launch: Launch) -> list[str]:
        command, folder, tmp = with_interpreter(launch.command), launch.folder, launch.tmp
        if not self._means.active:
            return command
        bwrap = self._means.bwrap
        rights: Rights = {
            "uid": self._uids.get(launch.role),
            "limits": {**_LIMITS, "NPROC": _PROCESSES if self._uids or bwrap else _PROCESSES + _tasks(os.getuid())},
            "read": None if bwrap else [*map(str, self._visible()), str(folder)],
            "write": [] if bwrap else [*_DEVICES, str(tmp)],
            "connect": self._ports,
        }
        script = _LAUNCH_INSIDE if bwrap else launcher.__file__
        launched = [sys.executable, "-I", "-S", script, json.dumps(rights), *command]
        return [*_mounts(bwrap, self._visible(), folder, tmp), *launched] if bwrap else launched

    def _visible(self) -> list[Path]:
        """Where a service is elsewhere, it is looked up by its name."""
        names = [path for path in (_RESOLVER,) if self._means.elsewhere and path.exists()]
        return [*visible(), *names]

    def clear(self, role: Role) -> None:
        """End all that runs as the role's user."""
        if uid := self._uids.get(role):
            end_user(uid)

    def end_strays(self, children: Iterable[Child]) -> None:
        """End what the live app has left to itself: processes that are no descendants of their programs any more."""
        found = processes_of(self._uids["live"]) if self._uids else set()
        kept: set[int] = set()
        for child in children:
            found |= {process.pid for process in descendants(child.pid)}
            program = child.program
            kept |= {child.pid, parent_of(program), program, *(process.pid for process in descendants(program))}
        for pid in found - kept:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def sandboxed(means: Containment, supervisor: Supervisor, ports: Collection[int] | None) -> Iterator[LocalSandbox]:
    """Connections go to these TCP ports of this machine only; None: to where they like.

    All that runs as the app's users has ended when left. Raises ServiceUnavailable.
    """
    with ExitStack() as stack:
        uids: dict[Role, int] = {}
        if means.user:
            live, canary = stack.enter_context(users.lent(2))
            uids = {"live": live, "canary": canary}
            if means.nft and ports is not None:
                stack.enter_context(firewall.loopback_only(uids.values()))
            for uid in uids.values():
                stack.enter_context(supervisor.owning(uid))
        yield LocalSandbox(means, uids, ports)


def with_interpreter(command: Sequence[str]) -> list[str]:
    """A first word ``python`` is the harness' own interpreter."""
    return [sys.executable if number == 0 and word == "python" else word for number, word in enumerate(command)]


def _mounts(bwrap: str, seen: Iterable[Path], folder: Path, tmp: Path) -> list[str]:
    """A file system of what may be seen, read-only but for ``tmp``. What lies deeper is laid over what it lies in."""
    options = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--new-session"]
    options += ["--dev", "/dev", "--proc", "/proc"]
    for scratch in ("/dev/shm", "/tmp"):  # noqa: S108 - these are the sandbox's own
        options += ["--perms", "1777", "--size", _SCRATCH, "--tmpfs", scratch]
    laid = {path: _shown(path) for path in seen}
    laid |= {path: ["--tmpfs", str(path)] for path in hidden()}
    laid |= {path: ["--bind" if path == tmp else "--ro-bind", str(path), str(path)] for path in (folder, tmp)}
    laid[Path(_LAUNCH_INSIDE)] = ["--ro-bind", launcher.__file__, _LAUNCH_INSIDE]
    for path in sorted(laid, key=lambda each: len(each.parts)):
        if path.parent != Path("/"):  # bwrap would make it closed to all but root
            options += ["--perms", "0755", "--dir", str(path.parent)]
        options += laid[path]
    options += ["--remount-ro", "/", "--chdir", str(folder), "--"]
    return [bwrap, *options]


def _shown(path: Path) -> list[str]:
    if path.is_symlink() and path.parent == Path("/"):  # /bin, where programs have moved to /usr
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind", str(path), str(path)]


def _inside(monitor: int) -> int | None:
    """bwrap waits outside for the first process of the pid namespace, whose first child, number 2, is the program."""
    depth = len(_numbers("self")) + 1  # not of a namespace that the program made
    for process in descendants(monitor):
        numbers = _numbers(str(process.pid))
        if len(numbers) == depth and numbers[-1] == "2":
            return process.pid
    return None


def _numbers(pid: str) -> list[str]:
    """The pid in each namespace, from ours to the process' own."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        return next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return []


def _tasks(uid: int) -> int:
    """Processes of the user and their threads, which is what the limit counts."""
    count = 0
    for pid in processes_of(uid):
        with suppress(OSError):
            count += sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    return count
