"""The app's code during a trial: a git repository that begins with one commit, so that no history tells the answer."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from harness.errors import FixRefused, InputError
from harness.git import GitFailed, git
from harness.model.app import AppManifest
from harness.model.globs import matches
from harness.model.source import SourceTree

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "tests", "app.yml", ".*", "*.egg-info", "README.md")


class Workspace:
    """``folder`` is what runs. Commits go forward only: a rollback is a commit that reverts."""

    def __init__(self, folder: Path, manifest: AppManifest) -> None:
        self.folder = folder
        self._manifest = manifest

    def create(self, app: Path, patch: Path | None) -> str:
        """Copy the app, make it weak by ``patch``, and begin the history there. The commit."""
        shutil.copytree(app, self.folder, ignore=_LEFT_OUT, dirs_exist_ok=True)
        git(self.folder, "init", "--quiet", "--initial-branch=main")
        if patch:
            self.apply_patch(patch)
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
        """Make ``tree`` the only commit there is."""
        self._write(self.folder, tree)
        shutil.rmtree(self.folder / ".git")
        git(self.folder, "init", "--quiet", "--initial-branch=main")
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
        return git(checkout, "rev-parse", "HEAD").strip()

    def drop(self, checkout: Path) -> None:
        with contextlib.suppress(GitFailed):  # it was never made: that has been told already
            git(self.folder, "worktree", "remove", "--force", str(checkout))

    def merge(self, name: str) -> str:
        """Fast-forward what runs to the branch. The diff against what ran before."""
        before = self.head()
        git(self.folder, "reset", "--quiet", "--hard")  # what the app did to its own files is not part of any release
        git(self.folder, "merge", "--quiet", "--ff-only", name)
        return git(self.folder, "diff", "--no-color", before, "HEAD")

    def revert(self) -> str:
        """Take the last commit back by a commit. The diff."""
        git(self.folder, "reset", "--quiet", "--hard")
        git(self.folder, "revert", "--no-commit", "HEAD")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", "Roll back")  # a commit may change nothing
        return git(self.folder, "diff", "--no-color", "HEAD~1", "HEAD")

    def head(self) -> str:
        return git(self.folder, "rev-parse", "HEAD").strip()

    def _begin_history(self) -> str:
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--message", f"Release of {self._manifest.name}")
        return self.head()

    def _write(self, folder: Path, tree: SourceTree) -> None:
        """Make the readable files of ``folder`` those of ``tree``; other files stay."""
        for name in self.source().files.keys() - tree.files.keys():
            (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # up to the first folder that is not empty
                for parent in list(Path(name).parents)[:-1]:
                    (folder / parent).rmdir()
        for name, content in tree.files.items():
            path = folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode())
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                cure = "choose another name: a file or folder that is not shown has this one"
                raise FixRefused(f"{name} cannot be written: {error.strerror}", rule="path", cure=cure) from None
