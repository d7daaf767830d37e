"""`harness report`, as its reader meets it: notebooks run by papermill, one page, opened in a real browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page

from harness.experiment.manifest import begun
from harness.experiment.results import append
from harness.model.experiment import Arm, Experiment
from harness.model.verdict import Outcome
from tests.e2e import tiny
from tests.e2e.browser import watched
from tests.rows import row

FIXTURE = Path(__file__).parents[1] / "fixtures" / "journal-2"
WIDTHS = (360, 768, 1280)
DEADLINE_S = 300.0
_CUT = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
_DRAWN = "() => [...document.images].map(each => [each.complete && each.naturalWidth > 0, each.alt.length > 20])"


def report(*words: str | Path, where: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "report", *map(str, words)]
    home = where / "home"
    home.mkdir(exist_ok=True)
    env = {**os.environ, "HOME": str(home)}
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    left = [path for path in home.rglob("*") if path.is_file() and "fontlist" not in path.name]
    assert left == [], "nothing is left at home but matplotlib's list of fonts"
    return done


def sweep(folder: Path) -> None:
    """Two fixers, one of them with two retrievers, whose fixes go live with a confidence, and a base that grows."""
    for number in range(60):
        scenario, seed = ("pool", "sql", "quiet")[number % 3], number // 3
        for fixer, retriever, often in (("noop", "none", 0), ("playbook", "none", 3), ("playbook", "lexical", 9)):
            good = seed % 10 < often
            fate = Outcome.HEALED if good else Outcome.NOT_HEALED
            one = row(scenario, fixer, seed, fate if seed < 19 else Outcome.INVALID)
            append(
                folder,
                replace(
                    one,
                    cell=f"{scenario}/{fixer}@{retriever}/{seed}",
                    trial=f"{scenario}-{fixer}-{retriever}-{seed}",
                    retriever=retriever,
                    kb=f"team {seed // 5}" if retriever == "lexical" else "",
                    live=fixer == "playbook",
                    confidence=0.3 + 0.05 * often if fixer == "playbook" else None,
                    retriever_confidence=0.5 if retriever == "lexical" else None,
                ),
            )


def looked_at(page: Page, file: Path) -> None:
    """At three widths: all pictures are drawn and described, nothing sticks out, nothing is fetched, nothing breaks."""
    wrong = watched(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if not request.url.startswith("data:") else None)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(file.as_uri())
        page.wait_for_load_state("load")
        drawn = page.evaluate(_DRAWN)
        assert drawn
        assert all(complete and described for complete, described in drawn), width
        wide, there = page.evaluate(_CUT)
        assert wide <= there, f"{width} px: the page is {wide} px wide"
    assert set(asked) == {file.as_uri()}, "it opens offline"
    assert wrong == []


def test_a_sweep_becomes_a_page(tmp_path: Path, page: Page) -> None:
    sweep(tmp_path / "shipped")
    done = report("shipped", "--against", "noop@none", "--notebooks", "kept", where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[4/4] 05_learning_curve.ipynb" in done.stderr
    assert "warn" not in done.stderr.lower()
    file = tmp_path / "shipped" / "report.html"
    assert str(file.relative_to(tmp_path)) in done.stdout
    looked_at(page, file)
    text = page.inner_text("body")
    for told in (
        "playbook@lexical against noop@none: better",
        "May it deploy by itself?",
        "INVALID",
        "The knowledge base grew meanwhile",
    ):
        assert told in text
    assert page.locator("code").first.inner_text() == "harness report shipped --against noop@none"
    kept = [nbformat.read(file, as_version=4) for file in sorted((tmp_path / "kept").iterdir())]
    assert len(kept) == 4
    assert all(cell.outputs for book in kept for cell in book.cells[3:] if cell.cell_type == "code")


def test_nights_become_a_page(tmp_path: Path, page: Page) -> None:
    tiny.make(tmp_path / "base")
    given = Experiment(name="nights", scenarios=("slow_export.yml",), arms=(Arm(fixer="noop"),))
    for night, often in (("2026-11-01", 9), ("2026-11-02", 8), ("2026-11-03", 2)):
        with begun(given, tmp_path / "base", tmp_path / "nights" / night) as place:
            for seed in range(40):
                fate = Outcome.HEALED if seed % 10 < often else Outcome.NOT_HEALED
                append(place.folder, row("pool", "noop", seed, fate))
    done = report("nights", where=tmp_path)
    assert done.returncode == 0, done.stderr
    looked_at(page, tmp_path / "nights" / "report.html")
    text = page.inner_text("body")
    assert "It has become worse" in text
    assert "noop@lexical: worse" in text, "the last night against the first"
    assert "2026-11-03: noop@lexical" in text


def test_a_trial_becomes_a_page(tmp_path: Path, page: Page) -> None:
    shutil.copytree(FIXTURE, tmp_path / "trial")
    done = report("trial", "--to", "it.html", where=tmp_path)
    assert done.returncode == 0, done.stderr
    looked_at(page, tmp_path / "it.html")
    assert page.get_by_role("heading", level=1).inner_text() == "trial"
    assert page.locator("pre.diff ins").count() > 0


@pytest.mark.parametrize(
    ("words", "why"),
    [(["nowhere"], "there is no folder nowhere"), (["empty"], "holds no trial"), (["empty", "--to", "no/x.html"], "")],
)
def test_what_cannot_be_told_is_refused_before_any_notebook_runs(tmp_path: Path, words: list[str], why: str) -> None:
    (tmp_path / "empty").mkdir()
    done = report(*words, where=tmp_path)
    assert done.returncode == 2
    assert why in done.stderr
    assert ".ipynb" not in done.stderr
    assert not list(tmp_path.rglob("*.html"))


def test_a_notebook_that_fails_is_named_with_its_cell(tmp_path: Path) -> None:
    sweep(tmp_path / "shipped")
    done = report("shipped", "--against", "nobody@none", where=tmp_path)
    assert done.returncode == 2
    assert "02_compare.ipynb, cell" in done.stderr
    assert "no arm nobody@none" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "shipped" / "report.html").exists()
