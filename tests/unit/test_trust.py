"""Confidence against outcome, and the threshold from which on fixes may go live."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.calibration import command
from harness.errors import InputError
from harness.experiment.results import Stated, append, undone
from harness.experiment.sides import Side
from harness.experiment.trust import as_json, text, trust
from harness.model.verdict import Outcome
from tests.e2e import tiny
from tests.rows import row


def arm(honest: bool, n: int = 400, **changes: object) -> Side:
    """Heals as often as it says, or says the opposite, in twenty scenarios."""
    drawn = random.Random(7)
    trials = {}
    for seed in range(n):
        said = drawn.random()
        healed = (drawn.random() < said) is honest
        name = f"s{seed % 20}"
        made = row(name, "a", seed, Outcome.HEALED if healed else Outcome.NOT_HEALED)
        trials[name, seed] = replace(made, confidence=said, live=True, **changes)  # type: ignore[arg-type]
    return Side(name="a", arms={"a@lexical": trials})


def test_who_heals_as_often_as_said_may_deploy_when_sure() -> None:
    (found,) = trust(arm(honest=True), "stated", benefit=1, cost=5)
    assert 0.7 < found.threshold.confidence < 0.95
    assert found.threshold.break_even == pytest.approx(5 / 6)
    assert found.threshold.promised.gain.value > 0
    assert found.reliability.ece < 0.12
    assert (found.reliability.n, found.silent) == (400, 0)
    assert "deploy by itself from a confidence of" in text([found])


def test_who_is_sure_and_wrong_may_deploy_nothing() -> None:
    (found,) = trust(arm(honest=False), "stated", benefit=1, cost=50)
    assert "deploy none by itself" in text([found])
    assert found.brier.score > 0.3
    (told,) = json.loads(as_json([found]))
    assert told["threshold"]["confidence"] is None


def test_a_fix_that_was_taken_back_is_a_bad_one_though_the_next_healed() -> None:
    """The surest were wrong: to deploy from 0.6 on would have paid only if nobody counted them."""
    said = Stated(confidence=0.9)
    trials = {
        (f"s{seed}", 1): replace(row(f"s{seed}", "a", 1), confidence=0.6, live=True, attempts=2, undone=(said,))
        for seed in range(10)
    }
    (found,) = trust(Side(name="a", arms={"a@lexical": trials}), "stated", benefit=1, cost=5)
    assert [(part.confidence, part.healed.hits, part.healed.n) for part in found.reliability.bins] == [
        (pytest.approx(0.6), 10, 10),
        (pytest.approx(0.9), 0, 10),
    ]
    assert "a@lexical: 20 fixes went live with a confidence (stated)\n" in text([found])
    assert "deploy none by itself" in text([found])


def test_what_an_older_harness_did_not_keep_is_told() -> None:
    trials = {("pool", 1): replace(row("pool", "a", 1), confidence=0.6, live=True, attempts=2)}
    (found,) = trust(Side(name="a", arms={"a@lexical": trials}), "stated", benefit=1, cost=1)
    assert found.unknown == 1
    assert "of 1 trials with several attempts only the last fix is known" in text([found])
    assert "no other scenario has a claim: nothing is left to check it on" in text([found])


def test_all_that_was_live_but_the_last_was_taken_back() -> None:
    verdict = json.loads((tiny.ROOT / "tests" / "fixtures" / "journal-2" / "verdict.json").read_text())
    (live,) = verdict["attempts"]
    refused = live | {"deployment": None, "fix": None}
    bad = live | {"fix": live["fix"] | {"confidence": 0.8}, "retriever_confidence": 0.3, "combined_confidence": 0.5}
    assert undone([refused, live, refused]) == ()
    assert undone([bad, refused, live]) == (Stated(confidence=0.8, retriever_confidence=0.3, combined_confidence=0.5),)


def test_a_false_alarm_is_a_bad_fix_and_what_never_went_live_is_none() -> None:
    trials = {
        ("quiet", 1): replace(row("quiet", "a", 1, Outcome.FALSE_ALARM), confidence=0.9, live=True),
        ("quiet", 2): row("quiet", "a", 2, Outcome.LEFT_ALONE),
        ("pool", 1): replace(row("pool", "a", 1, Outcome.INVALID), confidence=0.1, live=True),
        ("pool", 2): replace(row("pool", "a", 2), confidence=0.9, live=True),
        ("pool", 3): replace(row("pool", "a", 3, Outcome.NOT_HEALED), confidence=0.9),  # refused unread
    }
    (found,) = trust(Side(name="a", arms={"a@lexical": trials}), "stated", benefit=1, cost=1)
    ((only),) = found.reliability.bins
    assert (only.healed.hits, only.healed.n, found.silent) == (1, 2, 2)


def test_other_confidences_are_looked_at_when_asked_for() -> None:
    (found,) = trust(arm(honest=True, combined_confidence=0.5), "combined", benefit=1, cost=1)
    assert {each.confidence for each in found.curve} == {0.5}
    with pytest.raises(InputError, match=r"no fix went live with a confidence \(retrieval\)"):
        trust(arm(honest=True), "retrieval", benefit=1, cost=1)


def test_by_the_command_line(tmp_path: Path) -> None:
    for each in arm(honest=True, n=60).arms["a@lexical"].values():
        append(tmp_path, each)
    done = CliRunner().invoke(command, [str(tmp_path), "--cost", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "a@lexical: 60 fixes went live with a confidence (stated)" in done.output
    assert "it pays where more than 67% heal" in done.output
    done = CliRunner().invoke(command, [str(tmp_path), "--json"], catch_exceptions=False)
    assert json.loads(done.output)[0]["reliability"]["n"] == 60
