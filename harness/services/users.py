"""Numbers of users that nobody has, lent to one trial each, so that what an app starts can be told by its user."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ServiceUnavailable
from harness.services.reaper import processes_of

# what systemd leaves free between users of containers and those that it makes up, see https://systemd.io/UIDS-GIDS
_NUMBERS = range(61000, 61184)
_FOLDER = Path("/run/creamandonion")


@contextmanager
def lent(count: int) -> Iterator[list[int]]:
    """So many numbers that are no user's and no group's, as which nothing runs, and which no other trial has.

    Where they are `available`. They are given back with the process, however it ends. Raises ServiceUnavailable.
    """
    locks: dict[int, int] = {}
    try:
        for uid in random.sample(_NUMBERS, len(_NUMBERS)):  # not the one that a killed trial's reaper clears right now
            if len(locks) < count and (lock := _locked(uid)) is not None:
                locks[uid] = lock
                if _known(uid) or processes_of(uid):
                    os.close(locks.pop(uid))
        if len(locks) < count:
            raise ServiceUnavailable(
                f"no free user between {_NUMBERS.start} and {_NUMBERS.stop - 1}",
                cure="end what runs as those users, or use --isolation none",
            )
        yield [*locks]
    finally:
        for lock in locks.values():
            os.close(lock)


def available() -> bool:
    """Whether root may be these users here: some containers know no such numbers, or have no place for the locks."""
    try:
        _FOLDER.mkdir(mode=0o700, exist_ok=True)
        uid = _NUMBERS.start
        subprocess.run(["/bin/true"], user=uid, group=uid, extra_groups=[], cwd="/", check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def is_lent(uid: int) -> bool:
    """Whether a trial that runs has this number."""
    if uid not in _NUMBERS or not _FOLDER.exists():
        return False
    if (lock := _locked(uid)) is None:
        return True
    os.close(lock)
    return False


def _locked(uid: int) -> int | None:
    """The lock of this number; it goes when closed. None: somebody has it."""
    lock = os.open(_FOLDER / f"{uid}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _known(uid: int) -> bool:
    for named in (pwd.getpwuid, grp.getgrgid):
        try:
            named(uid)
        except KeyError:
            continue
        return True
    return False
