"""What `from harness import ...` offers, without a command line."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.experiment.sweep import Progress
from harness.model.experiment import Arm, Experiment
from tests.e2e import tiny
from tests.lanes import Lanes


def test_all_that_is_offered_is_there() -> None:
    assert all(callable(getattr(harness, name)) for name in harness.__all__)
    with pytest.raises(AttributeError, match="no attribute 'heal'"):
        _ = harness.heal
    importlib.reload(harness)


def test_importing_it_starts_nothing_and_imports_nothing_heavy() -> None:
    told = "import sys, harness; print(*[name for name in sys.modules if name.startswith('harness.')])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_program_sweeps_and_compares(lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.make(tmp_path / "base")
    (tmp_path / "base" / "kb").mkdir()
    file = tmp_path / "base" / "experiment.yml"
    file.write_text("name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: noop}, {fixer: playbook}]\n")
    heard: list[Progress] = []
    found = harness.sweep(file, results=tmp_path / "results", track=False, tell=heard.append)
    assert len(heard) == len(found) == len(lanes.ran) == 6
    (told,) = harness.compare(tmp_path / "results/mine:noop@lexical", tmp_path / "results/mine:playbook@lexical")
    assert told.pairs == 3
    monkeypatch.chdir(tmp_path / "base")
    arms = (Arm(fixer="noop"), Arm(fixer="playbook"))
    same = Experiment(name="mine", scenarios=("slow_export.yml",), arms=arms)
    assert harness.sweep(same, results=tmp_path / "results", track=False) == found
    assert len(lanes.ran) == 6, "nothing runs twice"
