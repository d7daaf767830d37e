"""What tells the answer is hidden from a program that looks around, wherever it lies; its own things are not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.catalogue import Place, choose_fixer
from harness.errors import InputError
from harness.fixing.answers import answers
from harness.git import git, init
from harness.loading import LoadedScenario, load_scenario
from harness.model.incident import Incident
from harness.model.source import SourceTree
from harness.services.containment import contained

ROOT = Path(__file__).resolve().parents[2]
NAME = "pool_exhaustion"
INCIDENT = Incident(
    id="inc-1", error_code="", symptoms="slow", breadcrumbs=(), logs=(), window=None, detected_at="2026-11-05T10:00:00Z"
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scenario, app and past incidents in a repository; the home lies elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return repository(tmp_path / "main")


def repository(top: Path, scenarios: str = "scenarios") -> Path:
    folder = top / scenarios
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "scenarios" / f"{NAME}.yml", folder)
    for name in (NAME, "shop"):
        shutil.copytree(ROOT / "scenarios" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "target_app", top / "target_app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("kb", "docs", "tests"):
        (top / name).mkdir()
        (top / name / "about.md").write_text("the answer\n")
    init(top)
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message", "the answer")
    return top


def loaded_in(top: Path, scenarios: str = "scenarios") -> LoadedScenario:
    return load_scenario(top / scenarios / f"{NAME}.yml")


def is_hidden(path: Path, hidden: Sequence[Path]) -> bool:
    return any(above in hidden for above in (path, *path.parents))


def test_all_of_a_checkout_that_tells_is_hidden_and_nothing_else(checkout: Path) -> None:
    hidden = answers(loaded_in(checkout), checkout / "elsewhere")
    told = [".git", "docs", "tests", "results", "scenarios", "target_app", "kb", "elsewhere"]
    assert {path for path in hidden if path.parent == checkout} == {checkout / name for name in told}
    assert not is_hidden(checkout / "my-agent", hidden)


def test_in_a_worktree_the_history_and_the_other_worktrees_are_hidden_too(checkout: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(checkout, "worktree", "add", "--quiet", str(linked))
    for top in (linked, checkout):
        hidden = answers(loaded_in(top))
        for other in (linked, checkout):
            for name in (".git", "docs", "tests", "kb", "scenarios", "target_app"):
                assert other / name in hidden
            assert not is_hidden(other / "my-agent", hidden)


@pytest.mark.parametrize("kind", ["bare", "apart"])
def test_a_history_that_lies_elsewhere_is_hidden(checkout: Path, tmp_path: Path, kind: str) -> None:
    history, linked = tmp_path / "history", tmp_path / "linked"
    if kind == "bare":
        git(tmp_path, "clone", "--quiet", "--bare", str(checkout), str(history))
        git(history, "worktree", "add", "--quiet", str(linked))
    else:
        git(tmp_path, "clone", "--quiet", f"--separate-git-dir={history}", str(checkout), str(linked))
    hidden = answers(loaded_in(linked))
    assert history in hidden
    assert linked / "kb" in hidden
    assert linked not in hidden


@pytest.mark.parametrize("place", ["home", "home/deeper", "main"])
def test_a_home_or_a_checkout_is_never_hidden_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The scenario lies in the home, or above it, or at the checkout's top."""
    top = tmp_path / ("main" if place == "main" else "home")
    monkeypatch.setenv("HOME", str(tmp_path / place) if place != "main" else str(tmp_path / "home"))
    loaded = loaded_in(repository(top, "."), ".")
    hidden = answers(loaded, tmp_path, top)
    for shown in (top, tmp_path / "home", top / "my-agent", top / ".config", Path("/")):
        assert not is_hidden(shown, hidden)
    for told in (f"{NAME}.yml", NAME, f"{NAME}/reference.patch", "shop/checks", "target_app", "kb", ".git"):
        assert is_hidden(top / told, hidden)


def test_of_an_app_at_the_top_of_its_checkout_the_source_is_hidden(checkout: Path) -> None:
    shutil.copytree(checkout / "target_app", checkout, dirs_exist_ok=True)
    hidden = answers(replace(loaded_in(checkout), app=checkout))
    assert is_hidden(checkout / "shop" / "db.py", hidden)
    assert not is_hidden(checkout / "my-agent", hidden)


def test_what_a_scenario_names_elsewhere_is_hidden(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "far.patch").write_text("+answer\n")
    assert tmp_path / "far.patch" in answers(replace(loaded_in(checkout), reference=tmp_path / "far.patch"))


def test_outside_of_a_repository_the_scenario_is_hidden_all_the_same(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    hidden = answers(loaded_in(checkout))
    assert {path for path in hidden if path.parent == checkout} == {
        checkout / name for name in ("scenarios", "target_app", "kb")
    }


def test_a_program_in_the_checkout_runs_and_finds_no_answer(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not contained("auto").bwrap:
        pytest.skip("bubblewrap does not work here")
    linked = tmp_path / "linked"
    git(checkout, "worktree", "add", "--quiet", str(linked))
    agent, log = linked / "my-agent", "results/t/logs/agent-1.log"
    looks = "; ".join(f"grep -rIl . {top} --exclude=my-agent" for top in (linked, checkout))
    agent.write_text(f"#!/bin/sh\n{looks}; git -C {linked} log; echo done; echo 'a = 2' > app/a.py\n")
    agent.chmod(0o755)
    monkeypatch.chdir(linked)
    place = Place(results=linked / "results", folder=linked / "results" / "t")
    place.folder.mkdir(parents=True)
    (place.folder / "verdict.json").write_text("{}")
    fixer = choose_fixer("command: ./my-agent", loaded_in(linked), place)
    assert fixer.propose(INCIDENT, (), SourceTree(files={"a.py": "a = 1\n"}), ()).edits
    said = (linked / log).read_text()
    assert said.endswith("done\n")
    assert str(linked / "scenarios") not in said
    assert [line for line in said.splitlines() if line.startswith("/")] == []
    assert "the answer" not in said
    agent.rename(linked / "docs" / "my-agent")
    with pytest.raises(InputError, match="lies in a hidden folder"):
        choose_fixer("command: docs/my-agent", loaded_in(linked), place)
