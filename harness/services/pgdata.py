"""The folder in which PostgreSQL keeps its data: made once, used by one server at a time, kept from run to run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ServiceUnavailable
from harness.services.ready import NotYet, wait_until
from harness.services.unprivileged import NOBODY

_VANISH_TIMEOUT_S = 15.0


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Holds the folder for this process. The lock goes with the process, however it ends.

    Raises ServiceUnavailable when another process holds it.
    """
    with _explained():
        data.parent.mkdir(parents=True, exist_ok=True)
        file = data.with_name(f"{data.name}.lock").open("a+", encoding="ascii")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ServiceUnavailable(
                f"another trial runs with this results folder (pid {file.read().strip() or 'unknown'})",
                cure="wait for it, or use --results DIR: two trials at once would disturb each other's measurements",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def in_use(data: Path) -> bool:
    """Whether a process holds the folder now."""
    try:
        with data.with_name(f"{data.name}.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def server_uid(data: Path) -> int | None:
    """Who is to run the server: the folder's owner, or nobody while there is none; None: whoever we are.

    Raises ServiceUnavailable when we are neither the owner nor root.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() == 0:
        return owner or NOBODY
    if owner not in (None, os.geteuid()):
        raise ServiceUnavailable(
            f"{data} belongs to user {owner}",
            cure="run as that user or as root, or use --results DIR for one of your own",
        )
    return None


def address(data: Path, uid: int | None) -> str:
    """What to pass as ``-D`` to a program that is started in ``data``.

    As another user, "where you are": its own working folder is open to a process even where the folders above are
    closed to it, so the data can stay under a home of mode 700.
    """
    return str(data) if uid is None else "/proc/self/cwd"


def ensure(data: Path, uid: int | None, initdb: Callable[[Path], None]) -> None:
    """Makes the folder unless it is there. Whole or not at all: ``initdb`` fills a sibling, which then takes the name.

    Call with the lock held. Raises ServiceUnavailable when ``data`` holds something else.
    """
    if (data / "PG_VERSION").exists():
        return
    if data.exists() and any(data.iterdir()):
        raise ServiceUnavailable(
            f"{data} holds files, but not those of PostgreSQL", cure="remove it, or use --results DIR"
        )
    fresh = data.with_name(f".{data.name}.new")
    with _explained():
        if fresh.exists():  # an earlier process was killed while it made it
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        if uid is not None:
            os.chown(fresh, uid, uid)
        initdb(fresh)
        fresh.rename(data)  # takes the place of an empty folder, too


def await_unused(data: Path) -> None:
    """Waits until no server of an earlier, killed run is at work in the folder, and clears what it left.

    PostgreSQL would take any process of its user with the pid in a stale ``postmaster.pid`` for a server.
    Call with the lock held. Raises ServiceUnavailable when the server stays.
    """
    if not Path("/proc/self").exists():
        return  # then PostgreSQL's own check has to do
    wait_until(
        lambda: _unused(data),
        timeout_s=_VANISH_TIMEOUT_S,
        what=f"the data folder {data}",
        cure="end that server with kill -INT, or use --results DIR",
    )
    (data / "postmaster.pid").unlink(missing_ok=True)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ServiceUnavailable(
            f"PostgreSQL's data can't be kept here: {error.strerror}: {error.filename}",
            cure="use --results DIR for a folder of your own, with space in it",
        ) from error


def _unused(data: Path) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended just now, or is another user's
                if (entry / "cwd").samefile(data) and (entry / "comm").read_bytes() == b"postgres\n":
                    raise NotYet(f"a PostgreSQL server of an earlier run, pid {entry.name}, still uses it")
    return True
