"""Trials in containers, as far as no engine is needed to tell what is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.run import command
from harness.errors import InputError, ServiceUnavailable
from harness.services.supervisor import Supervisor
from harness.target.project import Project

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
UP = {"compose version": "", "config": "services: {web: {image: made, build: .}, redis: {image: pulled}}"}


def docker(folder: Path, answers: dict[str, str]) -> None:
    """A program of that name on the path: it prints what is told for its words, and fails at others."""
    cases = "\n".join(f"*'{words}'*) echo '{said}';;" for words, said in answers.items())
    program = folder / "docker"
    program.write_text(
        f"#!/bin/sh\ncase \"$*\" in\n{cases}\n*) echo 'Cannot connect to the engine' >&2; exit 1;;\nesac\n"
    )
    program.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but for the shell."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def project(folder: Path, file: Path = FILE) -> Project:
    return Project(file, log=folder / "compose.log", env={})


def test_what_is_missing_is_told_before_anything_is_started(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file"):
        project(path, path / "other.yml")
    with pytest.raises(InputError, match=r"needs Docker\n"):
        project(path)
    docker(path, {})
    with pytest.raises(InputError, match="needs Docker Compose"):
        project(path)
    docker(path, {"compose version": ""})
    project(path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InputError, match="only root may"):
        project(path)


def running(there: Project, services: list[str]) -> None:
    with Supervisor() as supervisor, there.running(services, [], supervisor):
        pytest.fail("it does not run")


def test_what_the_engine_says_is_told(path: Path) -> None:
    docker(path, {"compose version": ""})
    with pytest.raises(ServiceUnavailable, match="Cannot connect to the engine"):
        running(project(path), [])


def test_a_service_without_image_and_one_that_is_not_there_are_told_with_the_way_out(path: Path) -> None:
    docker(path, UP | {"down": "", "logs": "", "image inspect pulled": ""})
    with pytest.raises(ServiceUnavailable, match="web has no image yet") as raised:
        running(project(path), ["web"])
    assert raised.value.cure.endswith(f"-f {FILE} build web")
    with pytest.raises(ServiceUnavailable, match="no service postgres, only redis, web"):
        running(project(path), ["postgres"])


def test_a_secret_that_a_trial_cannot_make_up_is_told(path: Path) -> None:
    elsewhere = "services: {}\nsecrets: {key: {file: /etc/of-somebody}}"
    docker(path, UP | {"config": elsewhere, "down": "", "logs": ""})
    with pytest.raises(ServiceUnavailable, match="the secret key of the compose file is not there"):
        running(project(path), [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "kubernetes"], "there is no such target"),
        (["--target", "compose:none.yml"], "none.yml: there is no such file"),
        (["--target", "compose", "--isolation", "strict"], "--isolation strict is for processes"),
    ],
)
def test_the_command_line_tells_what_it_cannot_do(words: list[str], said: str, tmp_path: Path) -> None:
    results = ["--results", str(tmp_path), "--fixer", "noop"]
    done = CliRunner().invoke(command, [str(ROOT / "scenarios/malformed_sql.yml"), *results, *words])
    assert isinstance(done.exception, InputError), done.output
    assert said in str(done.exception)
    assert not list(tmp_path.iterdir())
