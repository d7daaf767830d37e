"""Runs git, deaf to the user's configuration, hooks and credentials."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness.errors import ServiceUnavailable

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


def git(folder: Path, *words: str, stdin: str | None = None) -> str:
    """The output of ``git words...`` in ``folder``. GitFailed with git's own words; ServiceUnavailable without git."""
    program = shutil.which("git")
    if program is None:
        raise ServiceUnavailable("git is not installed", cure="install git, e.g. apt-get install git")
    command = [program, "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", *words]
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), **_ENV}
    done = subprocess.run(
        command, cwd=folder, env=env, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise GitFailed(f"git {words[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
