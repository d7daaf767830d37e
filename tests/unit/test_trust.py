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
from harness.experiment.results import append
from harness.experiment.sides import Side
from harness.experiment.trust import as_json, text, trust
from harness.model.verdict import Outcome
from tests.rows import row


def arm(honest: bool, n: int = 400, **changes: object) -> Side:
    """Heals as often as it says, or says the opposite."""
    drawn = random.Random(7)
    trials = {}
    for seed in range(n):
        said = drawn.random()
        healed = (drawn.random() < said) is honest
        made = row("pool", "a", seed, Outcome.HEALED if healed else Outcome.NOT_HEALED)
        trials["pool", seed] = replace(made, confidence=said, live=True, **changes)  # type: ignore[arg-type]
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
