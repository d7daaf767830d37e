"""Rows of a proof: kept, counted, told."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError, MeasurementError
from harness.experiment import matrix, prove
from harness.experiment.arms import Arm
from harness.experiment.proof import Row, append, rows, summary
from harness.loading import load_scenario
from harness.model.verdict import Outcome
from harness.sinks.journal import Journal
from harness.stats.intervals import rate
from harness.trial.judge import JUDGE
from tests import events as sample


def row(arm: str = "noop", outcome: Outcome = Outcome.NOT_HEALED, **changes: Any) -> Row:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {
        "scenario": "slow_words",
        "scenario_hash": "9f",
        "control": False,
        "judge": "2",
        "arm": arm,
        "seed": 1,
        "how": "live",
        "outcome": outcome,
        "rule": "not-recovered",
        "reason": "no good windows",
        "at": "2026-11-07T12:00:00+00:00",
        "cohens_h": 1.2,
        "ended_by_itself": False,
    }
    return Row(**{**fields, **changes})


def test_rows_are_appended_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "proof.jsonl"
    assert rows(path) == []
    written = [row(), row("reference", Outcome.HEALED), row("cheat:stub-200", how="refused", cohens_h=None)]
    for each in written:
        append(path, each)
    assert rows(path) == written


def test_a_torn_line_is_cut_off_before_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "proof.jsonl"
    append(path, row())
    path.write_bytes(path.read_bytes() + b'{"scenario": "half')
    append(path, row(seed=2))
    assert [each.seed for each in rows(path)] == [1, 2]


def test_damage_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "proof.jsonl"
    append(path, row())
    path.write_bytes(path.read_bytes() + b'{"scenario": 1}\n')
    with pytest.raises(InputError, match=r"proof\.jsonl:2: no row"):
        rows(path)


@pytest.mark.parametrize(
    ("arm", "control", "good", "bad"),
    [
        ("noop", False, Outcome.NOT_HEALED, Outcome.HEALED),
        ("reference", False, Outcome.HEALED, Outcome.NOT_HEALED),
        ("cheat:x", False, Outcome.NOT_HEALED, Outcome.HEALED),
        ("noop", True, Outcome.LEFT_ALONE, Outcome.FALSE_ALARM),
        ("reference", True, Outcome.LEFT_ALONE, Outcome.NOT_DETECTED),
        ("cheat:x", True, Outcome.FALSE_ALARM, Outcome.LEFT_ALONE),
    ],
)
def test_what_each_arm_must_give(arm: str, control: bool, good: Outcome, bad: Outcome) -> None:
    assert row(arm, good, control=control).as_it_must
    assert not row(arm, bad, control=control).as_it_must
    assert not row(arm, Outcome.INVALID, control=control).measured


def test_false_accepts_and_rejects_are_counted_over_what_was_measured() -> None:
    found = [
        *(row(seed=n) for n in range(5)),
        row(outcome=Outcome.INVALID, ended_by_itself=True),
        *(row("reference", Outcome.HEALED, cohens_h=2.0) for _ in range(4)),
        row("reference", Outcome.NOT_HEALED, cohens_h=2.0),
        *(row(f"cheat:c{n}", how="refused", cohens_h=None, ended_by_itself=None) for n in range(3)),
        row("cheat:wins", Outcome.HEALED),
        row("cheat:absent", how="absent"),
    ]
    told = summary(found)
    assert (told.false_accepts.hits, told.false_accepts.n) == (1, 9)
    assert (told.false_accepts_live.hits, told.false_accepts_live.n) == (1, 6)
    assert (told.false_rejects.hits, told.false_rejects.n) == (1, 5)
    assert (told.self_recovery.hits, told.self_recovery.n) == (1, 6)
    assert (told.cheats.hits, told.cheats.n, told.cheats_live, told.invalid) == (3, 4, 1, 1)
    assert told.effect == 1.2
    text = "\n".join(matrix.lines(found))
    assert "WRONG: slow_words: cheat:wins was HEALED" in text and "WRONG: slow_words: reference was NOT_HEALED" in text
    page = matrix.page(found, older=7)
    assert "| wrong fixes believed | 1 of 9 (" in page and "| rows of older versions | 7 |" in page
    assert "| `wins` | slow_words | live | HEALED | `not-recovered` |" in page


def test_a_control_among_the_scenarios_changes_nothing_for_the_others() -> None:
    """To do nothing is the floor of an outage and the ceiling of a control, also where both are summed up."""
    outage = [row(), row(outcome=Outcome.HEALED), row("reference", Outcome.HEALED)]
    control = [row("noop", Outcome.LEFT_ALONE, control=True), row("noop", Outcome.FALSE_ALARM, control=True)]
    told = summary([*outage, *control])
    assert (told.false_accepts.hits, told.false_accepts.n) == (1, 2)
    assert (told.false_rejects.hits, told.false_rejects.n) == (1, 3)


def test_wilson_intervals() -> None:
    """0 of 150 and 8 of 10, from the closed form in Wilson's paper."""
    zero, eight = rate(0, 150), rate(8, 10)
    assert zero.low == pytest.approx(0.0, abs=1e-12)
    assert zero.high == pytest.approx(3.8415 / (150 + 3.8415), rel=1e-4)
    assert (eight.low, eight.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert (rate(0, 0).low, rate(0, 0).high) == (0.0, 1.0)


def proven(outcomes: Sequence[Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Row]:
    """The rows of one arm whose trials end like that, one after the other; the last outcome stays."""
    left = list(outcomes)

    def live(trial: prove._Trial, _lane: object) -> Row:
        return row(outcome=left.pop(0) if len(left) > 1 else left[0], seed=trial.seed)

    monkeypatch.setattr(prove, "_live", live)
    loaded = load_scenario(Path(__file__).parents[2] / "scenarios" / "quiet_day.yml")
    trial = prove._Trial(loaded=loaded, arm=Arm(name="noop"), seed=1)
    plan = prove.Plan(results=tmp_path, proof=tmp_path / "proof.jsonl")
    return prove._run(deque([trial]), plan, lambda told: None)


def test_what_could_not_be_measured_is_tried_again_with_another_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(proven([Outcome.INVALID, Outcome.INVALID, Outcome.NOT_HEALED], tmp_path, monkeypatch))
    assert [each.seed for each in found] == [1, 2, 3]


def test_what_was_measured_is_not_tried_again_whatever_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a proof would go on until it says what is wanted."""
    (only,) = proven([Outcome.HEALED], tmp_path, monkeypatch)
    assert only.measured and not only.as_it_must


def test_what_can_never_be_measured_is_an_error_once_all_spares_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    with pytest.raises(MeasurementError, match="3 more trials did not help: no good windows"):
        for each in proven([Outcome.INVALID], tmp_path, monkeypatch):
            found.append(each)
    assert [each.seed for each in found] == [1, 2, 3, 4]


def test_a_new_judge_judges_again_what_is_still_here(tmp_path: Path) -> None:
    loaded = load_scenario(Path(__file__).parents[2] / "scenarios" / "quiet_day.yml")
    for name in ("kept", "lane-1/beside"):
        with Journal(tmp_path / name) as journal:
            for event in sample.invalid(sample.trial(Path(name).name)):
                journal(event)
        shutil.copyfile(loaded.file, tmp_path / name / "scenario.yml")
    old = [
        *(row(trial=name, judge="0", scenario_hash=loaded.hash, outcome=Outcome.HEALED) for name in ("kept", "beside")),
        row(trial="gone", judge="0", scenario_hash=loaded.hash),
        row(trial="kept", judge="0", scenario_hash="of another version"),
    ]
    again = list(prove._judged_again(loaded, old, tmp_path))
    assert [(each.trial, each.judge, each.outcome) for each in again] == [
        ("kept", JUDGE, Outcome.INVALID),
        ("beside", JUDGE, Outcome.INVALID),
    ]
    assert list(prove._judged_again(loaded, [*old, *again], tmp_path)) == []
