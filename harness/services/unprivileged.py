"""Running a server as somebody else than root: PostgreSQL refuses to be root.

The other user often can't reach what root installed, under a home of mode 700 for one. Programs are then copied once
to a folder that it can reach. Data needs no copy, see `pgdata.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.errors import ServiceUnavailable

NOBODY = 65534  # the user and group "nobody" of Linux
PLACES = [Path("/var/cache"), Path(tempfile.gettempdir())]  # temporary files may be swept away, a few at a time
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def can_reach(path: Path, uid: int) -> bool:
    """Whether the user, in the group of the same number and in no other, may pass all folders above ``path``.

    Those above the target too, where the path leads over symbolic links.
    """
    return all(_may_pass(folder.stat(), uid) for folder in {*path.absolute().parents, *path.resolve().parents})


def _may_pass(folder: os.stat_result, uid: int) -> bool:
    if folder.st_uid == uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == uid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)


def reachable_copy(sources: Iterable[Path], *, name: str, uid: int) -> Path:
    """A folder that holds copies of the ``sources`` side by side, readable for all, made only once for each ``name``.

    Only its owner may write to it, and to what is above it: others run what is in there.
    Raises ServiceUnavailable when somebody else has taken the place.
    """
    shared = _shared_folder(uid)
    copy = shared / name
    if not copy.is_dir():
        making = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=shared))
        try:
            for source in sources:
                shutil.copytree(source, making / source.name)
            open_to_readers(making)
            making.rename(copy)
        except OSError as error:
            if not copy.is_dir():  # else another process was faster
                raise ServiceUnavailable(
                    f"{name} can't be copied to {shared}, where user {uid} could run it: {error}",
                    cure="make room there, or set DATABASE_URL",
                ) from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return copy


def _shared_folder(uid: int) -> Path:
    """``creamandonion-UID`` in the first place that will do."""
    place = next((place for place in PLACES if os.access(place, os.W_OK) and can_reach(place / "x", uid)), None)
    if place is None:
        raise ServiceUnavailable(
            f"user {uid}, who is to run the server, can't reach any of {', '.join(map(str, PLACES))}",
            cure="set TMPDIR to a folder that everybody can pass through, or set DATABASE_URL",
        )
    folder = place / f"creamandonion-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o755)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _WRITABLE_BY_OTHERS:
        raise ServiceUnavailable(
            f"{folder} is not a folder to which only you can write",
            cure="look who made it and remove it, or set DATABASE_URL",
        )
    folder.chmod(0o755)  # mkdir heeds the umask
    return folder


def open_to_readers(folder: Path) -> None:
    """Files that were installed under a strict umask are closed to others."""
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o755)
        for file in (Path(parent, name) for name in files):
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
