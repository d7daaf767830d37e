"""Trials side by side: who runs where, what comes back, and how they end."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

import pytest

from harness.errors import MeasurementError
from harness.experiment.lanes import Lane, side_by_side


def test_no_two_trials_share_a_lane_and_all_lanes_are_used(tmp_path: Path) -> None:
    together = threading.Barrier(3)
    busy: set[Path] = set()

    def work(number: int, lane: Lane) -> tuple[int, Path]:
        assert lane.results not in busy
        busy.add(lane.results)
        together.wait(10)  # broken where fewer than three run at once
        busy.remove(lane.results)
        return number, lane.results

    made = [future.result() for _, future in side_by_side(deque(range(9)), tmp_path, 3, work)]
    assert sorted(number for number, _ in made) == list(range(9))
    assert {folder for _, folder in made} == {tmp_path / f"lane-{number}" for number in (1, 2, 3)}


def test_one_lane_is_the_folder_itself_and_trials_keep_their_order(tmp_path: Path) -> None:
    made = [future.result() for _, future in side_by_side(deque("abc"), tmp_path, 1, lambda one, lane: (one, lane))]
    assert [one for one, _ in made] == ["a", "b", "c"]
    assert {lane.results for _, lane in made} == {tmp_path}


def test_trials_that_are_added_meanwhile_are_run(tmp_path: Path) -> None:
    trials = deque([3])
    seen = []
    for trial, future in side_by_side(trials, tmp_path, 2, lambda number, _: number - 1):
        seen.append(trial)
        trials.extend([future.result()] if future.result() else [])
    assert seen == [3, 2, 1]


def test_a_trial_without_a_verdict_says_what_the_harness_said(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="no such file"):
        Lane(results=tmp_path).run(str(tmp_path / "nowhere.yml"))


def test_who_stops_listening_ends_what_runs(tmp_path: Path) -> None:
    """A whole trial takes a minute, and one that is interrupted does not."""
    scenario = Path(__file__).parents[2] / "scenarios" / "quiet_day.yml"

    def journals() -> list[Path]:
        return [*(tmp_path / "lane-2").glob("*quiet_day*/events.jsonl")]

    def work(number: int, lane: Lane) -> object:
        if number == 0:
            deadline = time.monotonic() + 60
            while not journals() or "TrialStarted" not in journals()[0].read_text():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            return None
        return lane.run(str(scenario), "--fixer", "noop", "--no-track")

    listening = side_by_side(deque([0, 1]), tmp_path, 2, work)
    ended, _ = next(listening)
    listening.close()
    (journal,) = journals()
    assert ended == 0
    assert "interrupted by the user" in journal.read_text()
