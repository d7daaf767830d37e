"""Record and replay: what was asked and answered once can be shown again, without a key and a network."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.catalogue import FIXERS, RECORDED, Place, choose_fixer, default_fixer
from harness.errors import InputError, ProposalFailed
from harness.fixing.exchanges import Exchanges, sha256
from harness.fixing.gemini import GeminiFixer
from harness.fixing.openai import OpenAIFixer
from harness.fixing.standins import gemini, openai
from harness.loading import LoadedScenario, load_scenario
from harness.model.fix import Attempt, Cost, Fix
from harness.options import Options
from harness.ports import Fixer
from harness.settings import Settings
from harness.wiring import wired
from tests.consulting import INCIDENT, KEY, REPLY, TREE, Waits, cost_of, failure, propose

ROOT = Path(__file__).resolve().parents[2]
FAILED = Attempt(number=1, outcome="failed", reason="HTTP 503")
OTHER = {**REPLY, "root_cause": "another one"}
LOOK = gemini.call(("read_file", {"path": "shop/db.py"}))

Live = Callable[[Exchanges], Any]


@contextmanager
def live(kind: str, exchanges: Exchanges) -> Iterator[Fixer]:
    """A fixer with a server that answers the first attempt in its way, and the second by OTHER."""
    if kind == "openai":
        answers = [openai.no_format(), openai.quota(0), openai.answer(REPLY), openai.answer(OTHER)]
        with openai.running(answers) as server:
            yield OpenAIFixer(
                model="local", api_key=KEY, base_url=f"{server.url}/v1", sleep=Waits(), exchanges=exchanges
            )
        return
    tools = kind == "gemini-with-tools"
    answers = (
        [LOOK, gemini.quota(0), gemini.call(("propose", REPLY)), LOOK, gemini.call(("propose", OTHER))]
        if tools
        else [gemini.quota(0), gemini.answer(REPLY), gemini.answer(OTHER)]
    )
    with gemini.running(answers) as server:
        yield GeminiFixer(
            model="gemini-3.8-flash", api_key=KEY, base_url=server.url, sleep=Waits(), tools=tools, exchanges=exchanges
        )


def dead(kind: str, exchanges: Exchanges) -> Fixer:
    """A fixer without a key and a server."""
    if kind == "openai":
        return OpenAIFixer(model="local", exchanges=exchanges)
    return GeminiFixer(model="gemini-3.8-flash", tools=kind == "gemini-with-tools", exchanges=exchanges)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY", "GEMINI_MODEL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def recorded(kind: str, folder: Path) -> tuple[Fix, Fix]:
    with live(kind, Exchanges.recording(folder)) as fixer:
        return propose(fixer), propose(fixer, earlier=(FAILED,))


KINDS = pytest.mark.parametrize("kind", ["gemini", "gemini-with-tools", "openai"])


@KINDS
def test_a_recorded_run_is_replayed_without_key_and_network(kind: str, tmp_path: Path) -> None:
    first, second = recorded(kind, tmp_path)
    again = dead(kind, Exchanges.replaying(tmp_path))
    assert propose(again) == replace(first, model=f"{first.model} (replayed)"), "cost and all"
    assert propose(again, earlier=(FAILED,)) == replace(second, model=f"{second.model} (replayed)")
    assert propose(again).root_cause == REPLY["root_cause"], "as often as one likes"
    assert first.cost.calls > 1
    assert second.root_cause == OTHER["root_cause"]


@KINDS
def test_another_request_gets_the_answer_of_its_place_and_says_so(kind: str, tmp_path: Path) -> None:
    first, second = recorded(kind, tmp_path)
    again, later = dead(kind, Exchanges.replaying(tmp_path)), replace(INCIDENT, detected_at="2026-12-01T00:00:00Z")
    fix = again.propose(later, (), TREE, ())
    assert fix.model == f"{first.model} (replayed, the request differed)"
    assert (fix.edits, fix.cost) == (first.edits, first.cost)
    other = again.propose(later, (), TREE, (replace(FAILED, reason="no"),))
    assert other.root_cause == second.root_cause


@KINDS
def test_the_exact_request_is_found_wherever_it_was_recorded(kind: str, tmp_path: Path) -> None:
    """Asked as the second attempt, with what was sent in the first: the prompt does not hold the attempt's number."""
    recorded(kind, tmp_path)
    for file in tmp_path.glob("*.json"):
        exchange = json.loads(file.read_text())
        file.write_text(json.dumps({**exchange, "attempt": exchange["attempt"] + 5}))
    assert propose(dead(kind, Exchanges.replaying(tmp_path))).model.endswith(" (replayed)")


@KINDS
def test_nothing_recorded_is_a_failed_proposal_with_a_cure(kind: str, tmp_path: Path) -> None:
    recorded(kind, tmp_path)
    with pytest.raises(ProposalFailed) as caught:
        propose(dead(kind, Exchanges.replaying(tmp_path)), earlier=(FAILED,) * 7)
    assert "nothing is recorded for call 1 of attempt 8" in caught.value.message
    assert "--record" in caught.value.cure
    assert caught.value.cost == Cost()


def test_of_two_recordings_of_one_place_the_later_answers(tmp_path: Path) -> None:
    for said in (OTHER, REPLY):
        with gemini.running([gemini.answer(said)]) as server:
            one = GeminiFixer(api_key=KEY, base_url=server.url, exchanges=Exchanges.recording(tmp_path))
            one.propose(replace(INCIDENT, symptoms=str(said["root_cause"])), (), TREE, ())
    assert len(list(tmp_path.iterdir())) == 2
    fix = propose(GeminiFixer(exchanges=Exchanges.replaying(tmp_path)))
    assert fix.root_cause == REPLY["root_cause"]


def test_recordings_of_another_fixer_are_not_its_answers(tmp_path: Path) -> None:
    recorded("openai", tmp_path)
    assert "nothing is recorded" in failure(dead("gemini", Exchanges.replaying(tmp_path))).message


@pytest.mark.parametrize("name", ["broken", "blocked", "half", "failing", "echo"])
def test_a_failure_is_recorded_and_fails_the_same_way_again(name: str, tmp_path: Path) -> None:
    with gemini.running([gemini.NAMED[name]()]) as server:
        exchanges = Exchanges.recording(tmp_path)
        one = GeminiFixer(api_key=KEY, base_url=server.url, sleep=Waits(), tries=2, exchanges=exchanges)
        before = failure(one)
    after = failure(GeminiFixer(exchanges=Exchanges.replaying(tmp_path)))
    assert (after.message, after.cure, after.cost) == (before.message, before.cure, before.cost)
    assert cost_of(after).calls


@KINDS
def test_a_file_holds_the_exchange_and_no_key(kind: str, tmp_path: Path) -> None:
    recorded(kind, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert all(file.suffix == ".json" for file in files), "no draft is left"
    for file in files:
        text = file.read_text()
        exchange = json.loads(text)
        assert file.stem.split("-")[-1] == exchange["sha256"] == sha256(exchange["request"])
        for absent in (KEY, "authorization", "x-goog-api-key", "127.0.0.1", "base_url"):
            assert absent not in text.lower()


def test_a_key_in_the_answer_or_the_incident_is_not_kept(tmp_path: Path) -> None:
    said = {**REPLY, "root_cause": f"your key is {KEY}"}
    with gemini.running([gemini.answer(said)]) as server:
        fixer = GeminiFixer(api_key=KEY, base_url=server.url, exchanges=Exchanges.recording(tmp_path))
        fix = fixer.propose(replace(INCIDENT, logs=(f"key={KEY}",)), (), TREE, ())
    (file,) = tmp_path.iterdir()
    assert KEY not in file.read_text()
    assert "<key>" in file.read_text()
    assert fix.root_cause == "your key is <key>"
    assert Exchanges.replaying(tmp_path)


def test_the_folder_is_made_for_the_first_exchange(tmp_path: Path) -> None:
    folder = tmp_path / "trial" / "exchanges"
    with live("gemini", Exchanges.recording(folder)) as fixer:
        assert not folder.exists(), "a trial that asks no model leaves no empty folder"
        propose(fixer)
    assert len(list(folder.iterdir())) == 1


def unwritable_folder(tmp_path: Path) -> Path:
    """One that cannot be made, and in which nothing can be taken away."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "below"


def taken_names(tmp_path: Path) -> Path:
    """A folder in which a folder stands wherever an exchange would be written."""
    recorded("gemini", tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
        file.mkdir()
    return tmp_path


@pytest.mark.parametrize("made", [unwritable_folder, taken_names])
def test_a_recording_that_cannot_be_written_costs_no_answer(
    made: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = made(tmp_path)
    with live("gemini", Exchanges.recording(folder)) as fixer, caplog.at_level(logging.WARNING):
        assert propose(fixer).confidence == 0.7
    assert "could not be kept" in caplog.text
    assert not list(tmp_path.rglob("*.part")), "no draft is left"


def test_an_empty_folder_cannot_be_replayed(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError, match="no recorded exchange"):
            Exchanges.replaying(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text[:-9], "no recorded exchange"),
        (lambda text: "[" * 100_000, "no recorded exchange"),
        (lambda text: "\x00", "no recorded exchange"),
        (lambda text: "[]", "dictionary"),
        (lambda text: text.replace('"attempt": 1', '"attempt": 0'), "attempt"),
        (lambda text: text.replace('"attempt": 1', '"surprise": 1, "attempt": 1'), "surprise"),
        (lambda text: text.replace('"fixer": "gemini"', '"fixer": "../x"'), "fixer"),
        (lambda text: text.replace("burn rate 40", "burn rate 41"), "sha256 is not that of the request"),
    ],
)
def test_a_file_that_is_no_exchange_is_named(tmp_path: Path, change: Callable[[str], str], named: str) -> None:
    recorded("gemini", tmp_path)
    file = sorted(tmp_path.iterdir())[0]
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError) as caught:
        Exchanges.replaying(tmp_path)
    assert file.name in caught.value.message
    assert named in caught.value.message


def test_a_recorded_answer_of_another_shape_is_a_failed_proposal(tmp_path: Path) -> None:
    recorded("gemini", tmp_path)
    for file in tmp_path.iterdir():
        file.write_text(json.dumps({**json.loads(file.read_text()), "body": {"candidates": {"0": 1}}}))
    error = failure(dead("gemini", Exchanges.replaying(tmp_path)))
    assert "not in Gemini's protocol" in error.message


# which fixer answers again


@pytest.fixture(scope="module")
def loaded() -> LoadedScenario:
    return load_scenario(ROOT / "scenarios" / "pool_exhaustion.yml")


KEYLESS = Settings.read({})


@pytest.mark.parametrize(("kind", "name"), [("gemini", "gemini"), ("gemini-with-tools", "gemini-tools")])
def test_who_names_no_fixer_gets_the_recorded_one(kind: str, name: str, tmp_path: Path, loaded: LoadedScenario) -> None:
    trial = tmp_path / "trial"
    first, _ = recorded(kind, trial / "exchanges")
    options = Options(results=tmp_path / "results", replay=trial, track=False, isolation="none")
    with wired(loaded, options, KEYLESS, show=False) as ready:
        assert ready.world.trial.fixer == ready.world.fixer.name == name
        assert str(trial) in ready.world.fixer_reason
        fix = propose(ready.world.fixer)
    assert (fix.edits, fix.model) == (first.edits, f"{first.model} (replayed)")


def test_who_names_no_fixer_and_replays_nothing_gets_the_default() -> None:
    assert default_fixer(KEYLESS)[0] == "playbook"
    assert default_fixer(Settings.read({"GEMINI_API_KEY": KEY}))[0] == "gemini"


def test_of_two_recorded_fixers_one_has_to_be_chosen(tmp_path: Path, loaded: LoadedScenario) -> None:
    recorded("gemini", tmp_path)
    recorded("gemini-with-tools", tmp_path)
    with pytest.raises(InputError, match="gemini, gemini-tools") as caught:
        default_fixer(KEYLESS, tmp_path)
    assert "--fixer" in caught.value.cure
    assert choose_fixer("gemini-tools", loaded, Place(results=tmp_path, folder=tmp_path, replay=tmp_path))


@pytest.mark.parametrize(
    "name", [*sorted({*FIXERS} - {*RECORDED}), "cheat:edit-test", "command: true", "tests.world:AnsweringFixer"]
)
def test_a_fixer_that_cannot_answer_from_a_recording_is_refused(
    name: str, tmp_path: Path, loaded: LoadedScenario
) -> None:
    recorded("gemini", tmp_path)
    with pytest.raises(InputError, match="cannot be replayed") as caught:
        choose_fixer(name, loaded, Place(results=tmp_path, folder=tmp_path, replay=tmp_path))
    assert "gemini-tools" in caught.value.cure


def test_a_fixer_of_which_nothing_is_recorded_is_refused(tmp_path: Path, loaded: LoadedScenario) -> None:
    recorded("openai", tmp_path)
    with pytest.raises(InputError, match="no exchange of gemini is recorded") as caught:
        choose_fixer("gemini", loaded, Place(results=tmp_path, folder=tmp_path, replay=tmp_path))
    assert "--fixer openai" in caught.value.cure
