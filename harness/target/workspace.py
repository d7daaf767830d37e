"""The app's code during a trial: a git repository that begins with one commit, so that no history tells the answer.

Nor does anything beside the history: there is no reflog, no object but what the commits hold, no compiled module of a
release before, all files and folders have one time, and all commits another. Git's index could tell which files were
patched last, by their inode numbers; it is kept without.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.errors import FixRefused, InputError
from harness.git import LEFT_OUT, GitFailed, git, git_bytes, init
from harness.model.app import AppManifest
from harness.model.globs import matches
from harness.model.source import SourceTree

_TIMES_S = (1_735_689_600, 1_767_225_600)  # the year 2025, UTC
_MOST_BYTES = 1 << 23  # of a file that the app has written


class Workspace:
    """``folder`` is what runs. Commits go forward only: a rollback is a commit that reverts."""

    def __init__(self, folder: Path, manifest: AppManifest) -> None:
        self.folder = folder
        self._manifest = manifest

    def create(self, app: Path, patch: Path | None) -> str:
        """Copy the app, make it weak by ``patch``, and begin the history there. The commit."""
        shutil.copytree(app, self.folder, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
        init(self.folder)
        if patch:
            self.apply_patch(patch)
        git(self.folder, "add", "--all")
        return self._begin_history()

    def apply_patch(self, patch: Path) -> None:
        """Change the files by a unified diff. InputError when it does not fit."""
        try:
            git(self.folder, "apply", "--whitespace=nowarn", "-", stdin=patch.read_bytes())
        except GitFailed as error:
            raise InputError(
                f"{patch} does not apply to the app: {error}",
                cure="make it anew: git diff --relative in the app's folder",
            ) from None

    def rewrite(self, tree: SourceTree) -> str:
        """Make ``tree`` the only commit there is. What the app has made while it ran is no part of it."""
        names = git_bytes(self.folder, "ls-files", "-z") + "\0".join(tree.files).encode()
        self._write(self.folder, tree)
        shutil.rmtree(self.folder / ".git")
        init(self.folder)
        git(self.folder, "update-index", "--add", "--remove", "-z", "--stdin", stdin=names)
        return self._begin_history()

    def source(self) -> SourceTree:
        """The files that a fixer may read, as they run now. What cannot be read as UTF-8 is left out."""
        names = git(self.folder, "ls-files", "-z").split("\0")
        files: dict[str, str] = {}
        for name in filter(None, names):
            if matches(self._manifest.source, name):
                try:
                    files[name] = (self.folder / name).read_bytes().decode()
                except (UnicodeDecodeError, OSError):
                    continue
        return SourceTree(
            files=files, commit=self.head(), editable=self._manifest.editable, protected=self._manifest.protected
        )

    def branch(self, tree: SourceTree, name: str, message: str, checkout: Path) -> str:
        """Commit ``tree`` on a branch of that name, new or begun again, checked out in a folder of its own. The commit.

        FixRefused (rule "path") where a path of the tree is taken by files that a fixer does not see.
        """
        git(self.folder, "worktree", "add", "--quiet", "-B", name, str(checkout), "main")
        self._write(checkout, tree)
        git(checkout, "add", "--all")
        git(checkout, "commit", "--quiet", "--allow-empty", "--message", message)
        git(self.folder, "prune", "--expire=now")  # what the branch held before it was begun again
        return git(checkout, "rev-parse", "HEAD").strip()

    def drop(self, checkout: Path) -> None:
        with contextlib.suppress(GitFailed):  # it was never made: that has been told already
            git(self.folder, "worktree", "remove", "--force", str(checkout))
        self._settle()

    def merge(self, name: str) -> str:
        """Fast-forward what runs to the branch. The diff against what ran before."""
        before = self.head()
        self._reset()
        git(self.folder, "merge", "--quiet", "--ff-only", name)
        self._settle()
        return git(self.folder, "diff", "--no-color", before, "HEAD")

    def revert(self) -> str:
        """Take the last commit back by a commit. The diff."""
        self._reset()
        git(self.folder, "revert", "--no-commit", "HEAD")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", "Roll back")  # a commit may change nothing
        self._settle()
        return git(self.folder, "diff", "--no-color", "HEAD~1", "HEAD")

    def head(self) -> str:
        return git(self.folder, "rev-parse", "HEAD").strip()

    def exposed(self) -> Iterator[tuple[str, bytes]]:
        """All that a shell in a copy of the folder could read: ``origin: what``, see ``leaks.Origin``, and its bytes.

        What a fixer has committed, and nothing else, is its ``own``. Of a file that the app wrote, the first 8 MiB.
        """
        yield "name: folder", bytes(self.folder)
        yield "name: refs", git_bytes(self.folder, "for-each-ref", "--format=%(refname)")
        listing = []
        for path in self._paths():
            name = path.relative_to(self.folder).as_posix()
            with contextlib.suppress(OSError):  # gone since, or closed
                status = path.lstat()
                listing.append(f"{status.st_mode:o} {status.st_size} {status.st_mtime_ns} {name}")
                if path.is_symlink():
                    listing[-1] += f" -> {path.readlink()}"
                elif stat.S_ISREG(status.st_mode) and not name.startswith(".git/objects/"):
                    with path.open("rb") as file:
                        yield f"file: {name}", file.read(_MOST_BYTES)
        yield "file: listing", "\n".join(listing).encode(errors="surrogateescape")
        yield from self._objects()

    def _paths(self) -> list[Path]:
        """Every file, folder and link below ``folder``. The app is at work: what goes meanwhile is passed over."""
        walk = os.walk(self.folder)
        return sorted(Path(folder, name) for folder, folders, files in walk for name in (*folders, *files))

    def _objects(self) -> Iterator[tuple[str, bytes]]:
        """Every object that git has, also those that nothing refers to."""
        first = git(self.folder, "rev-list", "--max-parents=0", "HEAD").strip()
        fixes = git(self.folder, "rev-list", "--objects", "--all", "--not", first)
        own = {line.split(" ")[0] for line in fixes.splitlines()}
        dump, at = git_bytes(self.folder, "cat-file", "--batch", "--batch-all-objects"), 0
        while at < len(dump):
            start = dump.index(b"\n", at) + 1
            name, kind, size = dump[at:start].decode().split()
            origin = "own" if name in own else "text" if kind == "commit" else "file"
            yield f"{origin}: git {kind} {name[:12]}", dump[start : start + int(size)]
            at = start + int(size) + 1

    def _begin_history(self) -> str:
        git(self.folder, "commit", "--quiet", "--message", f"Release of {self._manifest.name}")
        self._settle()
        return self.head()

    def _reset(self) -> None:
        """What the app did to its own files is not part of any release."""
        with contextlib.suppress(GitFailed):  # it is told that files differ. What does not is not written again
            git(self.folder, "update-index", "-q", "--refresh")
        git(self.folder, "reset", "--quiet", "--hard")

    def _settle(self) -> None:
        """Leave nothing behind that tells when, or in which order, files were written.

        The time is drawn anew each time: by it, Python knows that its listing of a folder and its compiled modules are
        out of date. Were it always the same, a worker forked from an old master would not see a new module.
        """
        for name in ("ORIG_HEAD", "COMMIT_EDITMSG"):
            (self.folder / ".git" / name).unlink(missing_ok=True)
        for path in self._paths():
            if path.name == "__pycache__" and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
        git(self.folder, "read-tree", "HEAD")
        time_s = random.randrange(*_TIMES_S)  # noqa: S311 - it guards nothing
        for path in (*self._paths(), self.folder):
            with contextlib.suppress(OSError):  # gone since, or of another user
                os.utime(path, (time_s, time_s), follow_symlinks=False)

    def _write(self, folder: Path, tree: SourceTree) -> None:
        """Make the readable files of ``folder`` those of ``tree``; other files stay."""
        for name in self.source().files.keys() - tree.files.keys():
            (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # up to the first folder that is not empty
                for parent in list(Path(name).parents)[:-1]:
                    (folder / parent).rmdir()
        for name, content in tree.files.items():
            path = folder / name
            if path.is_file() and path.read_bytes() == content.encode():
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode())
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                cure = "choose another name: a file or folder that is not shown has this one"
                raise FixRefused(f"{name} cannot be written: {error.strerror}", rule="path", cure=cure) from None
