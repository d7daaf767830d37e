"""A trial whose fix is a commit in a real repository, past a pipeline that looks at what it got."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import run
from harness.delivery.audit import Audit
from harness.git import git, init
from harness.model.verdict import Outcome
from tests.e2e import tiny

pytestmark = pytest.mark.timeout(180)
PIPELINE = """\
import os, subprocess
what = ["--git-dir", os.environ["DELIVERY_REMOTE"], "show", os.environ["DELIVERY_COMMIT"] + ":apps/tiny/app.py"]
compile(subprocess.check_output(["git", *what]), "app.py", "exec")
"""


FIXER = """\
from harness.model.fix import Fix, ReplaceText


class Sure:
    name, model = "sure", ""

    def propose(self, incident, passages, tree, earlier):
        edit = ReplaceText(path="app.py", search="    time.sleep(3)", replace="    pass")
        return Fix(root_cause="exports hold every thread", edits=(edit,), confidence=0.9)
"""


def repository(folder: Path, app: Path) -> Path:
    """A bare one, which holds the app as it runs."""
    bare, clone = folder / "shop.git", folder / "clone"
    (clone / "apps/tiny").mkdir(parents=True)
    init(clone)
    for file in app.iterdir():
        (clone / "apps/tiny" / file.name).write_bytes(file.read_bytes())
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "The first release")
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git(clone, "push", "--quiet", str(bare), "HEAD:main")
    return bare


def test_a_healed_app_s_fix_is_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sure_fixer.py").write_text(FIXER)
    monkeypatch.syspath_prepend(tmp_path)
    deploy = {
        "mode": "git",
        "remote": "shop.git",
        "folder": "apps/tiny",
        "pipeline": [sys.executable, "-c", PIPELINE],
        "minConfidence": 0.5,
        "within": "30s",
    }
    scenario = tiny.make(tmp_path, deploy=deploy)
    bare, results = repository(tmp_path, tmp_path / "tiny"), tmp_path / "results"
    verdict = run(scenario, fixer="sure_fixer:Sure", retriever="none", results=results, track=False)
    assert verdict.outcome is Outcome.HEALED, verdict.reason
    assert "time.sleep" not in git(bare, "show", "main:apps/tiny/app.py")
    assert [entry.action for entry in Audit(results).entries()] == ["pushed", "passed", "kept"]
