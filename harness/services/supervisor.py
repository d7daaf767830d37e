"""Child processes that die with their parent.

    with Supervisor() as supervisor:
        child = supervisor.start("mock-api", [...], env={...}, cwd=folder, log=folder / "mock-api.log")

Leaving the block stops the children, the latest first, whatever the reason for leaving. A parent that is killed
leaves that to the reaper, a process of its own (see reaper.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import ServiceUnavailable
from harness.services import reaper
from harness.services.reaper import end_group, end_user, identify

_POLL_S = 0.01
_TAIL_BYTES = 64 * 1024


class Child:
    """A running child process, the leader of its own session and process group. Made by `Supervisor.start`."""

    def __init__(
        self,
        name: str,
        popen: subprocess.Popen[bytes],
        log: Path,
        *,
        stop_signal: int,
        stop_timeout_s: float,
        ended: Callable[[Child], None],
        program: Callable[[int], int | None] | None,
        after: Callable[[], None] | None,
    ) -> None:
        self.name = name
        self.pid = popen.pid
        self.log = log
        self._popen = popen
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._ended = ended
        self._program, self._after = program, after
        self._stopping = threading.RLock()

    @property
    def program(self) -> int:
        """Who is to be signalled: the process itself, or the program in the sandbox that the process keeps up."""
        return (self._program(self.pid) if self._program else None) or self.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; -N when signal N ended it.

        Looks without reaping: until `stop`, neither the pid nor the group's number can go to another process.
        """
        if self._popen.returncode is not None:
            return int(self._popen.returncode)
        try:
            exited = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # SIGCHLD is ignored in this process, so that the kernel has reaped the child
            return self._popen.poll()
        if exited is None:
            return None
        return exited.si_status if exited.si_code == os.CLD_EXITED else -exited.si_status

    def running(self) -> bool:
        """Whether the process itself runs; says nothing about what it forked."""
        return self.returncode is None

    def wait(self, timeout_s: float) -> int | None:
        """The return code, or None when it still runs after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self.running() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self.returncode

    def signal(self, sig: int) -> None:
        """Sends a signal to the program; nothing happens when it has ended."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):  # in a sandbox it may end before the process that we wait for
                os.kill(self.program, sig)

    def stop(self) -> None:
        """Stops the process, by force after its time-out, and then whatever it left behind. May be called again."""
        with self._stopping:
            if self._popen.returncode is None:
                leader, asked = identify(self.pid), self.program
                end_group(leader, self._stop_signal, self._stop_timeout_s, lambda: not self.running(), asked=asked)
                self._popen.wait()
                if self._after:
                    self._after()
            self._ended(self)

    def tail(self, n: int = 20) -> str:
        """The last ``n`` lines of its log, as far as they stand in the last 64 KiB."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-n:])


class Supervisor:
    """Starts children, from any thread, and sees to it that none outlives it. A context manager."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._lock = threading.RLock()
        self._reaper: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def __enter__(self) -> Self:
        read, self._pipe = os.pipe()  # closed on exec: a child that held the write end would keep the reaper waiting
        try:
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(reaper.__file__).resolve()), str(os.getpid())],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for child in reversed(self._children.copy()):
                child.stop()
        finally:  # after a second Ctrl-C, the reaper ends what is left
            self._dismiss_reaper()

    @property
    def children(self) -> tuple[Child, ...]:
        """Those that were started and not stopped, the oldest first."""
        return tuple(self._children)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        stop_signal: int = signal.SIGTERM,
        stop_timeout_s: float = 10.0,
        uid: int | None = None,
        program: Callable[[int], int | None] | None = None,
        after: Callable[[], None] | None = None,
    ) -> Child:
        """Starts ``command`` with exactly the environment ``env``; its output is appended to ``log``.

        ``uid`` (root only) runs it as that user, in the group of the same number and in no other.
        ``program`` finds who is to be signalled, by the pid of the child; None while there is nobody.
        ``after`` is called once it was stopped: it ends what the child has started outside of its family.
        Raises ServiceUnavailable when the program can't be run.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, log.open("ab") as output:
            status = os.fstat(output.fileno())
            key = reaper.file_key(status) if stat.S_ISREG(status.st_mode) else "-"  # /dev/null is anybody's
            self._tell(f"?{key}")
            try:
                popen = subprocess.Popen(
                    list(command),
                    env=dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=uid,
                    group=uid,
                    extra_groups=None if uid is None else [],
                )
            except OSError as error:
                raise ServiceUnavailable(
                    f"{name}: can't run {command[0]}: {error.strerror} ({error.filename})",
                    cure="install it, or make it executable for the user that runs it",
                ) from error
            self._tell(f"+{popen.pid} {int(stop_signal)} {key}")
            child = Child(
                name,
                popen,
                log,
                stop_signal=stop_signal,
                stop_timeout_s=stop_timeout_s,
                ended=self._forget,
                program=program,
                after=after,
            )
            self._children.append(child)
            return child

    @contextmanager
    def owning(self, uid: int) -> Iterator[None]:
        """All that runs as this user ends when left, and also when we are killed (root only)."""
        with self._lock:
            self._tell(f"!{uid}")
        try:
            yield
        finally:
            end_user(uid)
            with self._lock, contextlib.suppress(ServiceUnavailable):  # a dead reaper needs no telling
                self._tell(f"~{uid}")

    @contextmanager
    def ending(self, command: Sequence[str]) -> Iterator[None]:
        """The command is run when we are killed within the block: it ends what is no process of ours."""
        words = json.dumps(list(command))
        with self._lock:
            self._tell(f"={words}")
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ServiceUnavailable):  # a dead reaper needs no telling
                self._tell(f"/{words}")

    def _forget(self, child: Child) -> None:
        with self._lock:
            if child in self._children:
                self._children.remove(child)
                with contextlib.suppress(ServiceUnavailable):  # a dead reaper needs no telling
                    self._tell(f"-{child.pid}")

    def _tell(self, line: str) -> None:
        try:
            os.write(self._pipe, f"{line}\n".encode())
        except OSError as error:
            raise ServiceUnavailable(
                "the process that ends the children of a killed harness is not running",
                cure="use the Supervisor in a with statement; if it was, look for what killed reaper.py (memory?)",
            ) from error

    def _dismiss_reaper(self) -> None:
        if self._reaper is None:
            return
        try:
            with contextlib.suppress(ServiceUnavailable):
                self._tell(".")
            self._reaper.wait()
        finally:
            pipe, self._pipe = self._pipe, -1
            os.close(pipe)
        for child in self._children.copy():
            child.stop()  # it is dead by now: this takes its return code from the kernel
