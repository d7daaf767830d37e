"""How many trials run at once on a machine: what is measured, what is allowed, and where the trials' folders end up."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.resume import command as resume_command
from harness.cli.sweep import command
from harness.errors import InputError
from harness.experiment import machines, slots
from harness.experiment.interference import Calibration, measured, seen, stretched
from harness.experiment.lanes import Lane
from harness.experiment.manifest import Opened, begun, opened
from harness.experiment.results import FILE, rows
from harness.experiment.slots import LIMIT, Round, concluded, decided, shift, stored, this_host
from harness.experiment.sweep import Progress, Sweep
from harness.loading import load_scenario
from harness.model.event import Event, TrialFailed
from harness.model.experiment import Arm, Experiment
from harness.model.verdict import Outcome
from harness.sinks.journal import Journal
from tests import events as sample
from tests.e2e import tiny
from tests.lanes import Lanes, stretch

SHORT = Calibration(rounds=4)
SCENARIOS = sorted((tiny.ROOT / "scenarios").glob("*.yml"))


def experiment(**changes: object) -> Experiment:
    arms = (Arm(fixer="noop"), Arm(fixer="playbook"))
    given: dict[str, object] = {"name": "test", "scenarios": ("slow_export.yml",), "arms": arms, "repeats": 3}
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


def rounds(ratios: Sequence[float], *, void: str = "", lost: str = "") -> list[Round]:
    one = Round(scenario="a", neighbour="b", seed=1, first="alone", alone_p95_ms=20.0, beside_p95_ms=20.0)
    return [replace(one, beside_p95_ms=20.0 * ratio, void=void, lost=lost) for ratio in ratios]


def told(found: Sequence[Progress]) -> list[str]:
    return [each.told for each in found if each.told]


def of_calibration(lanes: Lanes) -> list[str]:
    """alone, beside, beside-1 ..., in the order in which they began."""
    ids = [each["--id"] for each in lanes.ran if each["--id"].startswith("calibration-")]
    return [id_.split("-", 3)[3] for id_ in ids]


# --- what is allowed ---


EVEN = [0.99, 1.01, 1.0, 0.98, 1.02, 1.0, 1.01, 0.99]


@pytest.mark.parametrize(
    ("found", "allowed", "said"),
    [
        (rounds(EVEN), 2, "(0.99 to 1.01, n 8), which is less than 1.05"),
        (rounds([1.2 * each for each in EVEN]), 1, "p95 side by side is 1.20 times that alone (1.19 to 1.21, n 8)"),
        (rounds([0.8, 1.25, 0.9, 1.1, 1.0, 0.85, 1.2, 1.0]), 1, "it is not shown to stay under 1.05"),
        (rounds([1.04 * each for each in EVEN]), 1, "it is not shown to stay under 1.05"),
        (rounds(EVEN[:2]), 1, "too few rounds could be measured: 2 of them"),
        ([*rounds(EVEN), *rounds([1.0], lost="machine was free: no")], 1, "machine was free: no"),
        ([*rounds(EVEN), *rounds([1.0, 1.0], void="it was not quiet")], 1, "it was not quiet"),
        ([*rounds(EVEN), *rounds([9.0], void="it was not quiet")], 2, "n 8), which is less than 1.05"),
        ([], 1, "too few rounds"),
    ],
)
def test_only_what_is_shown_to_disturb_nobody_is_allowed(found: list[Round], allowed: int, said: str) -> None:
    concluded_ = concluded(found, asked=2, host=this_host(), hashes={})
    assert concluded_.allowed == allowed
    assert said in str(concluded_)


def test_the_shift_has_student_s_interval_of_the_logarithms() -> None:
    found = shift(rounds([1.0, 1.1, 1.2, 1.3]))
    logs = [math.log(each) for each in (1.0, 1.1, 1.2, 1.3)]
    mean = sum(logs) / 4
    half = 3.182446 * math.sqrt(sum((each - mean) ** 2 for each in logs) / 3 / 4)  # t of 3 degrees of freedom, 97.5 %
    assert found
    assert found.ratio == pytest.approx(math.exp(mean))
    assert (found.low, found.high) == pytest.approx((math.exp(mean - half), math.exp(mean + half)), rel=1e-6)


@pytest.mark.parametrize(
    ("found", "over"),
    [
        (rounds([1.0] * 7), False),  # a yes is never early
        (rounds([2.0, 2.1]), False),
        (rounds([2.0, 2.1, 2.05]), True),
        (rounds([1.0], lost="machine was free: no"), True),
        (rounds([1.0], void="it was not quiet"), False),
        (rounds([1.0, 1.0], void="it was not quiet"), True),
        (rounds([1.0], void="it was not quiet", lost="machine was free: no"), False),  # nobody knows who it was
    ],
)
def test_it_ends_early_only_to_refuse(found: list[Round], over: bool) -> None:
    assert decided(found) is over
    assert not over or concluded(found, asked=2, host=this_host(), hashes={}).allowed == 1


def test_what_was_found_is_kept_and_fits_one_machine_and_its_scenarios(tmp_path: Path) -> None:
    assert stored(tmp_path) is None
    made = concluded(rounds(EVEN), asked=2, host=this_host(), hashes={"a": "1"})
    slots.write(tmp_path, made)
    found = stored(tmp_path)
    assert found == made
    assert found.fits(this_host(), {"a": "1"})
    assert not found.fits(this_host(), {"a": "2"})
    assert not found.fits(replace(this_host(), processors=this_host().processors + 1), {"a": "1"})
    assert not replace(found, version=slots.VERSION + 1).fits(this_host(), {"a": "1"})
    (tmp_path / slots.FILE).write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        stored(tmp_path)


# --- what is measured ---


def journal_of(folder: Path, story: Sequence[Event]) -> Path:
    folder.mkdir(parents=True)
    (folder / "scenario.yml").write_bytes((folder.parent / "base" / "slow_export.yml").read_bytes())
    with Journal(folder) as journal:
        for event in story:
            journal(event)
    return folder


def test_p95_is_that_of_all_routes_from_the_warm_up_to_the_end_of_the_baseline(base: Path, tmp_path: Path) -> None:
    found = seen(journal_of(tmp_path / "trial", list(stretch(20.0))))
    assert found.failure == ""
    assert found.p95_ms == pytest.approx(20.0)


def test_a_busy_machine_and_a_baseline_that_did_not_hold_are_no_measurement(base: Path, tmp_path: Path) -> None:
    busy = seen(journal_of(tmp_path / "busy", list(stretch(20.0, others=0.4))))
    assert "other work took 40% of the processors" in busy.failure
    assert busy.p95_ms == pytest.approx(20.0)
    story = [each for each in stretch(20.0) if each.type != "BaselineHeld"]
    broken = seen(journal_of(tmp_path / "broken", [*story, TrialFailed(at_s=9.0, reason="the SLOs do not hold")]))
    assert broken.failure.startswith("the SLOs do not hold; baseline held: no")
    assert broken.p95_ms is None


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_a_stretched_scenario_is_the_same_but_for_its_length_and_can_lie_anywhere(file: Path, tmp_path: Path) -> None:
    loaded = load_scenario(file)
    moved = tmp_path / file.name
    moved.write_text(stretched(loaded, 30.0))
    made = load_scenario(moved)
    assert made.spec.steady_state.hold_s == 30.0
    for part in ("metadata", "load", "slos", "detection", "budget"):
        assert getattr(made.spec, part) == getattr(loaded.spec, part)
    assert (made.app, made.defect) == (loaded.app, loaded.defect and loaded.defect.resolve())
    assert made.checks == tuple(check.resolve() for check in loaded.checks)
    assert [each.action for each in made.spec.method] == [each.action for each in loaded.spec.method]
    assert made.reference is None and made.cheats is None


def test_what_a_scenario_switches_off_stays_off(tmp_path: Path) -> None:
    file = tiny.make(tmp_path / "base", detection={"burnRate": None})
    moved = tmp_path / "moved.yml"
    moved.write_text(stretched(load_scenario(file), 30.0))
    assert load_scenario(moved).spec.detection.burn_rate is None


def test_alone_and_side_by_side_take_turns_with_the_same_seed(place: Opened, lanes: Lanes, tmp_path: Path) -> None:
    lanes.p95_ms = lambda asked: 20.0 if asked["--id"].endswith("alone") else 25.0
    scenarios = [*place.scenarios.values()]
    found = list(measured(scenarios, tmp_path / "calibration", 3, 1, Calibration(rounds=2)))
    side_by_side = ["beside", "beside-1", "beside-2"]
    assert of_calibration(lanes)[:1] == ["alone"] and of_calibration(lanes)[-1:] == ["alone"]
    assert sorted(of_calibration(lanes)[1:4]) == sorted(of_calibration(lanes)[4:7]) == side_by_side
    assert [each.first for each in found] == ["alone", "beside"]
    assert [each.ratio for each in found] == [pytest.approx(1.25)] * 2
    seeds = dict(zip(of_calibration(lanes)[:4], (each["--seed"] for each in lanes.ran), strict=False))
    assert seeds["alone"] == seeds["beside"] == str(found[0].seed)
    assert len(set(seeds.values())) == 3
    beside = [each["lane"] for each in lanes.ran if "beside" in each["--id"]]
    assert sorted(beside[:3]) == sorted(beside[3:]) == ["lane-1", "lane-2", "lane-3"]
    assert {each["--fixer"] for each in lanes.ran} == {"noop"}


def test_a_neighbour_begins_while_the_measured_one_is_under_load(place: Opened, lanes: Lanes, tmp_path: Path) -> None:
    met = threading.Barrier(2)

    def under_load(asked: dict[str, str]) -> None:
        if "beside" in asked["--id"]:
            met.wait(10)  # broken where one waits for the other's end

    lanes.under_load = under_load
    scenarios = [*place.scenarios.values()]
    (found,) = measured(scenarios, tmp_path / "calibration", 2, 1, Calibration(rounds=1))
    assert found.lost == ""


def test_a_neighbour_that_could_not_be_measured_is_told(place: Opened, lanes: Lanes, tmp_path: Path) -> None:
    lanes.others = lambda asked: 0.3 if asked["--id"].endswith("beside-1") else 0.0
    scenarios = [*place.scenarios.values()]
    (found,) = measured(scenarios, tmp_path / "calibration", 2, 1, Calibration(rounds=1))
    assert found.lost.startswith("machine was free: no: other work took 30%")
    assert found.void == "" and found.ratio == pytest.approx(1.0)


# --- a sweep with more than one slot ---


def test_two_at_once_where_nobody_is_disturbed(place: Opened, lanes: Lanes) -> None:
    together = threading.Barrier(2)
    lanes.before = lambda: together.wait(10)  # broken where they run one after the other
    found = list(Sweep(place=place, calibration=SHORT).run(asked=2))
    assert len(rows(place.folder)) == 6
    assert {row.outcome for row in rows(place.folder)} == {Outcome.HEALED}
    assert of_calibration(lanes)[:3] == ["alone", "beside", "beside-1"] and len(of_calibration(lanes)) == 12
    assert {each["lane"] for each in lanes.ran} == {"lane-1", "lane-2"}
    assert told(found)[-1].startswith("2 trials at once: p95 side by side is 1.00 times that alone")
    for row in rows(place.folder):
        assert (place.folder / row.trial / "verdict.json").exists()
        assert not [*place.folder.glob(f"lane-*/{row.trial}")]


def test_one_at_a_time_where_p95_shifts(place: Opened, lanes: Lanes) -> None:
    lanes.p95_ms = lambda asked: 20.0 if asked["--id"].endswith("alone") else 22.0
    at_work = threading.Lock()

    def alone() -> None:
        assert at_work.acquire(blocking=False)
        threading.Event().wait(0.02)
        at_work.release()

    lanes.before = alone
    found = list(Sweep(place=place, calibration=SHORT).run(asked=2))
    assert len(rows(place.folder)) == 6
    assert told(found)[0].startswith("round 1 of 4: slow_export beside slow_export; p95 20.0 ms alone, 22.0 ms")
    assert told(found)[-1].startswith("one trial at a time: p95 side by side is 1.10 times")
    assert len([each for each in lanes.ran if each["lane"] == "sweep"]) == 6


def test_what_was_measured_is_used_again_and_only_here(place: Opened, lanes: Lanes) -> None:
    sweep = Sweep(place=place, calibration=SHORT)
    next(each for each in sweep.run(asked=2) if "at once" in each.told)
    count = len(of_calibration(lanes))
    assert next(sweep.run()).told.startswith("2 trials at once")
    assert next(sweep.run(asked=2)).told.startswith("2 trials at once")
    assert len(of_calibration(lanes)) == count
    known = stored(place.folder)
    assert known
    slots.write(place.folder, replace(known, host=replace(known.host, name="another")))
    assert next(sweep.run()).told.startswith("one trial at a time: slots.json is of another machine")
    assert next(sweep.run(asked=2)).told.startswith("round 1 of 4")


def test_a_machine_that_is_busy_before_is_measured_again_next_time(place: Opened, lanes: Lanes) -> None:
    lanes.others = lambda _: 0.4
    sweep = Sweep(place=place, calibration=SHORT)
    first = next(each.told for each in sweep.run(asked=2) if "at a time" in each.told)
    assert first.startswith("one trial at a time: too few rounds could be measured: machine was free: no")
    assert len(of_calibration(lanes)) == 2 * 3
    assert stored(place.folder) is None
    assert next(sweep.run(asked=2)).told.startswith("round 1 of 4")


@pytest.mark.parametrize("asked", [None, 2])
def test_a_calibration_that_was_cut_short_goes_on(place: Opened, lanes: Lanes, asked: int | None) -> None:
    """What is to be measured is known without being said again, as to ``harness resume``."""
    sweep = Sweep(place=place, calibration=SHORT)
    begun_ = sweep.run(asked=2)
    before = [next(begun_).told, next(begun_).told]
    begun_.close()  # type: ignore[attr-defined]  # a generator
    assert before[1].startswith("round 2 of 4") and len(of_calibration(lanes)) == 2 * 3
    found = told(list(sweep.run(asked=asked)))
    assert found[:2] == before and len(of_calibration(lanes)) == 4 * 3
    assert found[-1].startswith("2 trials at once") and "n 4" in found[-1]
    assert not (place.folder / "calibration" / "rounds.jsonl").exists()


def test_it_is_not_begun_anew_until_it_pleases(place: Opened, lanes: Lanes) -> None:
    """Rounds that were bad stay, whatever comes later."""
    sweep = Sweep(place=place, calibration=SHORT)
    lanes.others = lambda asked: 0.3 if asked["--id"].endswith("beside-1") else 0.0
    next(sweep.run(asked=2))
    lanes.others = lambda _: 0.0
    assert told(list(sweep.run(asked=2)))[-1].startswith("one trial at a time: side by side a trial could not")


def test_another_number_at_once_is_another_calibration(place: Opened, lanes: Lanes) -> None:
    sweep = Sweep(place=place, calibration=SHORT)
    next(sweep.run(asked=2))
    count = len(of_calibration(lanes))
    next(sweep.run(asked=3))
    assert len(of_calibration(lanes)) == count + 4  # it begins with its own first round


def test_who_asks_for_one_measures_nothing(place: Opened, lanes: Lanes) -> None:
    list(Sweep(place=place).run(asked=1))
    assert of_calibration(lanes) == []
    assert not (place.folder / slots.FILE).exists()
    assert list(Sweep(place=place).run(asked=2)) == []  # nothing is left to be run
    assert of_calibration(lanes) == []


def test_a_crash_between_the_end_of_a_trial_and_its_way_out_of_the_lane_loses_nothing(
    place: Opened, lanes: Lanes, base: Path
) -> None:
    sweep = Sweep(place=place, calibration=SHORT)
    list(sweep.run(asked=2))
    before = rows(place.folder)
    ended, cut = before[-1].trial, before[-2].trial
    for trial in (ended, cut):
        (place.folder / trial).rename(place.folder / "lane-2" / trial)
    (place.folder / "lane-2" / cut / "verdict.json").unlink()
    (place.folder / "lane-2" / cut / "scenario.yml").write_bytes((base / "slow_export.yml").read_bytes())
    with Journal(place.folder / "lane-2" / cut) as journal:
        for event in sample.until_detected(replace(sample.trial(), id=cut, scenario="slow_export")):
            journal(event)
    lines = (place.folder / FILE).read_bytes().splitlines(keepends=True)
    (place.folder / FILE).write_bytes(b"".join(lines[:-2]))
    count = len(lanes.ran)
    list(sweep.run())
    assert len(lanes.ran) == count + 1  # the one that was cut short
    found = {row.trial: row for row in rows(place.folder)}
    assert found[ended].outcome is Outcome.HEALED and found[cut].outcome is Outcome.INVALID
    assert (place.folder / ended / "verdict.json").exists()
    assert not [*place.folder.glob("lane-*/*-slow_export-*")]
    assert {row.cell for row in found.values() if row.measured} == {row.cell for row in before}


def test_a_trial_that_still_runs_is_left_in_its_lane(place: Opened, lanes: Lanes) -> None:
    sweep = Sweep(place=place)
    order = sweep._order(sweep.missing()[0], lane=2)
    folder = place.folder / "lane-2" / order.id
    lanes.run(Lane(results=folder.parent), order.scenario, "--id", order.id, "--seed", "1", "--retriever", "none")
    with Journal(folder), pytest.raises(InputError, match="its trial is still running"):
        list(sweep.run())
    assert folder.exists()
    assert len(list(sweep.run())) == 5


def test_a_sweep_with_trials_in_lanes_alone_is_that_sweep(base: Path, tmp_path: Path) -> None:
    with begun(experiment(), base, tmp_path / "sweep") as place:
        folder = place.folder / "lane-1" / Sweep(place=place)._order(Sweep(place=place).missing()[0]).id
    folder.mkdir(parents=True)
    (folder / "events.jsonl").touch()
    with pytest.raises(InputError, match="holds another sweep"), begun(experiment(seed=2), base, tmp_path / "sweep"):
        pass


def test_a_trial_without_a_verdict_leaves_its_lane_too(place: Opened, lanes: Lanes) -> None:
    sweep = Sweep(place=place)
    order = sweep._order(sweep.missing()[0], lane=1)

    def falls() -> None:
        (place.folder / "lane-1" / order.id).mkdir(parents=True)
        raise ConnectionError("gone")

    lanes.before = falls
    with pytest.raises(ConnectionError):
        machines.run(order)
    assert (place.folder / order.id).exists()
    assert sweep._order(order.cell).id != order.id


def test_lanes_and_a_worker_that_measured_nothing_take_turns(place: Opened, lanes: Lanes) -> None:
    """The one that is alone waits for both lanes, and they for it."""
    sweep = Sweep(place=place)
    first, second, third = sweep.missing()[:3]
    at_work, most = set[str](), list[set[str]]()
    both = threading.Barrier(2)

    def work(asked: dict[str, str]) -> Outcome:
        at_work.add(asked["lane"])
        most.append(set(at_work))
        if asked["lane"] != "sweep":
            both.wait(10)
        threading.Event().wait(0.05)
        at_work.discard(asked["lane"])
        return Outcome.HEALED

    lanes.fate = work
    orders = [sweep._order(first, lane=1), sweep._order(second, lane=2), sweep._order(third)]
    threads = [threading.Thread(target=machines.run, args=[order]) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {"lane-1", "lane-2"} in most
    assert all(each == {"sweep"} for each in most if "sweep" in each)


def test_a_worker_that_joins_meanwhile_is_used(place: Opened, lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_LOOK_S", 0.1)
    together = threading.Barrier(2)
    lanes.before = lambda: together.wait(20)  # broken where the one that joins is not used while another runs
    with machines.machines(None) as there:
        cluster, begin = there._client.cluster, machines.Machines.begin
        assert cluster and there.slots() == 1

        def joins(machines_: machines.Machines, order: machines.Order) -> Any:  # noqa: ANN401 - a future of Dask
            cluster.scale(2)
            return begin(machines_, order)

        monkeypatch.setattr(machines.Machines, "begin", joins)
        list(Sweep(place=place)._run(there, 2))
        assert there.slots() == 2
    assert {row.outcome for row in rows(place.folder)} == {Outcome.HEALED}
    assert len(rows(place.folder)) == 6


def test_without_a_machine_nothing_is_begun_and_that_is_told(
    place: Opened, lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines.Machines, "slots", lambda _: 0)
    with pytest.raises(InputError, match="knows no machine that may run trials"):
        list(Sweep(place=place).run())
    assert lanes.ran == []


# --- the command line ---


def test_by_flags_and_resumed(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    words = [str(base / "slow_export.yml"), "--fixer", "noop", "--repeats", "2", "--no-track", "--slots", "2"]
    lanes.others = lambda asked: 0.0 if asked["--id"].endswith("alone") else 0.35
    done = CliRunner().invoke(command, [*words, "--results", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    why = "one trial at a time: side by side a trial could not be measured: machine was free: no: other work took 35%"
    assert why in done.output
    assert len(of_calibration(lanes)) == 3  # one round was enough
    assert json.loads((tmp_path / "sweep" / slots.FILE).read_text())["allowed"] == 1
    with opened(tmp_path / "sweep") as place:
        assert Sweep(place=place).missing() == []
    (tmp_path / "sweep" / FILE).unlink()
    again = CliRunner().invoke(resume_command, [str(tmp_path / "sweep"), "--no-track"], catch_exceptions=False)
    assert again.exit_code == 0
    assert len(lanes.ran) == 3 + 2


def test_slots_are_of_this_machine(base: Path, tmp_path: Path, lanes: Lanes) -> None:
    words = [str(base / "slow_export.yml"), "--fixer", "noop", "--slots", "2", "--scheduler", "tcp://127.0.0.1:9"]
    with pytest.raises(InputError, match="--slots is for this machine"):
        CliRunner().invoke(command, [*words, "--results", str(tmp_path)], catch_exceptions=False)
    assert not (tmp_path / "sweep").exists()


def test_the_limit_is_five_percent() -> None:
    assert LIMIT == 1.05
