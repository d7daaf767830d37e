"""Runs git, deaf to the user's configuration, hooks and credentials."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import ServiceUnavailable
from harness.model.source import SourceTree

LEFT_OUT = (
    "__pycache__",
    "*.pyc",
    "tests",
    "app.yml",
    ".*",
    "*.egg-info",
    "README.md",
)  # of an app's folder, in a trial

_TIMEOUT_S = 30.0
_DATE = "2026-01-01T00:00:00+00:00"  # of each commit: when a release was made could tell what it is
_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "creamandonion",
    "GIT_AUTHOR_EMAIL": "bot@localhost",
    "GIT_AUTHOR_DATE": _DATE,
    "GIT_COMMITTER_NAME": "creamandonion",
    "GIT_COMMITTER_EMAIL": "bot@localhost",
    "GIT_COMMITTER_DATE": _DATE,
    "LC_ALL": "C.UTF-8",
}
_SETTINGS = ("core.hooksPath=/dev/null", "core.autocrlf=false", "core.logAllRefUpdates=false", "gc.auto=0")


class GitFailed(Exception):
    """git ended with an error; the text is what it said."""


def git(folder: Path, *words: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
    """The output of ``git words...`` in ``folder``, what is not UTF-8 in it replaced. See git_bytes."""
    return git_bytes(folder, *words, stdin=stdin, env=env).decode(errors="replace")


def git_bytes(folder: Path, *words: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
    """The output of ``git words...`` in ``folder``, with ``env`` over our own. No reflog is kept, and nothing is packed
    by the way.

    GitFailed with git's own words; ServiceUnavailable without git, or when it does not end.
    """
    program = shutil.which("git")
    if program is None:
        raise ServiceUnavailable("git is not installed", cure="install git, e.g. apt-get install git")
    command = [program, *(word for setting in _SETTINGS for word in ("-c", setting)), *words]
    own = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), **_ENV, **(env or {})}
    try:
        done = subprocess.run(
            command, cwd=folder, env=own, input=stdin, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServiceUnavailable(
            f"git {words[0]} took longer than {_TIMEOUT_S:g} s", cure="is the disk full?"
        ) from None
    if done.returncode:
        raise GitFailed(f"git {words[0]}: {(done.stderr or done.stdout).decode(errors='replace').strip()}")
    return done.stdout


def init(folder: Path) -> None:
    """An empty repository, its branch ``main``, without the samples and settings of git's template."""
    git(folder, "init", "--quiet", "--template=", "--initial-branch=main")


def shipped(app: Path) -> SourceTree:
    """The text files of an app's folder, as a trial copies them."""
    left_out = shutil.ignore_patterns(*LEFT_OUT)
    files: dict[str, str] = {}
    for folder, names, inside in os.walk(app):
        skipped = left_out(folder, [*names, *inside])
        names[:] = sorted(set(names) - skipped)
        for file in (Path(folder, name) for name in sorted(set(inside) - skipped)):
            with contextlib.suppress(UnicodeDecodeError):
                files[file.relative_to(app).as_posix()] = file.read_bytes().decode()
    return SourceTree(files=files)


def patched(tree: SourceTree, patch: str) -> SourceTree:
    """The tree after a unified diff, tried in a folder of its own. GitFailed when it does not apply or is no text."""
    with TemporaryDirectory(prefix="patch-") as name:
        folder = Path(name)
        init(folder)  # outside a repository git skips, silently, paths that lie elsewhere
        for path, content in tree.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content.encode())
        git(folder, "apply", "--whitespace=nowarn", "-", stdin=patch.encode())
        shutil.rmtree(folder / ".git")
        return tree.with_files(dict(_texts(folder)))


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            raise GitFailed(f"the patch makes {name} a symbolic link")
        if file.is_file():
            try:
                yield name, file.read_bytes().decode()
            except UnicodeDecodeError:
                raise GitFailed(f"the patch makes {name} a binary file") from None
