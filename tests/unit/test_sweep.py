"""A sweep: its order, what it runs and what not, after a crash too. Trials are made by a lane that answers at once."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.resume import command as resume_command
from harness.cli.sweep import command
from harness.errors import InputError, MeasurementError
from harness.experiment import machines
from harness.experiment.lanes import Lane
from harness.experiment.manifest import Opened, begun, opened
from harness.experiment.plan import Cell, cells, seed_of
from harness.experiment.results import counted, rows
from harness.experiment.sweep import Sweep
from harness.model.experiment import Arm, Experiment, SweepBudget
from harness.model.verdict import Outcome
from harness.sinks.journal import Journal
from tests import events as sample
from tests.e2e import tiny
from tests.lanes import Lanes

ARMS = (Arm(fixer="noop"), Arm(fixer="playbook"), Arm(fixer="playbook", retriever="none"))


def experiment(**changes: object) -> Experiment:
    given: dict[str, object] = {"name": "test", "scenarios": ("slow_export.yml",), "arms": ARMS, "repeats": 2}
    return Experiment.model_validate({**given, **changes})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tiny.make(tmp_path / "base")
    (tmp_path / "base" / "kb").mkdir()
    return tmp_path / "base"


@pytest.fixture
def place(base: Path, tmp_path: Path) -> Iterator[Opened]:
    with begun(experiment(), base, tmp_path / "sweep") as made:
        yield made


def asked(lanes: Lanes) -> list[tuple[str, str, str]]:
    return [(each["--fixer"], each["--retriever"], each["--seed"]) for each in lanes.ran]


# --- the plan ---


def test_every_arm_meets_every_scenario_with_the_same_seeds_in_blocks() -> None:
    found = cells(experiment(repeats=5), dict.fromkeys(("a", "b", "c")))
    assert len({cell.key for cell in found}) == len(found) == 3 * 3 * 5
    assert [cell.repeat for cell in found] == sorted(cell.repeat for cell in found)
    seeds: dict[tuple[str, int], set[int]] = {}
    for cell in found:
        seeds.setdefault((cell.scenario, cell.repeat), set()).add(cell.seed)
    assert all(len(each) == 1 for each in seeds.values())
    assert len({seed for each in seeds.values() for seed in each}) == 3 * 5


def test_the_order_is_drawn_within_a_block_and_is_the_same_again() -> None:
    names = dict.fromkeys("abcdef")
    found = cells(experiment(repeats=3), names)
    assert found == cells(experiment(repeats=3), names)
    blocks = [[(cell.scenario, cell.arm.name) for cell in found if cell.repeat == number] for number in (1, 2, 3)]
    assert blocks[0] != blocks[1] != blocks[2]
    assert blocks[0] != sorted(blocks[0])
    assert found != cells(experiment(repeats=3, seed=2), names)


def test_two_sweeps_of_one_seed_can_be_paired() -> None:
    assert seed_of(1, "a", 1) == seed_of(1, "a", 1)
    assert len({seed_of(seed, name, repeat) for seed in (1, 2) for name in "ab" for repeat in (1, 2)}) == 8
    assert all(0 <= seed_of(number, "a", 1) < 2**31 for number in range(100))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": (ARMS[0], ARMS[0])}, "noop@lexical stands there twice"),
        ({"scenarios": ("a.yml", "a.yml")}, "a.yml stands there twice"),
        ({"arms": ({"fixer": "--help"},)}, "on one line"),
        ({"arms": ({"fixer": "command: a" + "b" * 60}, {"fixer": "command: a" + "b" * 61})}, "told apart"),
        ({"name": "../x"}, "pattern"),
    ],
)
def test_what_no_sweep_can_be_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        experiment(**changes)


# --- running ---


@pytest.mark.parametrize(
    ("arm", "said"),
    [({"fixer": "nobody"}, "no fixer 'nobody'"), ({"fixer": "noop", "retriever": "nowhere"}, "no retriever 'nowhere'")],
)
def test_an_arm_that_cannot_run_is_told_before_anything_is_begun(
    base: Path, tmp_path: Path, lanes: Lanes, arm: dict[str, str], said: str
) -> None:
    with (
        begun(experiment(arms=({"fixer": "noop"}, arm)), base, tmp_path / "sweep") as place,
        pytest.raises(InputError, match=said),
    ):
        list(Sweep(place=place).run())
    assert lanes.ran == []
    with begun(experiment(), base, tmp_path / "sweep") as place:  # mended: the name is still to be had
        list(Sweep(place=place).run())
    assert len(lanes.ran) == 6


def test_each_trial_runs_once_in_order(place: Opened, lanes: Lanes) -> None:
    told = list(Sweep(place=place).run())
    planned = cells(place.manifest.experiment, place.scenarios)
    assert asked(lanes) == [(cell.arm.fixer, cell.arm.retriever, str(cell.seed)) for cell in planned]
    assert [(each.done, each.of) for each in told] == [(number, 6) for number in range(1, 7)]
    assert told[-1].left_s == 0
    found = rows(place.folder)
    assert [row.cell for row in found] == [cell.key for cell in planned]
    assert {(row.scenario, row.control, row.outcome) for row in found} == {("slow_export", False, Outcome.HEALED)}
    assert Sweep(place=place).missing() == []
    assert list(Sweep(place=place).run()) == []
    assert len(lanes.ran) == 6


def test_what_was_invalid_is_run_again_as_often_as_it_may(place: Opened, lanes: Lanes) -> None:
    lanes.fate = lambda each: Outcome.INVALID if each["--fixer"] == "noop" else Outcome.NOT_HEALED
    list(Sweep(place=place).run())
    tries = Counter(row.cell for row in rows(place.folder))
    assert {key: count for key, count in tries.items() if "noop" in key} == {
        "slow_export/noop@lexical/1": 2,
        "slow_export/noop@lexical/2": 2,
    }
    assert sum(tries.values()) == 4 + 2 * 2
    assert len(counted(rows(place.folder))) == 6
    assert sum(not row.measured for row in counted(rows(place.folder))) == 2
    assert Sweep(place=place).missing() == []
    ids = [each["--id"] for each in lanes.ran]
    assert len(set(ids)) == len(ids)


def test_the_first_that_could_be_measured_counts(place: Opened, lanes: Lanes) -> None:
    outcomes = iter([Outcome.INVALID, *[Outcome.HEALED] * 6])
    lanes.fate = lambda _: next(outcomes)
    list(Sweep(place=place).run())
    found = counted(rows(place.folder))
    assert len(rows(place.folder)) == 7
    assert [row.outcome for row in found] == [Outcome.HEALED] * 6


def test_a_trial_without_a_verdict_is_told_and_the_rest_goes_on(place: Opened, lanes: Lanes) -> None:
    fates = iter([None, *[Outcome.HEALED] * 5])
    lanes.fate = lambda _: next(fates)
    told = list(Sweep(place=place).run())
    assert told[0].row is None and "it fell over" in told[0].told
    assert told[-1].done == 5
    assert len(Sweep(place=place).missing()) == 1


def test_a_machine_that_gives_no_verdicts_ends_the_sweep(place: Opened, lanes: Lanes) -> None:
    lanes.fate = lambda _: None
    with pytest.raises(MeasurementError, match="it fell over"):
        list(Sweep(place=place).run())
    assert len(lanes.ran) == 3


@pytest.mark.parametrize(
    ("budget", "usd", "most", "said"),
    [
        (SweepBudget(usd=0.25), 0.10, 3, "the budget of $0.25 is spent: $0.30"),
        (SweepBudget(usd=0.25), None, 6, ""),
        (SweepBudget(time_s=1e9), 1.0, 6, ""),
    ],
)
def test_a_budget_ends_it_between_trials(
    base: Path, tmp_path: Path, lanes: Lanes, budget: SweepBudget, usd: float | None, most: int, said: str
) -> None:
    lanes.usd = usd
    with begun(experiment(budget=budget), base, tmp_path / "sweep") as place:
        told = list(Sweep(place=place).run())
    assert len(lanes.ran) == most
    assert bool(told[-1].told) is bool(said)
    if said:
        assert said in told[-1].told


# --- going on ---


def test_a_crash_between_verdict_and_row_runs_nothing_twice(place: Opened, lanes: Lanes) -> None:
    list(Sweep(place=place).run())
    file = place.folder / "trials.jsonl"
    whole = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(whole[:2]) + whole[2][:40])  # the third was being written
    assert list(Sweep(place=place).run()) == []
    assert len(lanes.ran) == 6
    assert sorted(row.cell for row in rows(place.folder)) == sorted(json.loads(line)["cell"] for line in whole)


def test_a_trial_that_was_cut_short_is_invalid_and_run_again(place: Opened, lanes: Lanes, base: Path) -> None:
    sweep = Sweep(place=place)
    first = sweep.missing()[0]
    folder = place.folder / sweep._order(first).id
    folder.mkdir()
    (folder / "scenario.yml").write_bytes((base / "slow_export.yml").read_bytes())
    trial = replace(sample.trial(), id=folder.name, scenario="slow_export", seed=first.seed)
    with Journal(folder) as journal:
        for event in sample.until_detected(trial):
            journal(event)
    list(sweep.run())
    of_first = [row for row in rows(place.folder) if row.cell == first.key]
    assert [row.outcome for row in of_first] == [Outcome.INVALID, Outcome.HEALED]
    assert len(lanes.ran) == 6


def test_what_was_interrupted_was_no_try(place: Opened, lanes: Lanes) -> None:
    lanes.fate = lambda _: Outcome.INVALID
    list(Sweep(place=place).run())
    file = place.folder / "trials.jsonl"
    assert Sweep(place=place).missing() == []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    first = lines[0]["cell"]
    for line in lines:
        line["rule"] = "interrupted" if line["cell"] == first else line["rule"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [cell.key for cell in Sweep(place=place).missing()] == [first]


def test_ctrl_c_ends_the_trial_that_runs(place: Opened, lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_to_stop = threading.Event()
    monkeypatch.setattr(Lane, "stop", lambda _: asked_to_stop.set())
    lanes.before = lambda: asked_to_stop.wait(10)
    running = Sweep(place=place).run()

    def interrupted(_there: machines.Machines, _futures: list[Any]) -> list[Any]:
        while not lanes.ran:
            asked_to_stop.wait(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(machines.Machines, "ended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert asked_to_stop.is_set()


def test_a_trial_that_had_not_begun_leaves_nothing(place: Opened, lanes: Lanes) -> None:
    sweep = Sweep(place=place)
    folder = place.folder / sweep._order(sweep.missing()[0]).id
    folder.mkdir()
    list(sweep.run())
    assert len(lanes.ran) == len(rows(place.folder)) == 6


def test_nobody_else_works_on_it(place: Opened, base: Path) -> None:
    with pytest.raises(InputError, match="somebody is at work"), opened(place.folder):
        pass


def test_another_sweep_does_not_fit_into_the_folder(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    with begun(experiment(), base, tmp_path / "sweep") as place:
        list(Sweep(place=place).run())
    with pytest.raises(InputError, match="holds another sweep"), begun(experiment(seed=2), base, tmp_path / "sweep"):
        pass


def test_it_may_be_given_more_budget_and_more_repeats(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    lanes.usd = 0.1
    for changes, trials in (({"budget": {"usd": 0.25}}, 3), ({"budget": {"usd": 9}}, 6), ({"repeats": 3}, 9)):
        with begun(experiment(**changes), base, tmp_path / "sweep") as place:
            list(Sweep(place=place).run())
        assert len(lanes.ran) == trials
    with opened(tmp_path / "sweep") as place:
        assert place.manifest.experiment.repeats == 3
    ids = [each["--id"] for each in lanes.ran]
    assert len(set(ids)) == len(ids)


def test_folders_of_another_cell_are_not_its_own(place: Opened, lanes: Lanes) -> None:
    sweep = Sweep(place=place)
    first = sweep.missing()[0]
    other = sweep._order(first).id.removesuffix("-1") + "-2-1"  # as of an arm whose name ends with -1
    (place.folder / other).mkdir()
    assert sweep._tries(first) == []


def test_a_machine_that_dies_is_told(place: Opened, lanes: Lanes) -> None:
    def dies() -> None:
        lanes.before = lambda: None
        raise ConnectionError("the worker is gone")

    lanes.before = dies
    told = list(Sweep(place=place).run())
    assert "ConnectionError: the worker is gone" in told[0].told
    assert told[-1].done == 5


def test_a_scenario_that_has_changed_is_told(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    with begun(experiment(), base, tmp_path / "sweep") as place:
        list(Sweep(place=place).run())
    with (base / "cure.patch").open("a") as patch:
        patch.write("\n")
    for again in (opened(tmp_path / "sweep"), begun(experiment(), base, tmp_path / "sweep")):
        with pytest.raises(InputError, match="slow_export has changed since"), again:
            pass


def test_a_folder_without_a_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sweep"), opened(tmp_path):
        pass


# --- machines ---


def test_one_trial_runs_at_a_time_on_this_machine(place: Opened, lanes: Lanes) -> None:
    at_work = threading.Lock()

    def alone() -> None:
        assert at_work.acquire(blocking=False)
        threading.Event().wait(0.02)
        at_work.release()

    lanes.before = alone
    list(Sweep(place=place).run())
    assert len(rows(place.folder)) == 6


def test_two_workers_on_one_machine_take_turns(place: Opened, lanes: Lanes) -> None:
    at_work = threading.Lock()

    def alone() -> None:
        assert at_work.acquire(blocking=False)
        threading.Event().wait(0.1)
        at_work.release()

    lanes.before = alone
    sweep = Sweep(place=place)
    orders = [sweep._order(cell) for cell in sweep.missing()[:3]]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(machines.run, orders))
    assert {each.verdict["trial"]["id"] for each in done} == {order.id for order in orders}


def test_a_machine_with_another_version_runs_nothing(place: Opened, lanes: Lanes, base: Path) -> None:
    order = replace(Sweep(place=place)._order(Sweep(place=place).missing()[0]), scenario_hash="other")
    with pytest.raises(MeasurementError, match="another version of the scenario"):
        machines.run(order)
    assert lanes.ran == []


def test_what_another_machine_has_is_brought_here(place: Opened, lanes: Lanes, tmp_path: Path) -> None:
    order = Sweep(place=place)._order(Sweep(place=place).missing()[0])
    here = machines.run(order)
    assert here.packed == b""
    there = machines.run(replace(order, id="away", results=str(tmp_path / "away"), mark=str(tmp_path / "not here")))
    machines.unpack(there.packed, place.folder)
    told = json.loads((place.folder / "away" / "verdict.json").read_text())
    assert told == there.verdict


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_CONNECT_S", 1.0)
    with pytest.raises(InputError, match="no scheduler answers"), machines.machines("tcp://127.0.0.1:9"):
        pass


# --- the command line ---


def test_by_flags_and_again(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    words = [str(base / "slow_export.yml"), "--fixer", "noop", "--fixer", "playbook", "--repeats", "2", "--no-track"]
    for trials in (4, 4):
        done = CliRunner().invoke(command, [*words, "--results", str(tmp_path / "results")], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert len(lanes.ran) == trials
        assert "noop@lexical                     right 2 of 2" in done.output
    done = CliRunner().invoke(
        resume_command, [str(tmp_path / "results" / "sweep"), "--no-track"], catch_exceptions=False
    )
    assert done.exit_code == 0 and "0 trials to run" in done.output


def test_by_a_file(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    (base / "experiment.yml").write_text(
        "name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: noop}]\nrepeats: 1\n"
    )
    words = ["--experiment", str(base / "experiment.yml"), "--no-track", "--results", str(tmp_path / "results")]
    lanes.fate = lambda _: Outcome.INVALID
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 3
    assert "right 0 of 0, 1 INVALID" in done.output
    assert (tmp_path / "results" / "mine" / "sweep.json").exists()


@pytest.mark.parametrize("words", [["--repeats", "5"], ["--usd", "1"], ["--fixer", "noop"], ["slow_export.yml"]])
def test_what_a_file_says_is_not_said_again(base: Path, words: list[str]) -> None:
    (base / "experiment.yml").write_text("name: mine\nscenarios: [slow_export.yml]\narms: [{fixer: noop}]\n")
    with pytest.raises(InputError, match="says what is to be run") as raised:
        CliRunner().invoke(command, ["--experiment", str(base / "experiment.yml"), *words], catch_exceptions=False)
    assert (words[0] if words[0].startswith("-") else "the scenarios") in raised.value.cure


def test_who_stops_it_is_told_how_to_go_on(
    base: Path, tmp_path: Path, lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_there: machines.Machines, _running: list[Any]) -> list[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(machines.Machines, "ended", interrupted)
    words = [str(base / "slow_export.yml"), "--fixer", "noop", "--no-track", "--results", str(tmp_path)]
    done = CliRunner().invoke(command, words)
    assert done.exit_code != 0
    assert f"To go on: harness resume {tmp_path / 'sweep'}" in done.stderr


def test_a_dry_run_begins_nothing(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    words = [str(base / "slow_export.yml"), "--fixer", "noop", "--dry-run", "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert "3 trials: 1 scenarios, 3 repeats" in done.output
    assert not (tmp_path / "results").exists() and not lanes.ran


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no fixer is named"),
        (["--fixer", "noop", "--fixer", "noop"], "noop@lexical stands there twice"),
        (["--fixer", "noop", "--name", "a/b"], "name: "),
    ],
)
def test_flags_that_make_no_sweep_are_told(base: Path, lanes: Lanes, words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(command, [str(base / "slow_export.yml"), *words], catch_exceptions=False)


def test_a_cell_has_a_name(place: Opened) -> None:
    cell = Cell(scenario="a", arm=Arm(fixer="command: ./agent --fast", retriever="dense"), repeat=3, seed=7)
    assert cell.key == "a/command: ./agent --fast@dense/3"
    assert cell.arm.slug == "command-.-agent---fast@dense"


def test_what_could_not_be_measured_is_run_again_before_the_next_block_begins(place: Opened, lanes: Lanes) -> None:
    lanes.fate = lambda _: Outcome.INVALID if len(lanes.ran) in {1, 2} else Outcome.HEALED
    list(Sweep(place=place).run())
    repeats = [row.cell.rpartition("/")[2] for row in rows(place.folder)]
    assert repeats == ["1"] * 5 + ["2"] * 3, "three arms, two of them again, then the second block"
