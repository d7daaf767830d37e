"""Runs git, deaf to the user's configuration, hooks and credentials."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import ServiceUnavailable
from harness.model.source import SourceTree

_TIMEOUT_S = 30.0
_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "creamandonion",
    "GIT_AUTHOR_EMAIL": "bot@localhost",
    "GIT_COMMITTER_NAME": "creamandonion",
    "GIT_COMMITTER_EMAIL": "bot@localhost",
    "LC_ALL": "C.UTF-8",
}


class GitFailed(Exception):
    """git ended with an error; the text is what it said."""


def git(folder: Path, *words: str, stdin: bytes | None = None) -> str:
    """The output of ``git words...`` in ``folder``, what is not UTF-8 in it replaced.

    GitFailed with git's own words; ServiceUnavailable without git, or when it does not end.
    """
    program = shutil.which("git")
    if program is None:
        raise ServiceUnavailable("git is not installed", cure="install git, e.g. apt-get install git")
    command = [program, "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", *words]
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), **_ENV}
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, input=stdin, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServiceUnavailable(
            f"git {words[0]} took longer than {_TIMEOUT_S:g} s", cure="is the disk full?"
        ) from None
    if done.returncode:
        raise GitFailed(f"git {words[0]}: {(done.stderr or done.stdout).decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


def patched(tree: SourceTree, patch: str) -> SourceTree:
    """The tree after a unified diff, tried in a folder of its own. GitFailed when it does not apply or is no text."""
    with TemporaryDirectory(prefix="patch-") as name:
        folder = Path(name)
        git(folder, "init", "--quiet")  # outside a repository git skips, silently, paths that lie elsewhere
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
