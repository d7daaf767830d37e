"""From facts to a verdict, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.model.busy import Busy
from harness.model.fix import Attempt, AttemptOutcome, Cost, Fix, Flag, Severity, WriteFile
from harness.model.incident import Signal
from harness.model.source import Deployment
from harness.model.verdict import CheckResult, Efficacy, Outcome, Phase, Trial, Verdict
from harness.model.window import RouteWindow, Window
from harness.trial.facts import Facts
from harness.trial.judge import judge
from tests.world import scenario

TRIAL = Trial(
    id="t-1",
    scenario="slow_words",
    scenario_hash="9f",
    fixer="scripted",
    model="",
    retriever="memory",
    seed=1,
    commit="c391f1a",
    started_at="2026-11-07T12:00:00Z",
)
STILL_ON = CheckResult(name="fault still on (memory)", passed=True, evidence="on is True")
RECOVERED_AT = 16


def window(index: int, *, bad: int = 0, buy_wrong: int = 0, lag_ms: float = 1.0) -> Window:
    """A second of 30 browsing and 10 buying."""
    routes = {"browse": RouteWindow(ok=30 - bad, failed=bad), "buy": RouteWindow(ok=10 - buy_wrong, failed=buy_wrong)}
    return Window(index=index, start_s=float(index), end_s=index + 1.0, routes=routes, lag_p99_ms=lag_ms)


def attempt(number: int, outcome: AttemptOutcome, *, confidence: float | None = None, live: bool = True) -> Attempt:
    return Attempt(
        number=number,
        outcome=outcome,
        reason=f"because of {outcome}\nand more",
        fix=Fix(
            root_cause="it waits",
            edits=(WriteFile(path="app.py", content=""),),
            confidence=confidence,
            cost=Cost(seconds=2, tokens_in=100, tokens_out=10, usd=0.01),
        ),
        deployment=Deployment(number=number, commit="abc") if live else None,
        started_s=11.0,
        proposed_s=13.0,
        deployed_s=15.5 if live else None,
    )


FIXED = (Phase(name="baseline", start_s=2.0, end_s=8.0), Phase(name="deploy", start_s=15.0, end_s=15.5))
UNTOUCHED = (Phase(name="baseline", start_s=2.0, end_s=8.0), Phase(name="watch", start_s=15.0, end_s=22.0))
TOUCHED_IN_VAIN = (*FIXED, Phase(name="watch", start_s=15.6, end_s=22.0))
STILL_SICK = tuple(window(n, bad=15 if n >= 8 else 0) for n in range(22))


def facts(**changes: Any) -> Facts:  # noqa: ANN401 - any field of Facts
    """A trial that healed: fault on at 8, noticed at 9.5, fix live at 15.5, good from 16 on."""
    windows = tuple(window(n, bad=15 if 8 <= n < RECOVERED_AT else 0) for n in range(22))
    healed = Facts(
        trial=TRIAL,
        phases=FIXED,
        windows=windows,
        baseline=windows[3:6],
        injected_s=8.0,
        bit="browse-fast broken",
        signals=(Signal(kind="burn_rate", at_s=10.5, detail="fast burns"), Signal(kind="marker", at_s=9.5, detail="F")),
        attempts=(attempt(1, "recovered", confidence=0.8),),
        faults=(STILL_ON,),
        functional=(("after", CheckResult(name="words come", passed=True, evidence="10 of 10")),),
        ended_s=22.0,
    )
    return replace(healed, **changes)


def judged(**changes: Any) -> Verdict:  # noqa: ANN401 - any field of Facts
    return judge(scenario(), facts(**changes))


def check(verdict: Verdict, name: str) -> CheckResult:
    (found,) = (check for check in verdict.checks if check.name == name)
    return found


def with_window(index: int, changed: Window) -> tuple[Window, ...]:
    windows = list(facts().windows)
    windows[index] = changed
    return tuple(windows)


def test_what_recovered_under_the_fault_and_holds_is_healed() -> None:
    verdict = judged()
    assert verdict.outcome is Outcome.HEALED and all(each.passed for each in verdict.checks)
    assert [each.name for each in verdict.checks] == [
        *("machine was free", "load was honest", "baseline held", "fault bit", "fault still on (memory)"),
        *(
            "detected",
            "review",
            "recovered",
            "throughput kept",
            "no relapse",
            "route browse kept",
            "route buy kept",
            "words come",
        ),
    ]
    assert check(verdict, "detected").evidence == "burn rate at +2.5 s, marker at +1.5 s"
    assert check(verdict, "recovered").evidence == "3 good windows in a row of 1 s from +8.0 s to +11.0 s"
    assert check(verdict, "throughput kept").evidence == "100.0% of arrivals answered right, 100.0% in the baseline"
    assert check(verdict, "baseline held").evidence == "120 of 120 right in 3 windows"
    assert [signal.kind for signal in verdict.signals] == ["marker", "burn_rate"]


def test_times_are_seconds_since_the_injection() -> None:
    times = judged().times
    assert (times.detect_s, times.propose_s, times.deploy_s) == (1.5, 5.0, 7.5)
    assert (times.recover_s, times.confirm_s, times.censored_s) == (8.0, 11.0, None)


def test_what_did_not_heal_is_censored_where_the_watch_ended() -> None:
    times = judged(functional=(("after", CheckResult(name="words come", passed=False, evidence="none")),)).times
    assert (times.detect_s, times.propose_s, times.deploy_s) == (1.5, 5.0, 7.5)
    assert (times.recover_s, times.confirm_s, times.censored_s) == (None, None, 14.0)


def test_the_error_budget_counts_from_the_injection_on() -> None:
    # from 8 to 22 browse has 14 x 30 arrivals, 8 x 15 of them bad; 1 % may be
    assert judged().error_budget_burned == pytest.approx(8 * 15 / (14 * 30 * 0.01))
    # a window in which the fault came counts whole
    assert judged(injected_s=9.5).error_budget_burned == pytest.approx(7 * 15 / (13 * 30 * 0.01))


def test_cost_is_summed_over_all_proposals() -> None:
    attempts = (
        attempt(1, "refused", live=False),
        Attempt(number=2, outcome="failed", reason=""),
        attempt(3, "recovered"),
    )
    assert judged(attempts=attempts).cost == Cost(seconds=4, tokens_in=200, tokens_out=20, usd=0.02)


@pytest.mark.parametrize(
    ("attempts", "confidence"),
    [
        ((attempt(1, "not_recovered", confidence=0.3), attempt(2, "recovered", confidence=0.9)), 0.9),
        ((attempt(1, "not_recovered", confidence=0.3), attempt(2, "refused", confidence=0.9, live=False)), 0.3),
        ((attempt(1, "refused", confidence=0.3, live=False), attempt(2, "refused", confidence=0.9, live=False)), 0.9),
        ((Attempt(number=1, outcome="failed", reason=""),), None),
        ((), None),
    ],
)
def test_confidence_is_that_of_the_last_fix_that_went_live_else_of_the_last_proposal(
    attempts: tuple[Attempt, ...], confidence: float | None
) -> None:
    assert judged(attempts=attempts).confidence == confidence


# --- what makes it INVALID, and before what else ---


@pytest.mark.parametrize(("late", "outcome"), [(1, Outcome.HEALED), (2, Outcome.INVALID)])
def test_a_generator_that_sends_too_late_too_often_is_not_believed(late: int, outcome: Outcome) -> None:
    """Of the 15 windows that ended before the fix went live; later ones may be late through the fix."""
    late_ones = [*range(late), *range(15, 22)]
    windows = tuple(replace(each, lag_p99_ms=101.0 if each.index in late_ones else 100.0) for each in facts().windows)
    verdict = judged(windows=windows)
    assert verdict.outcome is outcome
    assert check(verdict, "load was honest").evidence == f"{late} of 15 windows sent over 100 ms late, worst 101 ms"


def busy(*shares: float) -> tuple[Busy, ...]:
    """One second each, from 2 on."""
    return tuple(Busy(start_s=2.0 + n, end_s=3.0 + n, others=share) for n, share in enumerate(shares))


@pytest.mark.parametrize(("shares", "free"), [((0.4, 0.0), True), ((0.4, 0.0, 0.3), False), ((), True)])
def test_a_machine_that_is_busy_with_other_work_speaks_neither_for_a_fix_nor_against_it(
    shares: tuple[float, ...], free: bool
) -> None:
    sick = {"windows": STILL_SICK, "attempts": (attempt(1, "not_recovered"),), "phases": TOUCHED_IN_VAIN}
    for changes, outcome in (({}, Outcome.HEALED), (sick, Outcome.NOT_HEALED)):
        verdict = judged(busy=busy(*shares), **changes)
        assert verdict.outcome is (outcome if free else Outcome.INVALID)
        assert check(verdict, "machine was free").passed is free
    if not free:
        assert verdict.rule == "machine-was-free"
        assert verdict.reason.startswith("machine was free: no: other work took 23% of the processors, 40% at worst")


def test_the_shares_are_weighed_by_their_seconds() -> None:
    long = Busy(start_s=2.0, end_s=11.0, others=0.1)
    assert judged(busy=(long, Busy(start_s=11.0, end_s=12.0, others=1.0))).outcome is Outcome.HEALED


def test_what_is_busy_once_a_fixer_was_asked_voids_nothing() -> None:
    """It may be its own model, or whatever it has left behind: a fixer that is losing could void its trial by that."""
    asked = Phase(name="propose", start_s=5.0, end_s=6.0)
    later = tuple(Busy(start_s=5.0 + n, end_s=6.0 + n, others=1.0) for n in range(15))
    sick = {"windows": STILL_SICK, "attempts": (attempt(1, "not_recovered"),)}
    for changes, outcome in (({}, Outcome.HEALED), (sick, Outcome.NOT_HEALED)):
        verdict = judged(busy=(*busy(0.1), *later), phases=(*TOUCHED_IN_VAIN, asked), **changes)
        assert verdict.outcome is outcome
        assert check(verdict, "machine was free").evidence.startswith("other work took 10% of the processors, 10% at")


def test_what_could_not_be_measured_on_a_busy_machine_is_nobodys_fault() -> None:
    """Else, once code of a fix had run, its fixer would answer for it."""
    failed = judged(failure="the checks took longer than 120 s")
    assert (failed.outcome, failed.rule) == (Outcome.NOT_HEALED, "not-measured-after-the-fix")
    failed = judged(failure="the checks took longer than 120 s", busy=busy(0.5))
    assert (failed.outcome, failed.rule) == (Outcome.INVALID, "machine-was-free")
    assert failed.reason.startswith("the checks took longer than 120 s; machine was free: no: ")


OFF = CheckResult(name="fault still on (memory)", passed=False, evidence="on is False")


def test_a_fault_that_is_off_by_itself_is_invalid_whatever_else_failed() -> None:
    refused = (attempt(1, "refused", live=False),)
    for changes in (
        {"windows": STILL_SICK, "attempts": refused},
        {"windows": STILL_SICK, "attempts": ()},
        {"attempts": ()},
    ):
        verdict = judged(faults=(STILL_ON, OFF), phases=UNTOUCHED, **changes)
        assert (verdict.outcome, verdict.reason) == (Outcome.INVALID, "fault still on (memory): no: on is False")


def test_a_fault_that_is_off_once_a_fix_has_run_is_the_fixers_doing() -> None:
    verdict = judged(faults=(STILL_ON, OFF))
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_HEALED, "fault still on (memory): no: on is False")


def test_a_closed_loop_is_told() -> None:
    load = scenario().load.model_copy(update={"routes": (), "locustfile": "mine.py"})
    closed = judge(scenario().model_copy(update={"load": load}), facts())
    assert check(closed, "load was honest").evidence.endswith("closed loop: a stalled app was asked less")
    assert "closed loop" not in check(judged(), "load was honest").evidence


def test_no_windows_are_no_honest_load() -> None:
    assert judged(windows=()).outcome is Outcome.INVALID


def test_an_invalid_verdict_carries_only_why() -> None:
    verdict = judge(scenario(), Facts(trial=TRIAL, phases=UNTOUCHED, failure="PostgreSQL is gone", ended_s=22.0))
    assert (verdict.outcome, verdict.reason, verdict.phases) == (Outcome.INVALID, "PostgreSQL is gone", UNTOUCHED)
    assert verdict.checks == () and verdict.times.censored_s is None


# --- what makes it NOT_DETECTED or NOT_HEALED ---


def test_no_signal_is_not_detected() -> None:
    verdict = judged(signals=(), attempts=(), windows=STILL_SICK, phases=UNTOUCHED, functional=())
    assert verdict.outcome is Outcome.NOT_DETECTED
    assert verdict.times.detect_s is None and verdict.times.censored_s == 14.0


def test_no_good_run_is_not_healed_and_told_with_the_last_attempts_reason() -> None:
    verdict = judged(windows=STILL_SICK, phases=TOUCHED_IN_VAIN, attempts=(attempt(1, "not_recovered"),))
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "not-recovered")
    assert verdict.reason == "recovered: no: no 3 good windows in a row of 1 s; because of not_recovered"


def test_who_never_came_to_an_attempt_did_not_recover() -> None:
    verdict = judged(windows=STILL_SICK, phases=UNTOUCHED, attempts=())
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "not-recovered")


def test_a_good_run_that_no_fix_brought_is_no_heal() -> None:
    for attempts in ((), (attempt(1, "abstained", live=False),)):
        verdict = judged(attempts=attempts, phases=UNTOUCHED)
        assert verdict.outcome is Outcome.INVALID and "the outage ended by itself" in verdict.reason
    verdict = judged(attempts=(attempt(1, "not_recovered"),), phases=TOUCHED_IN_VAIN)
    assert verdict.outcome is Outcome.NOT_HEALED
    assert "it recovered without one" in verdict.reason and verdict.times.recover_s is None


@pytest.mark.parametrize(("wrong", "kept"), [(4, True), (5, False)])
def test_throughput_is_the_share_of_right_answers_against_the_baselines(wrong: int, kept: bool) -> None:
    """90 % of 40 arrivals are 36."""
    windows = tuple(window(n, buy_wrong=wrong) if n >= RECOVERED_AT else each for n, each in enumerate(facts().windows))
    verdict = judged(windows=windows)
    assert check(verdict, "throughput kept").passed is kept
    assert not check(verdict, "route buy kept").passed, "however few of all arrivals it gets"


def test_slow_answers_are_right_answers_as_far_as_throughput_goes() -> None:
    slow = Window(index=17, start_s=17.0, end_s=18.0, routes={"browse": RouteWindow(ok=20, slow=20)})
    assert check(judged(windows=with_window(17, slow)), "throughput kept").passed


@pytest.mark.parametrize(("bad", "relapsed"), [((), False), ((19,), False), ((20, 21), True), ((19, 20, 21), True)])
def test_two_bad_windows_in_a_row_after_the_recovery_are_a_relapse(bad: tuple[int, ...], relapsed: bool) -> None:
    windows = tuple(window(n, bad=15) if n in bad else each for n, each in enumerate(facts().windows))
    verdict = judged(windows=windows)
    assert check(verdict, "no relapse").passed is not relapsed
    assert check(verdict, "no relapse").evidence == f"{len(bad)} of 3 windows after the recovery broke an SLO"
    assert verdict.outcome is (Outcome.NOT_HEALED if relapsed else Outcome.HEALED)


def test_a_hidden_check_that_fails_is_not_healed_and_named() -> None:
    verdict = judged(functional=(("after", NO_ORDERS),))
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "check.each-order-once")
    assert verdict.reason == "each order once: no: 140 orders, 141 rows"
    assert judged(functional=(("during", NO_ORDERS),)).outcome is Outcome.HEALED, "users suffer in an outage"


NO_ORDERS = CheckResult(name="each order once", passed=False, evidence="140 orders, 141 rows")


# --- the review, the routes, the effect, the withdrawal ---


def test_a_veto_outranks_recovery() -> None:
    flags = tuple(Flag(rule=f"r{n}", severity=s, path="app.py", line=n, message="bad") for n, s in SEVERITIES)
    verdict = judged(attempts=(replace(attempt(1, "recovered"), flags=flags),))
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "review.r1")
    assert judged(attempts=(replace(attempt(1, "recovered"), flags=flags[1:]),)).outcome is Outcome.HEALED


SEVERITIES: tuple[tuple[int, Severity], ...] = ((1, "veto"), (2, "warning"), (3, "note"))


def slow_buy(index: int, p95_ms: float) -> Window:
    routes = {"browse": RouteWindow(ok=30), "buy": RouteWindow(ok=10, p95_ms=p95_ms)}
    return Window(index=index, start_s=float(index), end_s=index + 1.0, routes=routes)


@pytest.mark.parametrize(("after_ms", "kept"), [(120.0, True), (121.0, False)])
def test_a_route_without_an_objective_is_held_to_its_own_baseline(after_ms: float, kept: bool) -> None:
    """Twice the baseline's 10 ms, and 100 ms more."""
    sick = facts().windows
    windows = tuple(sick[n] if 8 <= n < 16 else slow_buy(n, 10.0 if n < 8 else after_ms) for n in range(22))
    verdict = judged(windows=windows, baseline=windows[3:6])
    assert (verdict.outcome, verdict.rule) == (
        (Outcome.HEALED, "recovered") if kept else (Outcome.NOT_HEALED, "route-buy-kept")
    )


def test_a_fault_that_hardly_matters_measures_nothing() -> None:
    windows = tuple(window(n, bad=1 if n == 9 else 0) for n in range(22))
    verdict = judged(windows=windows, baseline=windows[3:6])
    assert (verdict.outcome, verdict.rule) == (Outcome.INVALID, "fault-bit")
    assert judged().efficacy == Efficacy(baseline_bad=0.0, outage_bad=15 / 40, cohens_h=pytest.approx(1.318, abs=1e-3))


@pytest.mark.parametrize(("harm", "outcome"), [("browse-fast broken", Outcome.HEALED), ("", Outcome.INVALID)])
def test_harm_must_return_once_the_fix_is_withdrawn(harm: str, outcome: Outcome) -> None:
    phases = (*FIXED, Phase(name="withdraw", start_s=20.0, end_s=22.0))
    windows = tuple(window(n, bad=15) if n >= 20 else each for n, each in enumerate(facts().windows))
    verdict = judged(withdrawn=harm, phases=phases, windows=windows)
    assert verdict.outcome is outcome, verdict.reason
    assert verdict.efficacy is not None and verdict.efficacy.harm_returned is bool(harm)


def test_what_cannot_be_measured_once_a_fix_has_run_counts_against_it() -> None:
    verdict = judged(failure="the load generator ended")
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "not-measured-after-the-fix")


# --- controls ---


def control(**changes: Any) -> Verdict:  # noqa: ANN401 - any field of Facts
    page = (Signal(kind="page", at_s=9.0, detail="somebody says so"),)
    quiet = {"windows": tuple(window(n) for n in range(22)), "phases": UNTOUCHED, "faults": (), "functional": ()}
    spec = scenario(metadata={**BLOCK, "control": True}, method=[], detection={"page": 1})
    return judge(spec, facts(**{**quiet, "signals": page, "attempts": (), "bit": "", **changes}))


BLOCK = {"name": "quiet", "title": "Nothing"}


def test_a_control_is_left_alone_by_who_proposes_nothing() -> None:
    abstained = replace(attempt(1, "abstained", live=False), fix=Fix(root_cause="nothing is wrong"))
    for attempts in ((), (abstained,)):
        verdict = control(attempts=attempts)
        assert (verdict.outcome, verdict.rule, verdict.outcome.exit_code) == (Outcome.LEFT_ALONE, "left-alone", 0)


def test_a_patch_or_a_signal_in_a_control_is_a_false_alarm() -> None:
    patched = control(attempts=(attempt(1, "refused", live=False),))
    assert (patched.outcome, patched.rule) == (Outcome.FALSE_ALARM, "nothing-was-mended")
    burning = control(signals=(Signal(kind="burn_rate", at_s=9.0, detail="browse-fast burns"),))
    assert (burning.outcome, burning.rule) == (Outcome.FALSE_ALARM, "detector-kept-quiet")


def test_a_control_that_does_not_end_by_itself_measures_nothing() -> None:
    assert control(windows=STILL_SICK).outcome is Outcome.INVALID
    assert control(signals=()).outcome is Outcome.NOT_DETECTED


def test_the_same_facts_give_the_same_verdict() -> None:
    assert judged() == judged()
