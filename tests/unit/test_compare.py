"""Comparisons: what is paired, what is refused, what is decided, and how it is told."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from click.testing import CliRunner

from harness.cli.compare import command
from harness.errors import InputError
from harness.experiment import compared
from harness.experiment.compare import Measure, Report, report
from harness.experiment.results import TrialRow, append, row_of, rows
from harness.experiment.sides import Side, rows_of, side, versus
from harness.model.verdict import Outcome
from harness.reporting.recovery import recovery
from harness.reporting.versus import against
from harness.sinks.journal import verdict_json
from tests import events as sample
from tests.e2e import tiny
from tests.rows import SEEDS, Outcomes, half, healed, never, row, trials


def compare(first: Side, second: Side) -> Report:
    (found,) = versus(first, second)
    return report(found)


def measure(told: Report, name: str) -> Measure:
    return {each.name: each for each in told.others}[name]


# --- what is decided ---


def test_the_same_trials_are_no_better() -> None:
    told = compare(trials("a", half), trials("b", half))
    assert (told.right.decision, told.right.difference.value, told.pairs, told.left_out) == ("undecided", 0.0, 40, 0)
    assert not told.regressed
    assert {each.decision for each in (*told.others, *told.by_scenario)} == {"undecided"}
    assert told.rule_changes == ()


@pytest.mark.parametrize(
    ("first", "second", "decision", "regressed"),
    [(healed, half, "better", False), (half, healed, "worse", True), (never, healed, "worse", True)],
)
def test_who_heals_more_often_is_better(first: Outcomes, second: Outcomes, decision: str, regressed: bool) -> None:
    told = compare(trials("a", first), trials("b", second))
    assert (told.right.decision, told.regressed) == (decision, regressed)
    assert [each.decision for each in told.by_scenario] == [decision] * 2
    assert measure(told, "recover_s").decision == decision
    assert (told.at_worst, told.at_best) == (decision, decision)


def test_slower_is_worse_though_as_many_heal() -> None:
    slow = trials("a", healed)
    late = {key: replace(each, recover_s=(each.recover_s or 0) + 5) for key, each in slow.arms["a@lexical"].items()}
    told = compare(Side(name="a", arms={"a@lexical": late}), trials("b", healed))
    assert told.right.decision == "undecided"
    found = measure(told, "recover_s")
    assert (found.decision, found.difference.value, told.regressed) == (
        "undecided",
        5.0,
        False,
    )  # no spread: no interval
    late = {key: replace(each, recover_s=(each.recover_s or 0) + key[1] % 4) for key, each in late.items()}
    told = compare(Side(name="a", arms={"a@lexical": late}), trials("b", healed))
    assert measure(told, "recover_s").decision == "worse"
    assert told.regressed


def test_what_never_recovered_counts_with_the_time_it_was_watched() -> None:
    told = compare(trials("a", never), trials("b", half))
    found = measure(told, "recover_s")
    assert found.first == 45.0
    assert found.second == pytest.approx((45 + sum(10 + seed % 3 for seed in SEEDS if seed % 2) / 10) / 2)


def test_how_long_an_invalid_trial_was_watched_bounds_nothing() -> None:
    first = trials("a", half).arms["a@lexical"]
    cut_short = replace(first["pool", 0], outcome=Outcome.INVALID, recover_s=None, censored_s=1.0)
    told = compare(Side(name="a", arms={"a@lexical": {**first, ("pool", 0): cut_short}}), trials("b", half))
    assert measure(told, "recover_s").first > 20


def test_whether_they_recover_alike_at_every_time() -> None:
    assert compare(trials("a", half), trials("b", half)).curves.p == pytest.approx(1)
    told = compare(trials("a", healed), trials("b", half))
    assert told.curves.p < 0.01 and told.curves.healed == 40 > told.curves.expected
    assert "Do both recover alike at every time" in compared.text([told])
    assert math.isnan(compare(trials("a", never), trials("b", never)).curves.p)


def test_a_false_recovery_is_not_faster_than_none() -> None:
    """A fix that looked like one ends the watch early: that must not pass for having been lost sight of."""
    never_ = trials("b", never).arms["b@lexical"]
    found_out = {key: replace(row, rule="no-relapse", censored_s=21.0) for key, row in never_.items()}
    mixed = {key: found_out[key] if key[1] % 2 else row for key, row in trials("a", healed).arms["a@lexical"].items()}
    told = compare(Side(name="a", arms={"a@lexical": mixed}), trials("b", half))
    assert measure(told, "recover_s").difference.value == pytest.approx(0.0, abs=1.0)
    assert told.curves.p > 0.5
    told = compare(Side(name="a", arms={"a@lexical": mixed}), trials("b", never))
    assert measure(told, "recover_s").decision == "better"
    assert measure(told, "recover_s").second == 45.0


def test_what_never_recovered_counts_alike_in_all_tables_that_stand_together() -> None:
    """Of three arms, one was watched for longer: the mean of an arm, and its difference, rest on the same time."""
    long = {key: replace(row, censored_s=60.0) for key, row in trials("c", never).arms["c@lexical"].items()}
    arms = {**trials("a", never).arms, **trials("b", healed).arms, "c@lexical": long}
    (told, _) = against(Side(name="s", arms=arms), "a@lexical")
    found = measure(told, "recover_s")
    assert (told.name, found.second) == ("b@lexical against a@lexical", 60.0)
    assert recovery(Side(name="s", arms=arms), arms["a@lexical"]) == "60.0 s, of at most 60"


def test_a_single_lone_pair_does_not_change_the_question() -> None:
    first, second = (trials(name, half).arms[f"{name}@lexical"] for name in "ab")
    lone = {key: row for key, row in first.items() if key[0] != "pool" or key[1] == 1}
    told = compare(Side(name="a", arms={"a@lexical": lone}), Side(name="b", arms={"b@lexical": second}))
    assert measure(told, "recover_s").method == "t of trials"


def test_a_control_has_no_recovery() -> None:
    def alone(_scenario: str, seed: int) -> Outcome:
        return Outcome.LEFT_ALONE if seed % 2 else Outcome.FALSE_ALARM

    told = compare(trials("a", alone, ["quiet"]), trials("b", alone, ["quiet"]))
    assert told.right.first == 0.5
    assert "recover_s" not in {each.name for each in told.others}


def test_invalid_trials_count_for_nobody_and_are_bounded() -> None:
    def mostly(_scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if seed < 8 else Outcome.HEALED

    told = compare(trials("a", mostly), trials("b", half))
    assert told.right.decision == "better"
    assert told.right.n == 24
    assert told.invalid == (16, 0)
    assert (told.at_worst, told.at_best) == ("undecided", "better")


def test_invalid_trials_are_bounded_where_nothing_is_paired_too() -> None:
    def mostly(_scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if seed < 8 else Outcome.HEALED

    told = compare(trials("a", mostly), trials("b", half, seeds=range(100, 120)))
    assert (told.right.decision, told.at_worst, told.at_best) == ("better", "undecided", "better")


def test_a_scenario_that_only_one_met_is_told() -> None:
    told = compare(trials("a", healed), trials("b", half, ["pool", "quiet"]))
    assert told.not_met == ("quiet", "sql")
    assert {each.scenario for each in told.by_scenario} == {"pool"}
    assert "only one of the two met them: quiet, sql" in " ".join(compared.text([told]).split())


def test_without_a_seed_in_common_they_are_compared_as_they_are() -> None:
    told = compare(trials("a", healed), trials("b", half, seeds=range(100, 120)))
    assert (told.pairs, told.left_out, told.right.method) == (0, 80, "not paired, Newcombe")
    assert told.right.decision == "better"
    assert told.others == ()


def test_a_difference_of_less_than_is_shown_of_seconds_is_shown_all_the_same() -> None:
    """Else there stands: worse, by 0.0 s (0.0 to 0.0)."""
    first = {
        key: replace(row, fixer_s=0.001 + 0.0001 * (key[1] % 3))
        for key, row in trials("a", half).arms["a@lexical"].items()
    }
    told = measure(compare(Side(name="a", arms={"a@lexical": first}), trials("b", half)), "fixer_s")
    assert (told.decision, compared.difference_of(told)) == ("worse", "+0.0011 s (0.0011 to 0.0011)")
    assert compared.difference_of(replace(told, difference=replace(told.difference, low=-0.4))).endswith(
        "(-0.4 to 0.0)"
    )


def test_what_has_no_partner_is_left_out_and_told() -> None:
    told = compare(trials("a", healed), trials("b", half, seeds=range(15, 25)))
    assert (told.pairs, told.left_out) == (10, 2 * (15 + 5))
    assert told.right.n == 10


def test_how_many_more_pairs_would_decide() -> None:
    told = compare(trials("a", half), trials("b", half))
    assert told.more
    assert told.more.so_far == 40 and told.more.if_worth > 0
    assert "to show a difference of 10 points would take about" in " ".join(compared.text([told]).split())
    (found,) = versus(trials("a", half), trials("b", half))
    later = report(found, worth=0.05).more
    assert later and later.if_worth > told.more.if_worth
    decided = compare(trials("a", healed), trials("b", half))
    assert decided.more and decided.more.if_worth == 0
    assert "would take" not in compared.text([decided])
    assert compare(trials("a", healed), trials("b", half, seeds=range(100, 120))).more is None


def test_rules_that_decided_more_or_less_often_are_told() -> None:
    told = compare(trials("a", half), trials("b", healed))
    assert told.rule_changes == (("not-recovered", 20, 0), ("recovered", 20, 40))


# --- what is refused ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"judge": "4"}, "judged by the judges 4 and 5"), ({"scenario_hash": "other"}, "other versions of pool")],
)
def test_what_cannot_be_compared_is_refused(changes: dict[str, str], said: str) -> None:
    first, second = trials("a", healed, ["pool"]), trials("b", healed, ["pool"])
    changed = {key: replace(each, **changes) for key, each in first.arms["a@lexical"].items()}  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        versus(Side(name="a", arms={"a@lexical": changed}), second)


def test_no_scenario_in_common_is_refused() -> None:
    with pytest.raises(InputError, match="no scenario in common"):
        versus(trials("a", healed, ["pool"]), trials("b", healed, ["sql"]))


def test_no_arm_in_common_is_refused() -> None:
    both = Side(name="x", arms={**trials("a", healed).arms, **trials("b", healed).arms})
    with pytest.raises(InputError, match="no arm in common") as raised:
        versus(both, trials("c", healed))
    assert "a@lexical, b@lexical, c@lexical" in raised.value.cure


def test_two_sweeps_are_compared_arm_by_arm() -> None:
    tonight = Side(name="x", arms={**trials("a", healed).arms, **trials("b", half).arms})
    before = Side(name="y", arms={**trials("b", healed).arms, **trials("a", healed).arms})
    assert [(each.name, report(each).regressed) for each in versus(tonight, before)] == [
        ("a@lexical", False),
        ("b@lexical", True),
    ]


# --- where trials come from ---


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for arm, outcome in (("a", healed), ("b", half)):
        for each in trials(arm, outcome).arms[f"{arm}@lexical"].values():
            append(tmp_path / "sweep", each)
    return tmp_path / "sweep"


def test_an_arm_of_a_sweep(sweep: Path) -> None:
    assert len(side(f"{sweep}:a@lexical").arms["a@lexical"]) == 40
    assert side(str(sweep)).arms.keys() == {"a@lexical", "b@lexical"}
    with pytest.raises(InputError, match="has no arm c@lexical"):
        side(f"{sweep}:c@lexical")


def test_a_folder_of_trials(tmp_path: Path) -> None:
    file = tiny.make(tmp_path / "base")
    for number, outcome in enumerate([Outcome.INVALID, Outcome.HEALED, Outcome.NOT_HEALED]):
        folder = tmp_path / "results" / f"trial-{number}"
        folder.mkdir(parents=True)
        (folder / "scenario.yml").write_bytes(file.read_bytes())
        (folder / "verdict.json").write_text(verdict_json(sample.verdict(outcome)))
    ((arm, found),) = side(str(tmp_path / "results")).arms.items()
    assert arm == "playbook@lexical"
    assert [each.outcome for each in found.values()] == [Outcome.HEALED], "of one seed, the first that was measured"


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_a_folder_that_has_none_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"there is no folder|no trial that has ended"):
        side(str(tmp_path / name))


# --- what does not count, and is told ---


def by(model: str, seed: int, outcome: Outcome = Outcome.HEALED, *, answered: bool = True, **more: object) -> TrialRow:
    """Of the arm a@lexical; ``more`` overwrites."""
    known = {"trial": f"{model}-{seed}", "cell": f"{model}/{seed}", "model": model}
    return replace(row("pool", "a", seed, outcome), **{"propose_s": 4.0 if answered else None, **known, **more})


def kept(folder: Path, made: Iterable[TrialRow]) -> Path:
    for each in made:
        append(folder, each)
    return folder


def test_an_arm_of_two_models_is_refused(tmp_path: Path) -> None:
    poor = [by("qwen3", seed, Outcome.NOT_HEALED) for seed in SEEDS]
    folder = kept(tmp_path / "both", [*poor, *(by("gpt-oss", seed) for seed in SEEDS)])
    for given in (f"{folder}", f"{folder}:a@lexical"):
        with pytest.raises(InputError, match="a@lexical has trials of the models gpt-oss and qwen3") as raised:
            side(given)
        assert "name one sweep" in raised.value.cure
        assert "mlflow:NAME:a@lexical?params.model = 'gpt-oss'" in raised.value.cure
    append(folder, row("pool", "b", 1))
    assert len(side(f"{folder}:b@lexical").arms["b@lexical"]) == 1, "the other arms can be named"


def test_an_arm_of_two_models_that_never_answered_is_refused(tmp_path: Path) -> None:
    folder = kept(tmp_path / "both", [by(model, 1, Outcome.NOT_HEALED, answered=False) for model in ("a-1", "b-1")])
    with pytest.raises(InputError, match="of the models a-1 and b-1"):
        side(str(folder))


@pytest.mark.parametrize("how", [{"propose_s": 4.0}, {"live": True}], ids=["proposed last", "live, then failed"])
def test_a_model_that_its_server_calls_otherwise_is_one_and_both_names_are_told(
    tmp_path: Path, how: dict[str, object]
) -> None:
    """A trial in which no model answered has the name that was asked for."""
    failed = by("gpt-5", 1, Outcome.NOT_HEALED, answered=False)
    answered = by("gpt-5-2026-03-01", 2, answered=False, **how)
    folder = kept(tmp_path / "one", [failed, answered, by("", 3)])
    told = compare(side(str(folder)), trials("b", half))
    assert told.models == (("gpt-5", "gpt-5-2026-03-01"), ("none",))
    assert "the model of the first is named gpt-5 and gpt-5-2026-03-01" in " ".join(compared.text([told]).split())
    assert "is named" not in compared.text([compare(trials("a", healed), trials("b", half))])


def test_repeats_of_measured_trials_are_left_out_and_told(tmp_path: Path) -> None:
    first = [by("m", seed, trial=f"early-{seed}", started_at="2026-11-28T00:00:00") for seed in SEEDS]
    again = [by("m", seed, Outcome.NOT_HEALED, cell=f"late/{seed}") for seed in range(5)]
    beyond = [replace(by("m", 1, cell=f"{number}", trial=f"{number}"), scenario="quiet") for number in range(4)]
    folder = kept(tmp_path / "twice", [*again, *first, *beyond])
    told = compare(side(str(folder)), trials("b", half))
    assert (told.right.first, told.repeats, told.invalid_again) == (1.0, (5, 0), (0, 0)), "of scenarios that both met"
    line = "left out, as repeats of measured trials: 5 of the first, 0 of the second"
    assert line in " ".join(compared.text([told]).split()) and line in compared.markdown([told])
    assert json.loads(compared.as_json([told]))[0]["repeats"] == [5, 0]
    assert "repeats" not in compared.text([compare(trials("a", healed), trials("b", half))])


def test_what_was_invalid_and_run_again_is_told(tmp_path: Path) -> None:
    lost = [by("m", seed, Outcome.INVALID, cell=f"{seed}", started_at="2026-11-28T00:00:00") for seed in range(7)]
    folder = kept(
        tmp_path / "voids", [*lost, *(by("m", seed, trial=f"again-{seed}", cell=f"{seed}") for seed in SEEDS)]
    )
    told = compare(side(str(folder)), trials("b", half))
    assert (told.right.n, told.invalid, told.invalid_again, told.repeats) == (20, (0, 0), (7, 0), (0, 0))
    line = "INVALID and run again: 7 of the first, 0 of the second"
    assert line in " ".join(compared.text([told]).split()) and line in compared.markdown([told])
    assert json.loads(compared.as_json([told]))[0]["invalid_again"] == [7, 0]
    assert "run again" not in compared.text([compare(trials("a", healed), trials("b", half))])


def test_several_tries_are_of_the_scenarios_that_were_measured_of_both() -> None:
    def lost(scenario: str, seed: int) -> Outcome:
        return Outcome.INVALID if scenario == "sql" else half(scenario, seed)

    told = compare(
        trials("a", lost), trials("b", lambda name, seed: half(name, seed) if name == "pool" else never("", 0))
    )
    assert (told.tries.k, told.tries.first, told.tries.second) == (20, (1.0, 0.0), (1.0, 0.0))
    assert told.tries.too_few == ("sql",)
    assert "Without sql: not measured of both." in " ".join(compared.text([told]).split())


# --- what a newer judge has said ---


def judged(folder: Path, first: tuple[Outcome, str], last: tuple[Outcome, str]) -> Path:
    """The folder of a trial that was judged twice, each time with what came of it and by whom."""
    folder.mkdir(parents=True)
    (folder / "scenario.yml").write_bytes(tiny.make(folder.parent.parent / f"base of {folder.name}").read_bytes())
    for name, (outcome, judge) in (("verdict.json", first), ("rejudged.json", last)):
        verdict = sample.verdict(outcome, sample.trial(folder.name))
        (folder / name).write_text(verdict_json(replace(verdict, judge=judge, rule=f"rule of judge {judge}")))
    return folder


@pytest.mark.parametrize(
    ("first", "last", "counts"), [("4", "5", "5"), ("9", "10", "10"), ("", "5", "5"), ("5", "5", "5"), ("6", "5", "6")]
)
def test_the_newer_judge_counts_in_a_folder_of_trials(tmp_path: Path, first: str, last: str, counts: str) -> None:
    folder = judged(tmp_path / "results" / "one", (Outcome.INVALID, first), (Outcome.HEALED, last))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for given in (folder, folder.parent):
        ((found,),) = (each.values() for each in side(str(given)).arms.values())
        expected = Outcome.HEALED if counts == last != first else Outcome.INVALID
        assert (found.outcome, found.judge, found.rule) == (expected, counts, f"rule of judge {counts}")
        assert (found.cell, found.fixer, found.wall_s) == ("", "playbook", 34.0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "nothing is changed by reading"


def test_the_newer_judge_counts_in_a_sweep_which_keeps_what_it_alone_knows(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    folder = judged(sweep / "one", (Outcome.NOT_HEALED, "4"), (Outcome.HEALED, "5"))
    first = row_of(
        json.loads((folder / "verdict.json").read_text()), cell=None, fault_class="database", control=False, wall_s=61.2
    )
    append(sweep, replace(first, cell="pool/mine@lexical/1", fixer="mine", wall_s=61.25))
    append(sweep, replace(first, trial="gone", cell="pool/mine@lexical/2", fixer="mine"))
    one, gone = rows_of(sweep)
    assert (one.outcome, one.judge, one.rule) == (Outcome.HEALED, "5", "rule of judge 5")
    assert (one.cell, one.fixer, one.wall_s) == ("pool/mine@lexical/1", "mine", 61.25)
    assert (gone.outcome, gone.judge) == (Outcome.NOT_HEALED, "4")
    assert rows(sweep)[0].judge == "4", "nothing is changed by reading"


def test_a_damaged_second_verdict_is_told_with_its_cure(tmp_path: Path) -> None:
    folder = judged(tmp_path / "results" / "one", (Outcome.HEALED, "4"), (Outcome.HEALED, "5"))
    (folder / "rejudged.json").write_text("{}")
    with pytest.raises(InputError, match=r"rejudged\.json: not a verdict") as raised:
        side(str(folder))
    assert raised.value.cure == f"write it anew: harness rejudge {folder}"


# --- how it is told ---


@pytest.mark.parametrize("arms", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("form", ["text", "markdown", "json", "junit"])
def test_by_the_command_line(sweep: Path, form: str, arms: tuple[str, str]) -> None:
    words = [f"{sweep}:{arm}@lexical" for arm in arms]
    done = CliRunner().invoke(command, [*words, "--format", form, "--fail-on-regression"], catch_exceptions=False)
    assert done.exit_code == (0 if arms == ("a", "b") else 1)
    assert ("worse" if arms == ("b", "a") else "better") in done.output or form == "junit"
    if form == "json":
        (told,) = json.loads(done.output)
        assert told["regressed"] is (arms == ("b", "a"))
        assert told["right"]["difference"]["value"] == (0.5 if arms == ("a", "b") else -0.5)
    if form == "junit":
        suite = Xml.fromstring(done.output)[0]
        assert (
            int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == (0 if arms == ("a", "b") else 4)
        )
    if form == "markdown":
        assert "| did right | 100 % | 50 % | +50 points (" in done.output or arms == ("b", "a")


WITHOUT_MLFLOW = """
import sys
from click.testing import CliRunner
from harness.cli.compare import command
done = CliRunner().invoke(command, sys.argv[1:], catch_exceptions=False)
sys.exit(done.exit_code or "mlflow" in sys.modules)
"""


def test_folders_are_compared_without_mlflow_which_takes_seconds_to_import(sweep: Path) -> None:
    words = [f"{sweep}:a@lexical", f"{sweep}:b@lexical"]
    command = [sys.executable, "-c", WITHOUT_MLFLOW, *words]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tiny.ROOT)}, check=False).returncode == 0


def test_without_the_flag_a_regression_is_told_only(sweep: Path) -> None:
    words = [f"{sweep}:b@lexical", f"{sweep}:a@lexical"]
    assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0


def test_a_name_from_outside_is_no_markup() -> None:
    told = compare(trials("<img src=x>|\n# a", healed), trials("b", healed))
    page = compared.markdown([told])
    assert "<img" not in page and "\n# a" not in page
    assert "&lt;img src=x>/ # a" in page
    assert Xml.fromstring(compared.junit([told]))[0].attrib["name"] == told.name


def test_what_is_unknown_is_null_in_json() -> None:
    one = compare(trials("a", healed, ["pool"], range(1)), trials("b", healed, ["pool"], range(1)))
    assert math.isnan(measure(one, "usd").difference.low)
    (told,) = json.loads(compared.as_json([one]))
    assert {each["name"]: each["difference"]["low"] for each in told["others"]}["usd"] is None
    assert "(no interval)" in compared.text([one])
