"""Fixers that need no model: the floor (do nothing), the ceiling (a known good patch), and a script for dry runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import ProposalFailed, ServiceUnavailable
from harness.model.fix import Attempt, DeleteFile, Edit, Fix, WriteFile
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree

_GIT_TIMEOUT_S = 30.0


class NoopFixer:
    """Changes nothing. A scenario that this one heals measures nothing."""

    name = "noop"
    model = ""

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        return Fix(root_cause="not looked for: the no-op fixer always abstains")


class ReferenceFixer:
    """Proposes a unified diff that is known to heal: what a perfect fixer would do.

    Deterministic. Raises ProposalFailed when the patch cannot be read or does not apply to the tree, and
    ServiceUnavailable when git is missing.
    """

    name = "reference"
    model = ""

    def __init__(self, patch: Path) -> None:
        self._patch = patch

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        try:
            diff = self._patch.read_bytes()
        except OSError as error:
            cure = "Put the patch there, or name another one."
            raise ProposalFailed(f"{self._patch}: {error.strerror}", cure=cure) from error
        after = _patched(tree.files, diff, name=self._patch.name)
        return Fix(
            root_cause="known beforehand: this is the reference fix",
            edits=tuple(_edits(tree.files, after)),
            remediation=f"apply {self._patch.name}",
        )


class ScriptedFixer:
    """Returns the given fixes in turn, then fails: for dry runs and tests."""

    name = "scripted"
    model = ""

    def __init__(self, fixes: Iterable[Fix]) -> None:
        self._fixes = iter(tuple(fixes))

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        try:
            return next(self._fixes)
        except StopIteration:
            raise ProposalFailed("the script has no further fix", cure="Script one fix an attempt.") from None


def _patched(files: Mapping[str, str], diff: bytes, *, name: str) -> dict[str, str]:
    """The files after ``git apply``, tried out in a folder of its own."""
    with TemporaryDirectory(prefix="reference-") as folder:
        root = Path(folder).resolve()
        for path, content in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode("utf-8"))
        _git_apply(root, diff, name=name)
        after: dict[str, str] = {}
        for file in sorted(root.rglob("*")):
            path = file.relative_to(root).as_posix()
            if file.is_symlink():
                raise ProposalFailed(f"{name} makes {path} a symbolic link", cure="Use a patch of plain text files.")
            if file.is_file():
                after[path] = _text(file, name=name, path=path)
        return after


def _git_apply(root: Path, diff: bytes, *, name: str) -> None:
    """Inside a repository git would skip, silently, paths outside the current folder: keep it from finding one."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CEILING_DIRECTORIES": str(root.parent),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    try:
        done = subprocess.run(
            command, cwd=root, input=diff, env=environment, capture_output=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise ServiceUnavailable("git is not installed", cure="Install git, e.g. apt-get install git.") from error
    except subprocess.TimeoutExpired as error:
        raise ProposalFailed(f"git took more than {_GIT_TIMEOUT_S:g} s to apply {name}") from error
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip()
        cure = "Make the patch again against the code that runs now."
        raise ProposalFailed(f"{name} does not apply: {message}", cure=cure)


def _text(file: Path, *, name: str, path: str) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProposalFailed(f"{name} makes {path} a binary file", cure="Use a patch of plain text files.") from error


def _edits(before: Mapping[str, str], after: Mapping[str, str]) -> list[Edit]:
    gone: list[Edit] = [DeleteFile(path=path) for path in sorted(before.keys() - after.keys())]
    changed = [path for path, content in sorted(after.items()) if before.get(path) != content]
    return gone + [WriteFile(path=path, content=after[path]) for path in changed]
