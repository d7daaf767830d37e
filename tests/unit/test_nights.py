"""Night after night against a baseline: when there is an alarm, and when there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.nightly import command
from harness.errors import InputError
from harness.experiment.manifest import begun
from harness.experiment.nights import nights_in, text, watched
from harness.experiment.results import append
from harness.experiment.sides import Side, Uncounted
from harness.model.experiment import Arm, Experiment
from harness.model.verdict import Outcome
from tests.e2e import tiny
from tests.lanes import Lanes
from tests.rows import SEEDS, Outcomes, half, healed, never, row, trials


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
    assert found.left_out == ("short (no measured trial of sql)",)
    assert [night.name for night in found.nights] == ["2026-11-01"]
    assert "Left out: short (no measured trial of sql)." in text([found])


def only_pool(scenario: str, _seed: int) -> Outcome:
    return Outcome.HEALED if scenario == "pool" else Outcome.NOT_HEALED


def invalid(_scenario: str, _seed: int) -> Outcome:
    return Outcome.INVALID


def test_a_scenario_that_the_baseline_has_not_is_no_drop() -> None:
    more = ["pool", "sql", "zzz, which nothing heals"]

    def as_before(scenario: str, _seed: int) -> Outcome:
        return Outcome.HEALED if scenario in ("pool", "sql") else Outcome.NOT_HEALED

    later = [replace(trials("a", as_before, more), name=name) for name in ("1", "2", "3")]
    (found,) = watched(trials("a", healed), later)
    assert [(night.right.hits, night.right.n) for night in found.nights] == [(40, 40)] * 3
    assert not found.alarm and found.watch[-1].evidence < 1
    assert found.last and found.last.not_met == ("zzz, which nothing heals",)


def test_a_busy_machine_at_one_scenario_is_no_drop() -> None:
    def busy(scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if scenario == "pool" and seed >= 4 else only_pool(scenario, seed)

    (found,) = watched(trials("a", only_pool), nights(*[busy] * 20))
    assert (found.baseline.hits, found.baseline.n) == (20, 40)
    assert [(night.right.hits, night.right.n) for night in found.nights] == [(4, 8)] * 20
    assert not found.alarm
    assert "| 2026-11-20 | 4 of 8" in text([found])


def test_a_night_without_a_measured_trial_of_one_scenario_is_left_out() -> None:
    def busy(scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if scenario == "pool" else only_pool(scenario, seed)

    (found,) = watched(trials("a", only_pool), nights(only_pool, busy, invalid, only_pool))
    assert [night.name for night in found.nights] == ["2026-11-01", "2026-11-04"]
    assert found.left_out == ("2026-11-02 (no measured trial of pool)", "2026-11-03 (no measured trial)")
    assert not found.alarm
    assert "Left out: 2026-11-02 (no measured trial of pool), 2026-11-03 (no measured trial)." in text([found])


def joined(*sides: Side) -> Side:
    """Trials of one arm, from several."""
    return Side(
        name="all", arms={"a@lexical": {key: row for side in sides for key, row in side.arms["a@lexical"].items()}}
    )


def test_of_each_scenario_as_many_trials_count_as_of_the_one_with_the_fewest() -> None:
    baseline = joined(trials("a", half, ["pool"], range(10)), trials("a", never, ["sql"], range(200)))
    night = joined(trials("a", half, ["pool"], range(100)), trials("a", never, ["sql"], range(5)))
    (found,) = watched(baseline, [night])
    assert (found.baseline.hits, found.baseline.n) == (5, 20)
    assert [(each.right.hits, each.right.n) for each in found.nights] == [(2, 10)], "seeds 0 to 4, of which two heal"


def test_which_trials_count_does_not_depend_on_their_order() -> None:
    turned = dict(reversed(trials("a", half, ["pool"]).arms["a@lexical"].items()))
    night = joined(Side(name="turned", arms={"a@lexical": turned}), trials("a", never, ["sql"], range(5)))
    (found,) = watched(trials("a", healed), [night])
    assert [(each.right.hits, each.right.n) for each in found.nights] == [(2, 10)]


def test_what_could_not_be_measured_in_the_baseline_is_not_watched() -> None:
    def busy(scenario: str, _seed: int) -> Outcome:
        return Outcome.INVALID if scenario == "pool" else Outcome.HEALED

    (found,) = watched(trials("a", busy), nights(only_pool, only_pool))
    assert (found.baseline.hits, found.baseline.n) == (20, 20)
    assert [(night.right.hits, night.right.n) for night in found.nights] == [(0, 20)] * 2
    assert "Not watched, for lack of a measured trial in the baseline: pool." in text([found])
    (nothing,) = watched(trials("a", invalid), nights(never, never))
    assert not nothing.alarm and nothing.not_watched == ("pool", "sql")


def test_arms_share_the_chance_of_a_false_alarm() -> None:
    def weak(scenario: str, seed: int) -> Outcome:
        """25 of 40."""
        return Outcome.HEALED if seed < (13 if scenario == "pool" else 12) else Outcome.NOT_HEALED

    def together(*outcomes: Outcomes) -> Side:
        made = [trials(arm, outcome) for arm, outcome in zip("abcd", outcomes, strict=False)]
        return Side(name="night", arms={arm: rows for each in made for arm, rows in each.arms.items()})

    (alone,) = watched(together(healed), [together(weak)])
    assert alone.alarm and alone.level == 0.05
    four = watched(together(*[healed] * 4), [together(weak, healed, healed, healed)])
    assert not any(each.alarm for each in four), "the evidence would do for one arm"
    assert {each.level for each in four} == {0.05 / 4}
    assert "at most 5% of all seasons, over all arms together" in text(four)
    assert "An alarm is a p of 0.013 or less." in text(four)
    four = watched(together(*[healed] * 4), [together(half, healed, healed, healed)])
    assert [each.alarm for each in four] == [True, False, False, False]


def test_a_night_without_the_arm_is_named() -> None:
    other = Side(name="other", arms=trials("b", never).arms)
    (found,) = watched(trials("a", healed), [other, *nights(healed)])
    assert found.left_out == ("other (no measured trial)",)
    assert len(found.nights) == 1 and not found.alarm


def season(folder: Path, **outcomes: Outcomes | None) -> Path:
    """A sweep for each night, by name, later than those that are there; None: no trial of it ended."""
    if not (folder / "base").exists():
        tiny.make(folder / "base")
    given = Experiment(name="mine", scenarios=("slow_export.yml",), arms=(Arm(fixer="a"),))
    for name, outcome in outcomes.items():
        ended = trials("a", outcome).arms["a@lexical"].values() if outcome else ()
        with begun(given, folder / "base", folder / "nights" / name) as place:
            for each in ended:
                append(place.folder, each)
    return folder / "nights"


def look(folder: Path, *more: str) -> Result:
    file = folder.parent / "base" / "experiment.yml"
    file.write_text("name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: a, retriever: none}]\n")
    return CliRunner().invoke(command, [str(file), "--results", str(folder), "--look", *more], catch_exceptions=False)


def test_a_night_in_which_no_trial_ended_is_left_out(tmp_path: Path) -> None:
    folder = season(tmp_path, good=healed, empty=None, bad=half)
    done = look(folder)
    assert done.exit_code == 1, done.output
    assert "| bad | 20 of 40" in done.stdout and "Left out: empty (no measured trial)." in done.stdout
    done = look(folder, "--baseline", str(folder / "good"))
    assert done.exit_code == 1 and "Left out: empty (no measured trial)." in done.stdout


@pytest.mark.parametrize("first", [None, invalid])
def test_a_first_night_without_a_measured_trial_is_no_baseline(tmp_path: Path, first: Outcomes | None) -> None:
    folder = season(tmp_path, empty=first, good=healed)
    done = look(folder)
    assert done.exit_code == 0
    assert f"{folder / 'good'} is the baseline from now on." in done.stdout
    assert "No night counts yet. Left out: empty (no measured trial)." in done.stdout
    season(tmp_path, bad=never)
    baseline, later = nights_in(folder)
    assert baseline == folder / "good" and [night.name for night in later] == ["empty", "bad"]
    done = look(folder)
    assert done.exit_code == 1
    assert "| bad | 0 of 40" in done.stdout and "Left out: empty (no measured trial)." in done.stdout


def test_nights_of_which_none_has_a_measured_trial_are_told(tmp_path: Path) -> None:
    folder = season(tmp_path, one=None, two=None)
    with pytest.raises(InputError, match=r"no night in .*nights has a trial that could be measured"):
        look(folder)
    with pytest.raises(InputError, match=r"the baseline .*one has no trial that could be measured"):
        look(folder, "--baseline", str(folder / "one"))


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
