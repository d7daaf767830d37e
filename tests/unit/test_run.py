"""Whole trials in a simulated world: every way in which one can end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from harness.checks.memory import ScriptedCheck
from harness.errors import FixRefused, InputError, LoadNotFlowing, ProposalFailed, ServiceUnavailable
from harness.fixing.scripted import NoopFixer, ScriptedFixer
from harness.leaks.offer import Offer
from harness.leaks.scan import Leak
from harness.load.memory import Quality
from harness.model.busy import Busy
from harness.model.event import (
    AttemptEnded,
    ChecksRan,
    Event,
    FailureLearnt,
    FaultBit,
    IncidentAnalyzed,
    IncidentCreated,
    IncidentResolved,
    MachineWatched,
    PhaseStarted,
    TrialEnded,
    TrialStarted,
    WindowObserved,
)
from harness.model.event import FixRefused as FixWasRefused
from harness.model.fix import Cost, Fix, Flag
from harness.model.incident import Incident, Passage
from harness.model.verdict import CheckResult, Outcome, Verdict
from harness.ports import Fixer
from harness.retrieval.memory import MemoryRetriever
from harness.trial.facts import gathered
from harness.trial.judge import judge
from tests.world import REAL_DEADLINE_S, SECRET, SICK, WEAK, AnsweringFixer, CalledCheck, Simulation, fix, scenario

UP_AND_DOWN = [
    "services up",
    "target up",
    "load up",
    "fault on",
    "fault off",
    "load down",
    "target down",
    "services down",
]
USELESS = fix(WEAK + "# restarted\n", confidence=0.4)


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def outcomes(verdict: Verdict) -> list[str]:
    return [attempt.outcome for attempt in verdict.attempts]


def told(simulation: Simulation) -> list[str]:
    """The types of the events, without the windows that lie between them, and the phases by name."""
    return [
        event.name if isinstance(event, PhaseStarted) else event.type
        for event in simulation.sink.events
        if not isinstance(event, WindowObserved)
    ]


def ended(simulation: Simulation) -> TrialEnded:
    (end,) = (event for event in simulation.sink.events if isinstance(event, TrialEnded))
    assert simulation.sink.events[-1] is end
    return end


# --- healed ---


def test_a_cure_heals() -> None:
    simulation = Simulation(
        ScriptedFixer([fix(confidence=0.8, cost=Cost(tokens_in=100, usd=0.02))]),
        checks=(ScriptedCheck(CheckResult(name="words come", passed=True, evidence="10 of 10")),),
        retriever=MemoryRetriever([Passage(id="db-001", title="No time-out", text="FAULT_SLOW_WORDS", score=1.0)]),
    )
    verdict = simulation.run()
    assert (verdict.outcome, failed(verdict)) == (Outcome.HEALED, [])
    assert verdict.outcome.exit_code == 0
    assert {check.name for check in verdict.checks} >= {"load was honest", "fault still on (memory)", "words come"}
    assert outcomes(verdict) == ["recovered"]
    assert verdict.attempts[0].passages[0].id == "db-001"
    assert (verdict.confidence, verdict.cost.tokens_in, verdict.cost.usd) == (0.8, 100, 0.02)
    assert {signal.kind for signal in verdict.signals} == {"marker", "burn_rate"}
    assert simulation.notes == UP_AND_DOWN
    assert ended(simulation).verdict == verdict
    assert len(ended(simulation).windows) == sum(isinstance(e, WindowObserved) for e in simulation.sink.events)


def test_the_times_count_from_the_injection_and_follow_each_other() -> None:
    verdict = Simulation(ScriptedFixer([fix()])).run()
    times = verdict.times
    moments = [times.detect_s, times.propose_s, times.deploy_s, times.recover_s, times.confirm_s]
    assert all(moment is not None for moment in moments) and times.censored_s is None
    assert [0.0, *moments] == sorted([0.0, *(moment for moment in moments if moment is not None)])
    assert times.confirm_s and times.recover_s is not None
    assert times.confirm_s - times.recover_s == pytest.approx(3.0), (
        "the good windows in a row that the scenario asks for"
    )
    assert verdict.error_budget_burned > 1
    phases = {phase.name: phase for phase in verdict.phases}
    assert all(one.end_s == two.start_s for one, two in itertools.pairwise(verdict.phases))
    assert phases["baseline"].seconds >= 2 and phases["observe"].seconds >= 3


def test_events_tell_the_story_in_order() -> None:
    simulation = Simulation(ScriptedFixer([USELESS, fix()]), checks=(ScriptedCheck(),))
    assert simulation.run().outcome is Outcome.HEALED
    assert told(simulation) == [
        *("TrialStarted", "setup", "warmup", "baseline", "BaselineHeld", "probe", "ChecksRan"),
        *("inject", "FaultInjected", "degrade", "SignalSeen", "IncidentCreated"),
        *("SignalSeen", "FaultBit", "gather"),
        *("analyse", "IncidentAnalyzed", "propose", "FixProposed", "deploy", "Deployed", "observe"),
        *("rollback", "RolledBack", "AttemptEnded"),
        *("analyse", "IncidentAnalyzed", "propose", "FixProposed", "deploy", "Deployed", "observe", "AttemptEnded"),
        *(
            "ChecksRan",
            "FaultsChecked",
            "checks",
            "ChecksRan",
            "FaultsChecked",
            "MachineWatched",
            "teardown",
            "FailureLearnt",
            "IncidentResolved",
            "TrialEnded",
        ),
    ]
    times = [event.at_s for event in simulation.sink.events]
    assert times == sorted(times)
    windows = [event.window for event in simulation.sink.events if isinstance(event, WindowObserved)]
    assert [window.index for window in windows] == list(range(len(windows)))
    started = simulation.sink.events[0]
    assert isinstance(started, TrialStarted) and started.thresholds_ms == {"browse": 300}


def test_what_healed_is_learnt_after_all_is_taken_down_and_only_then() -> None:
    simulation = Simulation(ScriptedFixer([fix()]))
    simulation.run()
    (resolved,) = (event for event in simulation.sink.events if isinstance(event, IncidentResolved))
    (incident,) = (event.incident for event in simulation.sink.events if isinstance(event, IncidentCreated))
    assert simulation.retriever.retrieve(incident, 1)[0].id == resolved.document_id
    unhealed = Simulation(ScriptedFixer([fix()]), checks=(no("words come"),))
    unhealed.run()
    assert "IncidentResolved" not in unhealed.sink.types
    assert unhealed.retriever.retrieve(incident, 1) == ()


def test_what_was_rolled_back_is_learnt_as_what_not_to_do() -> None:
    simulation = Simulation(ScriptedFixer([USELESS]))
    assert simulation.run().outcome is Outcome.NOT_HEALED
    (learnt,) = (event for event in simulation.sink.events if isinstance(event, FailureLearnt))
    (incident,) = (event.incident for event in simulation.sink.events if isinstance(event, IncidentCreated))
    (passage,) = simulation.retriever.retrieve(incident, 1)
    assert (passage.id, passage.helped, learnt.attempt) == (learnt.document_id, False, 1)


class Forgetful(MemoryRetriever):
    """Cannot learn what did not help, or what did."""

    def __init__(self, *, failures: bool, error: Exception) -> None:
        super().__init__()
        self._failures, self._error = failures, error

    def learn(self, incident: Incident, fix: Fix, *, failed: str = "") -> str:
        if bool(failed) is self._failures:
            raise self._error
        return super().learn(incident, fix, failed=failed)


@pytest.mark.parametrize(
    "error", [ServiceUnavailable("the service is gone"), OSError("the disk is full"), KeyError("a defect of theirs")]
)
@pytest.mark.parametrize("failures", [True, False])
def test_an_attempt_that_cannot_be_learnt_keeps_no_other_from_it(
    failures: bool, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = Simulation(
        ScriptedFixer([USELESS, fix()]), retriever=Forgetful(failures=failures, error=error), checks=(ScriptedCheck(),)
    )
    assert simulation.run().outcome is Outcome.HEALED
    types = [name for name in simulation.sink.types if name in ("FailureLearnt", "IncidentResolved", "TrialEnded")]
    assert types == [*([] if failures else ["FailureLearnt"]), "IncidentResolved", "TrialEnded"]
    (resolved,) = (event for event in simulation.sink.events if isinstance(event, IncidentResolved))
    assert bool(resolved.document_id) is failures
    assert str(error) in caplog.text


def no(name: str) -> ScriptedCheck:
    return ScriptedCheck(CheckResult(name=name, passed=False, evidence="0 of 10"))


# --- not healed ---


def test_doing_nothing_does_not_heal_and_is_watched_to_the_horizon() -> None:
    simulation = Simulation(NoopFixer())
    verdict = simulation.run()
    assert (verdict.outcome, outcomes(verdict)) == (Outcome.NOT_HEALED, ["abstained"])
    assert failed(verdict)[0] == "recovered" and "the no-op fixer always abstains" in verdict.reason
    times = verdict.times
    assert times.recover_s is times.confirm_s is times.deploy_s is None
    assert times.detect_s is not None and times.censored_s is not None
    horizon_s = simulation.scenario.recovery.horizon_s
    assert horizon_s < times.censored_s - times.detect_s < horizon_s + 2 * simulation.scenario.recovery.window_s
    assert verdict.confidence is None and simulation.notes == UP_AND_DOWN


def test_an_outage_that_ends_by_itself_after_an_abstention_is_no_measure() -> None:
    simulation = Simulation(NoopFixer())
    simulation.serves = lambda: SICK if simulation.fault.on and simulation.clock.now() < 15 else {}
    verdict = invalid(simulation, "the outage ended by itself")
    assert verdict.times.recover_s is None and outcomes(verdict) == ["abstained"]


def test_a_fix_that_does_not_help_is_rolled_back_and_the_next_attempt_is_told() -> None:
    fixer = AnsweringFixer(USELESS, USELESS, USELESS, fix())
    simulation = Simulation(fixer, scenario=scenario(recovery={**RECOVERY, "horizon": 60}))
    verdict = simulation.run()
    assert (verdict.outcome, outcomes(verdict)) == (Outcome.NOT_HEALED, ["not_recovered"] * 3)
    assert "deployed, but not recovered" in verdict.reason
    assert simulation.target.source().files["app.py"] == WEAK
    assert [attempt.number for attempt in fixer.told[2][3]] == [1, 2]
    assert fixer.told[1][3][0].reason.startswith("deployed, but not recovered: ")
    assert fixer.told[1][2].files["app.py"] == WEAK, "the second attempt starts from what was there before the first"
    assert verdict.confidence == 0.4


RECOVERY = {"window": 1, "consecutive": 3, "minRequests": 20, "biteWithin": 5, "observe": 6, "horizon": 20}


def test_attempts_end_with_the_horizon() -> None:
    simulation = Simulation(AnsweringFixer(*[USELESS] * 9), scenario=scenario(budget={"attempts": 9, "fixer": 8}))
    verdict = simulation.run()
    assert verdict.outcome is Outcome.NOT_HEALED
    assert 2 <= len(verdict.attempts) < 9
    last = verdict.phases[-1]
    assert last.end_s < simulation.sink.events[-1].at_s + 1
    assert verdict.times.censored_s and verdict.times.censored_s < 20 + 6 + 5


def test_a_failing_hidden_check_is_no_heal() -> None:
    verdict = Simulation(ScriptedFixer([fix(confidence=0.9)]), checks=(no("each order once"),)).run()
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_HEALED, "each order once: no: 0 of 10")
    assert outcomes(verdict) == ["recovered"] and verdict.times.recover_s is None
    assert verdict.confidence == 0.9


def test_shedding_users_is_no_heal() -> None:
    simulation = Simulation(ScriptedFixer([fix()]))
    simulation.serves = lambda: (
        {"buy": Quality(failed=1.0)} if simulation.cured else SICK if simulation.fault.on else {}
    )
    verdict = simulation.run()
    assert (verdict.outcome, failed(verdict)) == (Outcome.NOT_HEALED, ["throughput kept", "route buy kept"])


def test_a_relapse_is_no_heal() -> None:
    simulation = Simulation(ScriptedFixer([fix()]))
    cured_at_s: list[float] = []

    def relapsing() -> Mapping[str, Quality]:
        if not simulation.cured:
            return SICK if simulation.fault.on else {}
        cured_at_s.append(simulation.clock.now())
        return {} if len(cured_at_s) <= 3 else SICK

    def check() -> Sequence[CheckResult]:
        simulation.think(4)
        return ()

    simulation.serves, simulation.checks = relapsing, (CalledCheck(check),)
    verdict = simulation.run()
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "no-relapse")
    assert outcomes(verdict) == ["recovered"]


def test_what_nobody_notices_is_not_detected() -> None:
    simulation = Simulation(
        ScriptedFixer([fix()]), scenario=scenario(detection={"markers": True, "burnRate": None, "within": 4}), says=""
    )
    verdict = simulation.run()
    assert (verdict.outcome, verdict.attempts, verdict.signals) == (Outcome.NOT_DETECTED, (), ())
    assert verdict.times.detect_s is None and verdict.times.censored_s is not None
    assert "FaultBit" in simulation.sink.types and "IncidentCreated" not in simulation.sink.types
    assert simulation.notes == UP_AND_DOWN


# --- detected ---


@pytest.mark.parametrize(("markers", "burn_rate", "kinds"), [(True, None, ["marker"]), (False, {}, ["burn_rate"])])
def test_each_signal_is_enough(markers: bool, burn_rate: object, kinds: list[str]) -> None:
    simulation = Simulation(
        ScriptedFixer([fix()]), scenario=scenario(detection={"markers": markers, "burnRate": burn_rate, "gather": 1})
    )
    verdict = simulation.run()
    assert verdict.outcome is Outcome.HEALED
    assert [signal.kind for signal in verdict.signals] == kinds


def test_a_marker_from_before_the_fault_is_no_signal() -> None:
    simulation = Simulation(NoopFixer(), scenario=scenario(detection={"burnRate": None, "within": 4}), says="")
    simulation.look = lambda: (
        simulation.target.say("FAULT_OF_YESTERDAY") if phase(simulation).name == "baseline" else None
    )
    assert simulation.run().outcome is Outcome.NOT_DETECTED


def test_evidence_grows_until_the_fixer_is_asked_and_between_attempts() -> None:
    fixer = AnsweringFixer(USELESS, fix())
    simulation = Simulation(fixer)
    simulation.run()
    (created,) = (event.incident for event in simulation.sink.events if isinstance(event, IncidentCreated))
    first, second = (incident for incident, *_ in fixer.told)
    assert created.id == first.id == second.id == "inc-7f3a"
    assert created.detected_at == first.detected_at == second.detected_at
    assert len(created.logs) < len(first.logs) < len(second.logs)
    assert "slow_words" not in repr(first) and "POST /fault" not in repr(first) and "memory" not in repr(first)


# --- a fixer that misbehaves loses its attempt, not the trial ---


def crash() -> Fix:
    raise ZeroDivisionError("division by zero")


MISBEHAVIOUR = {
    "refused by the guard": (fix("ON = False\n", path="faults.py"), "refused", "faults.py is protected"),
    "changes nothing": (fix(WEAK), "refused", "the fix changes nothing"),
    "no proposal": (ProposalFailed("quota used up", cure="wait"), "failed", "quota used up"),
    "refuses": (FixRefused("not like this", rule="own"), "failed", "not like this"),
    "times out by itself": (TimeoutError(), "failed", "timed out"),
    "crashes": (crash, "failed", "the fixer crashed: ZeroDivisionError: division by zero"),
    "exits": (SystemExit(0), "failed", "the fixer crashed: SystemExit: 0"),
    "gives nothing": (None, "failed", "the fixer crashed: TypeError"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "outcome", "reason"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
def test_a_bad_answer_costs_the_attempt(answer: object, outcome: str, reason: str) -> None:
    fixer = AnsweringFixer(answer, fix())  # type: ignore[arg-type] # the values of a dict have no common type
    simulation = Simulation(fixer)
    verdict = simulation.run()
    assert (verdict.outcome, outcomes(verdict)) == (Outcome.HEALED, [outcome, "recovered"])
    assert reason in verdict.attempts[0].reason
    (earlier,) = fixer.told[1][3]
    assert (earlier.number, earlier.outcome, earlier.reason) == (1, outcome, verdict.attempts[0].reason)
    (refused,) = (event for event in simulation.sink.events if isinstance(event, FixWasRefused))
    assert (refused.attempt, refused.reason) == (1, earlier.reason)
    assert [event.attempt for event in simulation.sink.events if isinstance(event, AttemptEnded)] == list(
        verdict.attempts
    )


def test_a_fixer_that_never_answers_loses_its_attempt_when_its_budget_is_used_up() -> None:
    never = threading.Event()

    def stuck() -> Fix:
        simulation.think(9)
        never.wait()
        return fix()

    simulation = Simulation(AnsweringFixer(stuck, fix()))
    try:
        verdict = simulation.run()
    finally:
        never.set()
    assert (verdict.outcome, outcomes(verdict)) == (Outcome.HEALED, ["failed", "recovered"])
    assert "the fixer took longer than 8 s" in verdict.attempts[0].reason
    assert simulation.notes == UP_AND_DOWN


def test_a_fixer_gets_no_more_time_than_the_horizon_leaves() -> None:
    never = threading.Event()

    def stuck() -> Fix:
        simulation.think(25)
        never.wait()
        return fix()

    simulation = Simulation(AnsweringFixer(stuck), scenario=scenario(budget={"attempts": 3, "fixer": 500}))
    try:
        verdict = simulation.run()
    finally:
        never.set()
    assert (verdict.outcome, outcomes(verdict)) == (Outcome.NOT_HEALED, ["failed"])
    assert "raise budget.fixer or recovery.horizon" in verdict.attempts[0].reason


def test_users_are_watched_while_the_fixer_thinks_and_its_time_is_its_cost() -> None:
    def thinking() -> Fix:
        simulation.think(5)
        return fix()

    simulation = Simulation(AnsweringFixer(thinking))
    verdict = simulation.run()
    assert verdict.outcome is Outcome.HEALED
    assert 5 <= verdict.cost.seconds <= 6
    start, end = next((phase.start_s, phase.end_s) for phase in verdict.phases if phase.name == "propose")
    seen = [e.window for e in simulation.sink.events if isinstance(e, WindowObserved) and start < e.window.end_s <= end]
    assert len(seen) == 5 and all(window.bad for window in seen)


def test_a_canary_that_fails_costs_the_attempt() -> None:
    simulation = Simulation(ScriptedFixer([USELESS, fix()]))

    def canary(tree: object) -> None:
        simulation.target.canary = lambda tree: None
        raise FixRefused("the canary did not get healthy", rule="canary", cure="make it start")

    simulation.target.canary = canary
    verdict = simulation.run()
    assert (verdict.outcome, outcomes(verdict)) == (Outcome.HEALED, ["canary_failed", "recovered"])
    assert verdict.attempts[0].deployment is None and verdict.confidence is None
    (refused,) = (event for event in simulation.sink.events if isinstance(event, FixWasRefused))
    assert (refused.rule, refused.attempt) == ("canary", 1)
    assert "RolledBack" not in simulation.sink.types


def test_the_passages_found_are_those_told_of() -> None:
    fixer = AnsweringFixer(fix())
    passages = [Passage(id=f"p{number}", title="", text="", score=0.0) for number in range(9)]
    simulation = Simulation(fixer, retriever=MemoryRetriever(passages))
    simulation.run()
    (analyzed,) = (event for event in simulation.sink.events if isinstance(event, IncidentAnalyzed))
    assert analyzed.query == "FAULT_SLOW_WORDS"
    assert analyzed.passages == fixer.told[0][1] and len(analyzed.passages) == 5


# --- what could not be measured ---


def test_what_else_the_machine_was_at_is_told_and_voids_the_trial() -> None:
    busy = (Busy(start_s=1.0, end_s=2.0, others=0.6),)
    simulation = Simulation(AnsweringFixer(fix()), busy=busy)
    verdict = simulation.run()
    assert [event.busy for event in simulation.sink.events if isinstance(event, MachineWatched)] == [busy]
    assert (verdict.outcome, verdict.rule) == (Outcome.INVALID, "machine-was-free")


def invalid(simulation: Simulation, *words: str) -> Verdict:
    verdict = simulation.run()
    assert verdict.outcome is Outcome.INVALID and verdict.outcome.exit_code == 3
    assert all(word in verdict.reason for word in words), verdict.reason
    assert ended(simulation).verdict == verdict
    assert "IncidentResolved" not in simulation.sink.types
    assert simulation.notes[-1] == "services down"
    assert sorted(note.split()[0] for note in simulation.notes if note.split()[1] in ("up", "on")) == sorted(
        note.split()[0] for note in simulation.notes if note.split()[1] in ("down", "off")
    )
    return verdict


def test_slos_that_do_not_hold_before_the_fault() -> None:
    simulation = Simulation(NoopFixer(), serves=lambda: SICK)
    verdict = invalid(simulation, "the SLOs do not hold before the fault (browse-fast", "lower load.arrivals.rate")
    assert [phase.name for phase in verdict.phases] == ["setup", "warmup", "baseline", "abandon"]
    assert "fault on" not in simulation.notes


def test_a_baseline_may_need_some_patience() -> None:
    simulation = Simulation(ScriptedFixer([fix()]))
    early = itertools.count()
    simulation.serves = lambda: SICK if next(early) < 4 or (simulation.fault.on and not simulation.cured) else {}
    assert simulation.run().outcome is Outcome.HEALED


def test_the_warm_up_is_no_part_of_the_baseline() -> None:
    verdict = Simulation(ScriptedFixer([fix()]), scenario=scenario(steadyState={"warmup": 4, "hold": 3})).run()
    assert {phase.name: phase.end_s for phase in verdict.phases}["baseline"] >= 7


def test_too_few_requests() -> None:
    simulation = Simulation(NoopFixer(), scenario=scenario(recovery={**RECOVERY, "minRequests": 500}))
    invalid(simulation, "(minRequests")


def test_no_load_at_all() -> None:
    load = {
        "arrivals": {"rate": 0.001, "process": "constant"},
        "routes": [{"name": "browse", "weight": 1, "request": "GET /"}],
    }
    invalid(Simulation(NoopFixer(), scenario=scenario(load=load)), "no request was sent")


def test_a_load_that_shows_no_window() -> None:
    simulation = Simulation(NoopFixer(), scenario=scenario(recovery={**RECOVERY, "window": 3600, "observe": 20000}))
    invalid(simulation, "no window of load was seen")


def test_a_fault_that_nobody_feels() -> None:
    simulation = Simulation(NoopFixer(), serves=dict)
    invalid(simulation, "the fault was on for 5 s and the SLOs held")
    assert simulation.notes == UP_AND_DOWN


def test_a_marker_does_not_stand_in_for_harm() -> None:
    simulation = Simulation(ScriptedFixer([fix()]), serves=dict)
    simulation.look = lambda: simulation.target.say("FAULT_SLOW_WORDS") if simulation.fault.on else None
    invalid(simulation, "the SLOs held")
    assert "IncidentCreated" in simulation.sink.types and "FixProposed" not in simulation.sink.types


@pytest.mark.parametrize("when", ["baseline", "degrade", "propose", "observe", "checks"])
def test_a_load_that_dies(when: str) -> None:
    """Once code of a fix has run, that counts against the fixer: else it could void its own failure."""
    simulation = Simulation(
        AnsweringFixer(lambda: thought(simulation)), checks=(CalledCheck(lambda: waited(simulation)),)
    )
    simulation.look = lambda: dies(simulation, when, LoadNotFlowing("the load generator ended with code -9"))
    if when in ("observe", "checks"):
        verdict = simulation.run()
        assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "not-measured-after-the-fix")
    else:
        verdict = invalid(simulation, "the load generator ended with code -9")
    assert "the load generator ended with code -9" in verdict.reason


def thought(simulation: Simulation) -> Fix:
    simulation.think(2)
    return fix()


def waited(simulation: Simulation) -> Sequence[CheckResult]:
    simulation.think(2)
    return ()


def dies(simulation: Simulation, name: str, error: BaseException) -> None:
    """Raise once the trial has been in the phase for a while."""
    now = phase(simulation)
    if now.name == name and simulation.clock.now() > now.at_s + 0.5:
        raise error


def phase(simulation: Simulation) -> PhaseStarted:
    return [event for event in simulation.sink.events if isinstance(event, PhaseStarted)][-1]


def test_a_fault_that_went_off_once_the_fix_ran_is_the_fixs_doing() -> None:
    simulation = Simulation(ScriptedFixer([fix()]))

    def serves() -> dict[str, Quality]:
        simulation.fault.on = simulation.fault.on and "Deployed" not in simulation.sink.types
        return SICK if simulation.fault.on else {}

    simulation.serves = serves
    verdict = simulation.run()
    assert (verdict.outcome, failed(verdict)) == (Outcome.NOT_HEALED, ["fault still on (memory)"])
    assert outcomes(verdict) == ["recovered"]


def test_a_check_that_takes_the_fault_away_has_to_put_it_back() -> None:
    """It is looked at once more after the checks: what was seen before may have been the last of the old release."""

    def switched_off() -> Sequence[CheckResult]:
        simulation.fault.on = False
        return ()

    simulation = Simulation(ScriptedFixer([fix()]), checks=(CalledCheck(switched_off),))
    assert simulation.run().rule == "fault-still-on-memory"

    def switched_off_and_on() -> Sequence[CheckResult]:
        switched_off()
        simulation.fault.on = True
        return ()

    simulation = Simulation(ScriptedFixer([fix()]), checks=(CalledCheck(switched_off_and_on),))
    assert simulation.run().outcome is Outcome.HEALED


def test_a_fault_that_went_off_before_any_fix_ran() -> None:
    simulation = Simulation(AnsweringFixer(lambda: abstained(simulation)))
    simulation.serves = lambda: SICK if "FaultInjected" in simulation.sink.types else {}
    invalid(simulation, "fault still on (memory): no: on is False")


def abstained(simulation: Simulation) -> Fix:
    simulation.fault.on = False
    return Fix(root_cause="nothing seems to be wrong")


def test_an_outage_that_ended_before_the_fix_was_deployed() -> None:
    def late() -> Fix:
        simulation.think(6)
        return fix()

    simulation = Simulation(AnsweringFixer(late))
    simulation.serves = blip(simulation)
    invalid(simulation, "the outage ended by itself before the fix was deployed")
    assert "Deployed" not in simulation.sink.types


def test_an_outage_that_ended_while_evidence_was_gathered() -> None:
    def late() -> Fix:
        simulation.think(2)
        return fix()

    simulation = Simulation(AnsweringFixer(late), scenario=scenario(detection={"within": 5, "gather": 3}))
    simulation.serves = blip(simulation)
    invalid(simulation, "the outage ended by itself before the fix was deployed")


def test_an_outage_that_ended_across_attempts_that_never_went_live() -> None:
    def late(proposal: Fix) -> Fix:
        simulation.think(2)
        return proposal

    protected = fix("ON = False\n", path="faults.py")
    simulation = Simulation(AnsweringFixer(lambda: late(protected), lambda: late(fix())))
    simulation.serves = blip(simulation)
    invalid(simulation, "the outage ended by itself before the fix was deployed")


def blip(simulation: Simulation) -> Callable[[], Mapping[str, Quality]]:
    """An outage of four windows, whatever is done."""
    windows = itertools.count()
    return lambda: SICK if simulation.fault.on and next(windows) < 4 else {}


def test_a_service_that_cannot_be_had() -> None:
    simulation = Simulation(NoopFixer())
    simulation.look = lambda: dies(simulation, "warmup", ServiceUnavailable("PostgreSQL is gone", cure="start it"))
    invalid(simulation, "PostgreSQL is gone", "start it")


def test_where_a_fault_cannot_be_switched_off_nothing_is_learnt() -> None:
    def stays() -> None:
        raise ServiceUnavailable("the upstream could not be switched")

    simulation = Simulation(ScriptedFixer([fix()]))
    simulation.fault.leaving = stays
    verdict = simulation.run()
    assert verdict.rule == "not-measured-after-the-fix" and "could not be switched" in verdict.reason
    assert "IncidentResolved" not in simulation.sink.types
    assert simulation.notes == UP_AND_DOWN and verdict.phases[-1].name == "teardown"


# --- faults at their time ---


def test_faults_are_switched_on_at_their_times_and_all_have_time_to_bite() -> None:
    later = {"action": "http", "request": "POST /fault", "rate": 2, "at": "9s"}
    simulation = Simulation(NoopFixer(), scenario=scenario(method=[{**later, "at": "3s"}, later]), serves=dict)
    invalid(simulation, "the fault was on for 5 s")
    assert simulation.notes.count("fault on") == simulation.notes.count("fault off") == 2
    inject = next(
        phase for phase in simulation.sink.events if isinstance(phase, PhaseStarted) and phase.name == "inject"
    )
    degrade = next(
        phase for phase in simulation.sink.events if isinstance(phase, PhaseStarted) and phase.name == "degrade"
    )
    assert degrade.at_s - inject.at_s == pytest.approx(9, abs=0.1)
    assert simulation.clock.now() - degrade.at_s > 5, "the last one, too, has its time to bite"


def test_times_count_from_when_the_first_fault_was_switched_on() -> None:
    later = {"action": "http", "request": "POST /fault", "rate": 2, "at": "6s"}
    verdict = Simulation(ScriptedFixer([fix()]), scenario=scenario(method=[later])).run()
    assert verdict.outcome is Outcome.HEALED
    assert verdict.times.detect_s is not None and verdict.times.detect_s < 3


# --- Ctrl-C ---


@pytest.mark.parametrize("when", ["warmup", "degrade", "propose", "observe"])
def test_ctrl_c_takes_everything_down_and_is_raised_on(when: str) -> None:
    simulation = Simulation(AnsweringFixer(lambda: thought(simulation)))
    simulation.look = lambda: dies(simulation, when, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        simulation.run()
    assert simulation.sink.types[-1] == "TrialInterrupted" and "TrialEnded" not in simulation.sink.types
    assert simulation.notes == [note for note in UP_AND_DOWN if when != "warmup" or not note.startswith("fault")]


def test_ctrl_c_is_not_lost_when_the_teardown_fails() -> None:
    def stays() -> None:
        raise ServiceUnavailable("the upstream could not be switched") from None

    simulation = Simulation(NoopFixer())
    simulation.fault.leaving = stays
    simulation.look = lambda: dies(simulation, "degrade", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        simulation.run()
    assert simulation.sink.types[-1] == "TrialInterrupted"
    assert simulation.notes == UP_AND_DOWN


def test_who_interrupts_while_the_first_event_is_being_told_is_told_of_too() -> None:
    simulation = Simulation(ScriptedFixer([fix()]))
    kept = simulation.sink

    def emit(event: Event) -> None:
        kept(event)
        if isinstance(event, TrialStarted):
            raise KeyboardInterrupt

    simulation.emit = emit
    with pytest.raises(KeyboardInterrupt):
        simulation.run()
    assert simulation.sink.types == ["TrialStarted", "TrialInterrupted"]


def test_a_users_mistake_is_raised_on_after_everything_is_taken_down() -> None:
    simulation = Simulation(NoopFixer())
    simulation.look = lambda: dies(simulation, "baseline", InputError("the patch does not apply"))
    with pytest.raises(InputError):
        simulation.run()
    assert simulation.notes[-3:] == ["load down", "target down", "services down"]


def test_the_bite_is_told_with_its_evidence() -> None:
    simulation = Simulation(ScriptedFixer([fix()]))
    verdict = simulation.run()
    (bit,) = (event for event in simulation.sink.events if isinstance(event, FaultBit))
    assert bit.evidence.startswith("browse-fast broken: ") and " of 80 arrivals bad in 2 windows" in bit.evidence
    evidence = next(check.evidence for check in verdict.checks if check.name == "fault bit")
    assert evidence.startswith(f"{bit.evidence}; bad 0.0% before, ")


# --- the review ---


VETO = Flag(rule="removed-route", severity="veto", path="app.py", line=3, message="the route /words is gone")


def test_a_veto_keeps_a_patch_from_ever_running() -> None:
    simulation = Simulation(AnsweringFixer(fix(), fix(), fix()), review=lambda before, after: (VETO,))
    verdict = simulation.run()
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "review.removed-route")
    assert outcomes(verdict) == ["vetoed"] * 3 and verdict.attempts[0].flags == (VETO,)
    assert "Deployed" not in simulation.sink.types and "the route /words is gone" in verdict.reason
    refused = [event.rule for event in simulation.sink.events if isinstance(event, FixWasRefused)]
    assert refused == ["review.removed-route"] * 3


def test_a_warning_is_told_and_stops_nobody() -> None:
    warning = replace(VETO, severity="warning")
    verdict = Simulation(ScriptedFixer([fix()]), review=lambda before, after: (warning,)).run()
    assert (verdict.outcome, verdict.attempts[0].flags) == (Outcome.HEALED, (warning,))


# --- hidden checks before and during the outage ---


def test_a_check_that_a_sound_app_fails_makes_the_trial_invalid_before_any_fault() -> None:
    before = CalledCheck(lambda: (CheckResult(name="pages", passed=False, evidence="none"),), moment="before")
    simulation = Simulation(ScriptedFixer([fix()]), checks=(before,))
    verdict = simulation.run()
    assert (verdict.outcome, verdict.rule) == (Outcome.INVALID, "not-measured")
    assert "a hidden check failed before the fault: pages: none" in verdict.reason
    assert "FaultInjected" not in simulation.sink.types


def test_checks_during_the_outage_cost_the_fixer_no_time_and_decide_nothing() -> None:
    asked = threading.Event()

    def during() -> Sequence[CheckResult]:
        assert asked.wait(REAL_DEADLINE_S), "the fixer waits for the check"
        return (CheckResult(name="orders", passed=False, evidence="an outage"),)

    def answer() -> Fix:
        asked.set()
        return fix()

    check = CalledCheck(during, moment="during")
    simulation = Simulation(AnsweringFixer(answer), checks=(check,))
    assert simulation.run().outcome is Outcome.HEALED
    ran = [event for event in simulation.sink.events if isinstance(event, ChecksRan) and event.results]
    assert [(event.moment, event.results[0].name) for event in ran] == [("during", "orders")]


# --- the withdrawal ---


@pytest.mark.parametrize("lasting", [True, False])
def test_a_withdrawn_fix_shows_whether_the_fault_was_still_there(lasting: bool) -> None:
    simulation = Simulation(ScriptedFixer([fix()]), withdraw=True)
    healed: list[bool] = []

    def serves() -> Mapping[str, Quality]:
        healed.append(simulation.cured)
        gone = not lasting and any(healed)
        return SICK if simulation.fault.on and not simulation.cured and not gone else {}

    simulation.serves = serves
    verdict = simulation.run()
    assert verdict.efficacy and verdict.efficacy.harm_returned is lasting
    assert verdict.rule == ("recovered" if lasting else "harm-returns-without-the-fix")
    assert verdict.outcome is (Outcome.HEALED if lasting else Outcome.INVALID)


# --- controls ---

CONTROL = {"name": "quiet", "title": "Nothing is wrong", "control": True}


def quiet(fixer: Fixer) -> Simulation:
    spec = scenario(metadata=CONTROL, method=[], detection={"gather": 1, "page": 2})
    return Simulation(fixer, scenario=spec, serves=dict)


def test_in_a_control_who_abstains_is_right() -> None:
    simulation = quiet(NoopFixer())
    verdict = simulation.run()
    assert (verdict.outcome, outcomes(verdict)) == (Outcome.LEFT_ALONE, ["abstained"])
    assert [signal.kind for signal in verdict.signals] == ["page"]
    (created,) = (event.incident for event in simulation.sink.events if isinstance(event, IncidentCreated))
    assert created.error_code == "REPORTED" and "a customer says" in created.symptoms


def test_in_a_control_any_patch_is_a_false_alarm_and_never_runs() -> None:
    simulation = quiet(AnsweringFixer(fix()))
    verdict = simulation.run()
    assert (verdict.outcome, verdict.rule) == (Outcome.FALSE_ALARM, "nothing-was-mended")
    assert len(verdict.attempts) == 1 and "Deployed" not in simulation.sink.types


def test_a_blip_passes_by_itself() -> None:
    spec = scenario(metadata=CONTROL, detection={"gather": 1})
    simulation = Simulation(NoopFixer(), scenario=spec)
    simulation.serves = lambda: SICK if simulation.fault.on and simulation.clock.now() < 12 else {}
    verdict = simulation.run()
    assert verdict.outcome is Outcome.LEFT_ALONE and verdict.efficacy and verdict.efficacy.ended_by_itself
    lasting = Simulation(NoopFixer(), scenario=spec).run()
    assert (lasting.outcome, lasting.rule) == (Outcome.INVALID, "ended-by-itself")


# --- confidence ---


@pytest.mark.parametrize(("stated", "least", "tried"), [(0.4, 0.5, False), (0.5, 0.5, True), (None, 0.1, False)])
def test_what_is_too_unsure_is_not_deployed(stated: float | None, least: float, tried: bool) -> None:
    simulation = Simulation(ScriptedFixer([fix(confidence=stated)]), scenario=scenario(budget={"minConfidence": least}))
    verdict = simulation.run()
    assert ("Deployed" in simulation.sink.types) is tried
    assert verdict.combined_confidence == verdict.confidence == stated, "nothing was found that could be asked too"
    assert verdict.outcome is (Outcome.HEALED if tried else Outcome.NOT_HEALED)
    assert tried or (verdict.rule, outcomes(verdict)) == ("low-confidence", ["abstained"])


def test_in_a_control_a_patch_that_is_held_back_is_no_false_alarm() -> None:
    spec = scenario(metadata=CONTROL, method=[], detection={"gather": 1, "page": 2}, budget={"minConfidence": 0.5})
    unsure, sure = (
        Simulation(AnsweringFixer(fix(confidence=stated)), scenario=spec, serves=dict).run() for stated in (0.4, 0.9)
    )
    assert (unsure.outcome, sure.outcome) == (Outcome.LEFT_ALONE, Outcome.FALSE_ALARM)


class AwayRetriever(MemoryRetriever):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        raise self._error


@pytest.mark.parametrize("error", [ServiceUnavailable(f"no answer, key {SECRET}"), TimeoutError("30 s")])
def test_a_fixer_may_do_without_memory_and_the_record_says_that_it_had_to(error: Exception) -> None:
    simulation = Simulation(ScriptedFixer([fix()]), retriever=AwayRetriever(error))
    verdict = simulation.run()
    assert verdict.outcome is Outcome.HEALED
    (attempt,) = verdict.attempts
    assert attempt.passages == () and attempt.retrieval_failed and SECRET not in attempt.retrieval_failed
    (told,) = (event for event in simulation.sink.events if isinstance(event, IncidentAnalyzed))
    assert told.failed == attempt.retrieval_failed


def test_the_retriever_has_a_say() -> None:
    simulation = Simulation(ScriptedFixer([fix(confidence=0.9)]), scenario=scenario(budget={"minConfidence": 0.5}))
    simulation.retriever = MemoryRetriever([Passage(id=f"p{n}", title="", text="", score=1.0) for n in range(5)])
    verdict = simulation.run()
    assert (verdict.retriever_confidence, verdict.rule) == (0.2, "low-confidence")
    assert verdict.combined_confidence == pytest.approx((0.9 * 0.2) ** 0.5)


# --- the journal alone ---


def test_the_events_alone_give_the_same_verdict() -> None:
    for fixer in (ScriptedFixer([USELESS, fix()]), NoopFixer(), ScriptedFixer([fix("x = (\n")])):
        simulation = Simulation(fixer, checks=(no("words come"),))
        verdict = simulation.run()
        end = ended(simulation)
        assert judge(simulation.scenario, gathered(simulation.sink.events, ended_s=end.at_s)) == verdict


# --- no leak ---


def leak(offer: Offer) -> Sequence[Leak]:
    return [Leak(kind="name of a check", where="logs", line=1, text="test_words")]


def test_an_answer_that_leaks_before_any_fix_makes_the_trial_invalid() -> None:
    simulation = Simulation(AnsweringFixer(fix()), leaks=leak)
    invalid(simulation, "the answer leaked: ")
    assert "FixProposed" not in simulation.sink.types and "test_words" not in ended(simulation).verdict.reason


def test_once_a_fix_has_run_a_leak_costs_the_attempt() -> None:
    """A fix can print what it likes into the log: it must not void its trial by that."""
    simulation = Simulation(AnsweringFixer(USELESS, fix()))
    simulation.leaks = lambda offer: leak(offer) if "Deployed" in simulation.sink.types else ()
    verdict = simulation.run()
    assert verdict.outcome is Outcome.NOT_HEALED
    assert [attempt.rule for attempt in verdict.attempts] == ["", "leak", "leak"]


def test_once_a_canary_has_run_a_leak_costs_the_attempt() -> None:
    """What it printed before it failed is told to the fixer, and may be the answer."""
    simulation = Simulation(AnsweringFixer(USELESS, fix()))

    def canary(_tree: object) -> None:
        raise FixRefused("the canary printed test_words", rule="canary")

    simulation.target.canary = canary
    simulation.leaks = lambda offer: leak(offer) if "AttemptEnded" in simulation.sink.types else ()
    verdict = simulation.run()
    assert verdict.outcome is Outcome.NOT_HEALED
    assert [attempt.rule for attempt in verdict.attempts] == ["canary", "leak", "leak"]


def test_secrets_reach_neither_fixer_nor_record() -> None:
    fixer = AnsweringFixer(USELESS, fix())
    simulation = Simulation(fixer, says=f"ERROR cannot sign in with {SECRET}")
    simulation.run()
    assert "cannot sign in with [redacted" in repr(fixer.told[0][0].logs)
    assert SECRET not in repr(fixer.told) and SECRET not in repr(simulation.sink.events)


class Prompting(AnsweringFixer):
    def prompt(self, *given: object) -> str:
        return f"{len(given)} things: mend it"


def test_the_prompt_is_searched_and_kept_before_it_is_sent() -> None:
    seen: list[bytes] = []

    def look(offer: Offer) -> Sequence[Leak]:
        seen.extend(blob.data for blob in offer if blob.name == "prompt")
        return ()

    simulation = Simulation(Prompting(fix()), leaks=look)
    assert simulation.run().outcome is Outcome.HEALED
    assert seen == [b"4 things: mend it"] and "prompt 1: 4 things: mend it" in simulation.notes
