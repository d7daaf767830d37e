"""Night after night against a baseline: when there is an alarm, and when there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.nightly import command
from harness.errors import InputError
from harness.experiment.nights import text, watched
from harness.experiment.sides import Side, Uncounted
from harness.model.verdict import Outcome
from tests.e2e import tiny
from tests.lanes import Lanes
from tests.rows import SEEDS, Outcomes, half, healed, row, trials


def nights(*outcomes: Outcomes) -> list[Side]:
    made = [trials("a", outcome) for outcome in outcomes]
    return [Side(name=f"2026-11-{number:02}", arms=each.arms) for number, each in enumerate(made, start=1)]


def test_nights_that_are_as_good_are_no_alarm() -> None:
    (found,) = watched(trials("a", healed), nights(*[healed] * 20))
    assert not found.alarm
    assert found.watch[-1].evidence < 1
    assert "No drop is shown" in text([found])
    assert found.last and found.last.right.decision == "undecided"


def test_a_drop_is_an_alarm_and_stays_one() -> None:
    (found,) = watched(trials("a", healed), nights(healed, healed, half, half, healed))
    assert [each.alarm for each in found.watch] == [False, False, True, True, True]
    assert found.alarm
    assert "| 2026-11-03 | 20 of 40" in text([found])
    assert text([found]).count("**worse**") == 3


def test_invalid_trials_are_no_failures() -> None:
    def busy(_scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if seed % 2 else Outcome.HEALED

    (found,) = watched(trials("a", healed), nights(busy, busy, busy))
    assert [(night.right.hits, night.right.n) for night in found.nights] == [(20, 20)] * 3
    assert not found.alarm


def test_what_was_invalid_and_run_again_is_told_of_the_last_night() -> None:
    lost = {"a@lexical": Uncounted(again=(row("pool", "a", 1, Outcome.INVALID),))}
    (night,) = nights(healed)
    for baseline, last, told in ((lost, {}, (0, 1)), ({}, lost, (1, 0))):
        (found,) = watched(replace(trials("a", healed), uncounted=baseline), [replace(night, uncounted=last)])
        assert found.last and found.last.invalid_again == told


def test_a_night_that_lacks_a_scenario_is_left_out() -> None:
    short = Side(name="short", arms=trials("a", half, ["pool"]).arms)
    (found,) = watched(trials("a", healed), [short, *nights(healed)])
    assert found.left_out == ("short",)
    assert [night.name for night in found.nights] == ["2026-11-01"]
    assert "Left out, for lack of scenarios: short." in text([found])


def test_no_night_of_any_arm_is_told() -> None:
    with pytest.raises(InputError, match="no night has an arm of the baseline"):
        watched(trials("a", healed), [trials("b", healed)])


def test_by_the_command_line(tmp_path: Path, lanes: Lanes) -> None:
    tiny.make(tmp_path)
    file = tmp_path / "experiment.yml"
    file.write_text(
        f"name: mine\nscenarios: [slow_export.yml]\narms: [{{fixer: noop, retriever: none}}]\nrepeats: {len(SEEDS)}\n"
    )
    results = tmp_path / "nights"
    words = [str(file), "--results", str(results)]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0 and "is the baseline from now on" in done.output
    (first,) = results.iterdir()
    first.rename(results / "2026-11-01")
    lanes.fate = lambda _: Outcome.NOT_HEALED
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 1, done.output
    assert "**It has become worse**" in done.stdout and "against the baseline" in done.stdout
    assert "trials to run" not in done.stdout
    assert len(lanes.ran) == 2 * len(SEEDS)
    looked = CliRunner().invoke(command, [*words, "--look"], catch_exceptions=False)
    assert looked.stdout == done.stdout and len(lanes.ran) == 2 * len(SEEDS)


def told(page: str) -> list[str]:
    """The names of the nights in the table."""
    return [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if re.match(r"\| [abc] \|", line)]


def test_the_baseline_and_what_was_before_it_are_no_nights(tmp_path: Path, lanes: Lanes) -> None:
    tiny.make(tmp_path)
    file, results = tmp_path / "experiment.yml", tmp_path / "nights"
    file.write_text("name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: noop, retriever: none}]\nrepeats: 1\n")
    words = [str(file), "--results", str(results)]
    for name in ("c", "b", "a"):  # the order of names is not that of time
        CliRunner().invoke(command, words, catch_exceptions=False)
        (newest,) = [path for path in results.iterdir() if len(path.name) > 1]
        newest.rename(results / name)
    done = CliRunner().invoke(command, [*words, "--look", "--baseline", str(results / "b")], catch_exceptions=False)
    assert told(done.stdout) == ["a"]
    done = CliRunner().invoke(command, [*words, "--look"], catch_exceptions=False)
    assert told(done.stdout) == ["b", "a"]
    done = CliRunner().invoke(command, [*words, "--look", "--baseline", str(results / "a")], catch_exceptions=False)
    assert "is the baseline from now on" in done.stdout


def test_nothing_to_look_at_is_told(tmp_path: Path) -> None:
    tiny.make(tmp_path)
    file = tmp_path / "experiment.yml"
    file.write_text("name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: noop, retriever: none}]\n")
    with pytest.raises(InputError, match="has no nights"):
        CliRunner().invoke(command, [str(file), "--results", str(tmp_path), "--look"], catch_exceptions=False)
