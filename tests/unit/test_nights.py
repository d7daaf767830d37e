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
from harness.stats.sequential import ALARM
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
    assert "Left out, for lack of measured trials: short." in text([found])


def pool_only(outcome: Outcome) -> Outcomes:
    """Pool heals or is as given; sql never heals."""
    return lambda scenario, _seed: outcome if scenario == "pool" else Outcome.NOT_HEALED


def test_a_scenario_that_the_baseline_has_not_met_counts_for_nothing() -> None:
    wider = [Side(name=each.name, arms=each.arms) for each in nights(*[pool_only(Outcome.HEALED)] * 5)]
    (found,) = watched(trials("a", healed, ["pool"]), wider)
    assert [(night.right.hits, night.right.n) for night in found.nights] == [(20, 20)] * 5
    assert not found.alarm


def test_a_night_that_could_not_measure_a_scenario_is_left_out() -> None:
    """Its rate would be that of the others."""
    void = nights(*[pool_only(Outcome.INVALID)] * 5)
    (found,) = watched(trials("a", pool_only(Outcome.HEALED)), void)
    assert (found.nights, len(found.left_out), found.alarm) == ((), 5, False)


def test_scenarios_count_alike_however_many_trials_were_lost() -> None:
    def busy(scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if scenario == "pool" and seed >= 4 else pool_only(Outcome.HEALED)(scenario, seed)

    (found,) = watched(trials("a", pool_only(Outcome.HEALED)), nights(*[busy] * 8))
    assert (found.baseline.hits, found.baseline.n) == (20, 40)
    assert [(night.right.hits, night.right.n) for night in found.nights] == [(4, 8)] * 8
    assert not found.alarm


def test_all_arms_together_cry_wolf_in_one_season_of_twenty() -> None:
    def arms(outcome: Outcomes, name: str = "night") -> Side:
        return Side(name=name, arms={f"{arm}@lexical": trials("a", outcome).arms["a@lexical"] for arm in "abcd"})

    found = watched(arms(healed), [arms(half)])
    assert [each.alarm_at for each in found] == [ALARM / 4] * 4
    alone = watched(trials("a", healed), nights(half))[0]
    assert all(each.watch[0].p != alone.watch[0].p for each in found)


def test_what_the_baseline_could_not_measure_is_told() -> None:
    (found,) = watched(
        trials("a", lambda name, _: Outcome.INVALID if name == "sql" else Outcome.HEALED), nights(healed)
    )
    assert (found.baseline.n, found.unwatched) == (20, ("sql",))
    assert "Not watched, for lack of them in the baseline: sql." in text([found])


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


def test_a_night_without_a_trial_is_left_out_and_no_baseline(tmp_path: Path, lanes: Lanes) -> None:
    """As where the key was missing: the folder is there, and nothing ran."""
    tiny.make(tmp_path)
    file, results = tmp_path / "experiment.yml", tmp_path / "nights"
    file.write_text("name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: noop, retriever: none}]\nrepeats: 1\n")
    words = [str(file), "--results", str(results)]
    for name in ("a", "b", "c", "d"):
        CliRunner().invoke(command, words, catch_exceptions=False)
        (newest,) = [path for path in results.iterdir() if len(path.name) > 1]
        newest.rename(results / name)
    for name in ("a", "c"):
        (results / name / "trials.jsonl").unlink()
        for trial in results.glob(f"{name}/*/verdict.json"):
            trial.unlink()
    done = CliRunner().invoke(command, [*words, "--look"], catch_exceptions=False)
    assert "| d |" in done.stdout and "| b |" not in done.stdout
    assert "Left out, for lack of measured trials: c." in done.stdout
    for name in ("b", "d"):
        (results / name / "trials.jsonl").unlink()
        for trial in results.glob(f"{name}/*/verdict.json"):
            trial.unlink()
    with pytest.raises(InputError, match="has no nights"):
        CliRunner().invoke(command, [*words, "--look"], catch_exceptions=False)


def test_nothing_to_look_at_is_told(tmp_path: Path) -> None:
    tiny.make(tmp_path)
    file = tmp_path / "experiment.yml"
    file.write_text("name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: noop, retriever: none}]\n")
    with pytest.raises(InputError, match="has no nights"):
        CliRunner().invoke(command, [str(file), "--results", str(tmp_path), "--look"], catch_exceptions=False)
