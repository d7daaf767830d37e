"""``harness demo``: what a stand-in is told to answer, and that no key of the user's is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from harness.catalogue import choose_fixer
from harness.cli import demo
from harness.errors import InputError
from harness.fixing import reply
from harness.fixing.guard import apply
from harness.fixing.standins import gemini, openai, server
from harness.git import patched
from harness.leaks.needles import running_tree
from harness.loading import LoadedScenario, load_scenario
from harness.model.fix import Fix
from harness.sinks.journal import read_verdict
from tests.consulting import INCIDENT
from tests.e2e import tiny

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = [load_scenario(file) for file in sorted((ROOT / "scenarios").glob("*.yml"))]
POOL = next(loaded for loaded in SCENARIOS if loaded.spec.metadata.name == "pool_exhaustion")
REAL_KEY = "AIza-somebodys-own-key-0123456789"
THEIRS = {
    "GEMINI_API_KEY": REAL_KEY,
    "GOOGLE_API_KEY": REAL_KEY,
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GEMINI_MODEL": "gemini-of-theirs",
    "OPENAI_API_KEY": REAL_KEY,
    "OPENAI_BASE_URL": "https://api.example.org/v1",
    "OPENAI_ORG_ID": "org-of-theirs",
}

PATIENT = {**cast(dict[str, str], tiny.SCENARIO["recovery"]), "horizon": "40s"}


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody who has keys."""
    for name, value in THEIRS.items():
        monkeypatch.setenv(name, value)


def fix_of(answer: Mapping[str, object]) -> Fix:
    return reply.to_fix(reply.read(json.dumps(answer)))


@pytest.mark.parametrize("loaded", SCENARIOS, ids=lambda loaded: loaded.spec.metadata.name)
def test_the_answer_is_the_reference_patch_or_for_a_control_that_nothing_is_wrong(loaded: LoadedScenario) -> None:
    fix = fix_of(demo.canned(loaded))
    assert fix.abstains is loaded.spec.metadata.control
    if loaded.reference:
        tree = running_tree(loaded)
        assert apply(tree, fix).files == patched(tree, loaded.reference.read_text()).files != tree.files


def test_without_a_reference_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no reference patch"):
        demo.canned(load_scenario(tiny.make(tmp_path, reference=None)))


def test_a_reference_that_does_not_fit_is_the_users_mistake(tmp_path: Path) -> None:
    file = tiny.make(tmp_path)
    (tmp_path / "cure.patch").write_text(tiny.CURE.replace("time.sleep(3)", "time.sleep(4)"))
    with pytest.raises(InputError, match="does not fit the app"):
        demo.canned(load_scenario(file))


@pytest.mark.parametrize("model", demo.MODELS)
def test_a_misdeed_that_there_is_not_is_told_with_those_that_there_are(model: str, tmp_path: Path) -> None:
    words = ["--model", model, "--misbehave", "quota", "--misbehave", "lie", "--results", str(tmp_path / "results")]
    result = CliRunner().invoke(demo.command, [str(POOL.file), *words])
    assert isinstance(result.exception, InputError)
    assert "'lie'" in result.exception.message
    assert {*demo.MODELS[model].spoken.NAMED, "nothing"} == set(
        result.exception.cure.removeprefix("known: ").split(", ")
    )
    assert not (tmp_path / "results").exists()


def test_nothing_is_no_misdeed() -> None:
    assert demo.misbehaving(demo.MODELS["gemini"], ["nothing"]) == []
    assert demo.misbehaving(demo.MODELS["gemini"], ["quota", "drop"]) == [gemini.quota(), server.drop()]


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("model", demo.MODELS)
def test_the_environment_is_as_it_was_however_the_demo_ends(model: str) -> None:
    before = dict(os.environ)
    given = demo.MODELS[model].variables("http://127.0.0.1:1")
    with pytest.raises(KeyboardInterrupt), demo.environment(given):
        assert REAL_KEY not in os.environ.values()
        assert {name: os.environ[name] for name in os.environ if name in THEIRS or name in given} == given
        raise KeyboardInterrupt
    assert dict(os.environ) == before


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(("model", "dialect"), [("gemini", gemini.DIALECT), ("openai", openai.DIALECT)])
def test_the_real_sdk_asks_the_stand_in_and_no_key_of_the_users_is_sent(model: str, dialect: server.Dialect) -> None:
    told: list[str] = []

    def key(headers: Mapping[str, str]) -> str:
        told.append(repr(dict(headers)))
        return dialect.key(headers)

    chosen = demo.MODELS[model]
    answers = [*demo.misbehaving(chosen, ["unavailable"]), chosen.spoken.answer(demo.canned(POOL))]
    with (
        server.running(replace(dialect, key=key), answers) as standin,
        demo.environment(chosen.variables(standin.url)),
    ):
        fix = choose_fixer(model, POOL).propose(INCIDENT, (), running_tree(POOL), ())
    assert fix.edits == fix_of(demo.canned(POOL)).edits
    assert fix.model == "stand-in-001"
    assert len(standin.requests) == 2
    assert told and all(demo.KEY in headers for headers in told)
    assert not [headers for headers in told if REAL_KEY in headers or "of-theirs" in headers]


def test_a_whole_trial(tmp_path: Path) -> None:
    scenario = tiny.make(tmp_path, budget={"attempts": 1, "fixer": "30s"}, recovery=PATIENT)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "demo", str(scenario), "--results", str(tmp_path / "results")],
        cwd=ROOT,
        env={**os.environ, **THEIRS},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, asked, last = done.stdout.splitlines()
    assert first == f"A stand-in of gemini on this machine. {demo.CANNED}"
    assert asked == "The stand-in was asked 2 times; before its answer: quota."
    assert last == f"HEALED. {demo.CANNED}"
    (folder,) = (path.parent for path in (tmp_path / "results").glob("*/verdict.json"))
    verdict = read_verdict(folder)
    assert verdict is not None
    assert (verdict.trial.fixer, verdict.trial.model) == ("gemini", "stand-in-001")
    kept = [path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert not [content for content in kept if REAL_KEY.encode() in content]


def test_the_table_of_models_speaks_of_stand_ins_only() -> None:
    for model in demo.MODELS.values():
        with model.spoken.running() as standin:
            urls = [value for value in model.variables(standin.url).values() if "://" in value]
            assert urls and all(url.startswith(standin.url) for url in urls)
