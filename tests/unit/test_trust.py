"""Confidence against outcome, and the threshold from which on fixes may go live."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.calibration import command
from harness.errors import InputError
from harness.experiment.results import TrialRow, append, row_of, rows
from harness.experiment.sides import Side
from harness.experiment.trust import as_json, text, trust
from harness.model.confidence import HowSure
from harness.model.verdict import Outcome
from harness.reporting.trusted import may_deploy, scores
from harness.sinks.journal import verdict_json
from tests import events as sample
from tests.rows import row


def arm(honest: bool, n: int = 400, **changes: object) -> Side:
    """Heals as often as it says, or says the opposite; twenty scenarios."""
    drawn = random.Random(7)
    trials = {}
    for seed in range(n):
        said = drawn.random()
        healed = (drawn.random() < said) is honest
        made = row(f"s{seed % 20}", "a", seed, Outcome.HEALED if healed else Outcome.NOT_HEALED)
        trials[made.scenario, seed] = replace(made, confidence=said, live=True, **changes)  # type: ignore[arg-type]
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


def tried_twice(outcome: Outcome, seed: int, first: float | None = 0.9, scenario: str = "pool") -> TrialRow:
    """A fix went live and failed, was rolled back, and another went live at 0.6."""
    live = tuple(HowSure(confidence=sure, combined_confidence=0.5) for sure in (first, 0.6))
    return replace(row(scenario, "a", seed, outcome), attempts=2, live=True, confidence=0.6, live_fixes=live)


def of(trials: Sequence[TrialRow]) -> Side:
    return Side(name="a", arms={"a@lexical": {(each.scenario, each.seed): each for each in trials}})


def test_a_fix_that_failed_live_before_another_healed_is_counted() -> None:
    tried = [tried_twice(Outcome.HEALED, seed) for seed in range(10)]
    (found,) = trust(of(tried), "stated", benefit=1, cost=5)
    assert [(each.confidence, each.healed.hits, each.healed.n) for each in found.reliability.bins] == [
        (pytest.approx(0.6), 10, 10),
        (pytest.approx(0.9), 0, 10),
    ]
    assert [(point.confidence, point.risk) for point in found.curve] == [(0.9, 1.0), (0.6, 0.5)]
    assert (found.silent, found.lacking) == (0, 0)
    assert "20 fixes went live with a confidence (stated)\n" in text([found])
    assert "deploy none by itself: on 20 fixes of 1 scenario no threshold paid" in text([found])


def test_none_of_the_live_fixes_healed_where_the_trial_did_not() -> None:
    (found,) = trust(of([tried_twice(Outcome.NOT_HEALED, 1)]), "combined", benefit=1, cost=5)
    ((only),) = found.reliability.bins
    assert (only.healed.hits, only.healed.n) == (0, 2)


def test_a_fix_without_a_confidence_is_none_and_the_other_of_its_trial_is_one() -> None:
    tried = [tried_twice(Outcome.HEALED, 1, first=None), replace(tried_twice(Outcome.HEALED, 2), live_fixes=())]
    (found,) = trust(of(tried), "stated", benefit=1, cost=5)
    assert (found.reliability.n, found.silent) == (1, 1)


def test_the_live_fixes_of_a_verdict_are_in_its_row_and_its_file(tmp_path: Path) -> None:
    attempts = (
        sample.attempt(1, "not_recovered", sample.wrong_fix(), sample.WEAK, 10),
        sample.attempt(2, "refused", sample.good_fix(), "", 20),
        sample.attempt(3, "recovered", sample.good_fix(), sample.CURE, 30),
    )
    tried = tuple(replace(each, combined_confidence=0.5) for each in attempts)
    verdict = json.loads(verdict_json(sample.verdict(Outcome.HEALED, attempts=tried)))
    made = row_of(verdict, cell=None, fault_class="database", control=False, wall_s=60)
    assert made.live_fixes == tuple(HowSure(confidence=sure, combined_confidence=0.5) for sure in (0.4, 0.86))
    append(tmp_path, made)
    assert rows(tmp_path) == [made]


def test_how_many_trials_of_an_older_harness_lack_their_earlier_fixes_is_told() -> None:
    older = [replace(tried_twice(Outcome.HEALED, seed), live_fixes=None, version=1) for seed in range(3)]
    once = replace(row("pool", "a", 3), live=True, confidence=0.6, version=1)
    (found,) = trust(of([*older, once]), "stated", benefit=1, cost=5)
    assert (found.reliability.n, found.lacking) == (4, 3)
    assert "of 3 trials with several attempts an older harness kept the last fix alone" in text([found])
    assert "of 3 trials with several attempts" in may_deploy([found])._repr_html_()
    (found,) = trust(of([once]), "stated", benefit=1, cost=5)
    assert "older harness" not in text([found])


def test_where_there_is_one_scenario_nothing_is_checked_and_that_is_said() -> None:
    sure = [replace(row("pool", "a", seed), live=True, confidence=0.9) for seed in range(40)]
    (found,) = trust(of(sure), "stated", benefit=1, cost=5)
    told = text([found])
    assert "chosen on 40 fixes of 1 scenario  40 of 40 (91.2-100.0 %) healed: +1.00 a fix (-5.00 to 1.00)" in told
    assert "not checked: there is one scenario" in told and "checked on" not in told and "nan" not in told
    assert "not checked: there is one scenario" in may_deploy([found])._repr_html_()
    assert scores([found]).rows[0][-2:] == ("1", "none: not checked")
    assert json.loads(as_json([found]))[0]["threshold"]["kept"]["gain"]["value"] is None


def test_what_holds_in_the_scenarios_that_it_was_chosen_on_alone_is_not_confirmed() -> None:
    """Confidence tells scenarios apart, and nothing else: the surest always heals, the next never, and so on."""
    sure = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}
    trials = [
        replace(row(name, "a", seed, outcome), live=True, confidence=sure[name])
        for name, outcome in zip(sure, [Outcome.HEALED, Outcome.NOT_HEALED] * 2, strict=True)
        for seed in range(20)
    ]
    (found,) = trust(of(trials), "stated", benefit=1, cost=1)
    assert (found.threshold.promised.scenarios, found.threshold.kept.scenarios) == (2, 2)
    assert found.threshold.promised.gain.value > 0 >= found.threshold.kept.gain.low
    assert "chosen on 40 fixes of 2 scenarios" in text([found])
    assert "checked on 40 fixes of 2 scenarios" in text([found])
    assert "the check does not show that it pays" in text([found])


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
