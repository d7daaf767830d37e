"""What else may happen to a fix on its way."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pytest

from harness.errors import MeasurementError, ProposalFailed, TargetNotReady
from harness.load.memory import Quality
from harness.model.event import Deployed, RolledBack, WindowObserved
from harness.model.fix import Attempt, Cost, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import Deployment, SourceTree
from harness.model.verdict import Outcome
from harness.retrieval.memory import MemoryRetriever
from harness.trial.proposal import SHARE
from harness.trial.watch import Watch
from tests.world import SICK, WEAK, AnsweringFixer, SimulatedClock, Simulation, fix, scenario

WORSE = {"browse": Quality(failed=1.0), "buy": Quality(failed=1.0)}
A_LITTLE_SICK = {"browse": Quality(failed=0.3), "buy": Quality(failed=0.3)}


def observed_s(simulation: Simulation) -> list[float]:
    """How long each deployment was looked at before it was rolled back."""
    live = [event.at_s for event in simulation.sink.events if isinstance(event, Deployed)]
    back = [event.at_s for event in simulation.sink.events if isinstance(event, RolledBack)]
    return [end - start for start, end in zip(live, back, strict=False)]


def test_a_fix_that_makes_it_worse_is_rolled_back_at_once() -> None:
    simulation = Simulation(AnsweringFixer(fix(WEAK + "raise SystemExit\n"), fix(WEAK + "# no help\n"), fix()))

    def serves() -> Mapping[str, Quality]:
        if not simulation.fault.on or simulation.cured:
            return {}
        return WORSE if "SystemExit" in simulation.target.source().files["app.py"] else A_LITTLE_SICK

    simulation.serves = serves
    verdict = simulation.run()
    worse, useless = observed_s(simulation)
    assert worse < useless and useless >= simulation.scenario.recovery.observe_s
    assert "more than before" in verdict.attempts[0].reason and "more than before" not in verdict.attempts[1].reason


def test_a_fix_that_takes_some_windows_to_work_is_waited_for() -> None:
    simulation = Simulation(AnsweringFixer(fix()))
    cured_for = iter([*[SICK] * 2, *[{}] * 99])
    simulation.serves = lambda: next(cured_for) if simulation.cured else SICK if simulation.fault.on else {}
    verdict = simulation.run()
    assert verdict.outcome is Outcome.HEALED
    assert verdict.times.deploy_s and verdict.times.recover_s and verdict.times.recover_s - verdict.times.deploy_s >= 2


def test_only_windows_that_begin_after_the_deployment_speak_for_the_fix() -> None:
    def within_a_window() -> Fix:
        simulation.clock.sleep(0.4)
        return fix()

    simulation = Simulation(AnsweringFixer(within_a_window))
    verdict = simulation.run()
    (live,) = (event.at_s for event in simulation.sink.events if isinstance(event, Deployed))
    first = next(
        event.window.start_s
        for event in simulation.sink.events
        if isinstance(event, WindowObserved) and event.window.start_s >= live
    )
    assert verdict.times.recover_s is not None and verdict.times.detect_s is not None
    injected_s = min(signal.at_s for signal in verdict.signals) - verdict.times.detect_s
    assert injected_s + verdict.times.recover_s == pytest.approx(first)


def test_a_deployment_is_named_after_what_the_fixer_said() -> None:
    said: list[str] = []

    class Listening(AnsweringFixer):
        name = "listening"

    simulation = Simulation(Listening(fix()))
    redeploy = simulation.target.redeploy

    def listen(tree: SourceTree, message: str) -> Deployment:
        said.append(message)
        return redeploy(tree, message)

    simulation.target.redeploy = listen  # type: ignore[method-assign] # to hear the message
    simulation.run()
    subject, empty, *trailers = said[0].splitlines()
    assert (subject, empty, len(said)) == ("Attempt 1: it waits for ever", "", 1)
    assert [line.partition(": ")[0] for line in trailers] == ["Incident", "Attempt", "Confidence", "Verdict-so-far"]


@pytest.mark.parametrize("step", ["redeploy", "rollback"])
def test_a_target_that_fails_once_code_of_a_fix_may_run_counts_against_the_fixer(step: str) -> None:
    def gone(*_: object) -> Deployment:
        raise TargetNotReady("the server is gone")

    simulation = Simulation(AnsweringFixer(fix(WEAK + "# no help\n")))
    setattr(simulation.target, step, gone)
    verdict = simulation.run()
    assert (verdict.outcome, verdict.rule) == (Outcome.NOT_HEALED, "not-measured-after-the-fix")
    assert verdict.reason.endswith("the server is gone")
    assert simulation.notes[-1] == "services down" and "fault off" in simulation.notes


def test_a_deployment_that_never_ends_makes_the_trial_invalid() -> None:
    never = threading.Event()

    def stuck(tree: SourceTree, message: str) -> Deployment:
        simulation.clock.sleep(121)
        never.wait()
        raise AssertionError

    simulation = Simulation(AnsweringFixer(fix()))
    simulation.target.redeploy = stuck  # type: ignore[method-assign] # as a server that hangs does
    try:
        verdict = simulation.run()
    finally:
        never.set()
    assert verdict.rule == "not-measured-after-the-fix" and "the deployment took longer than 120 s" in verdict.reason


def test_what_a_failed_proposal_cost_is_counted() -> None:
    lost = Cost(seconds=3.0, tokens_in=900, tokens_out=90, tokens_thought=9, calls=2, usd=0.5)
    odd = ProposalFailed("no", cost=Cost(usd="much"))  # type: ignore[arg-type] # anybody's code
    verdict = Simulation(AnsweringFixer(ProposalFailed("no", cost=lost), odd, fix())).run()
    assert [attempt.lost for attempt in verdict.attempts] == [lost, None, None]
    assert verdict.attempts[0].cost == lost
    assert (verdict.cost.tokens_in, verdict.cost.calls, verdict.cost.usd) == (900, 2, 0.5)


def test_an_answer_that_comes_just_as_the_wait_ends_counts() -> None:
    """Many works that end about when one look ends: each gives its own result, none a time-out."""
    watch = Watch(Simulation(AnsweringFixer()).world())
    ended = threading.Event()
    for number in range(30):
        delay = threading.Timer(0.019 + number / 10_000, ended.set)
        ended.clear()
        delay.start()
        assert watch.during(ended.wait, timeout_s=60, what="the work")
    with pytest.raises(MeasurementError, match="the work said so"):
        watch.must(late, timeout_s=60, what="the work")


def late() -> Fix:
    raise TimeoutError("the work said so")


# how long a fixer may take


class TimedFixer(AnsweringFixer):
    """Notes at each proposal what it was told of the time."""

    def __init__(self, *answers: object) -> None:
        super().__init__(*answers)  # type: ignore[arg-type] # as it takes them
        self.budget_s = 1000.0
        self.had_s: list[float] = []
        self.prompted_s: list[float] = []

    def prompt(self, *_: object) -> str:
        self.prompted_s.append(self.budget_s)
        return "help!"

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        self.had_s.append(self.budget_s)
        return super().propose(incident, passages, tree, earlier)


def test_a_fixer_is_told_before_each_proposal_how_long_it_may_take() -> None:
    """The budget, then what the horizon leaves of it, with a share for the way there and back."""
    useless = fix(WEAK + "# no help\n")
    spec = scenario(budget={"attempts": 3, "fixer": 15})
    fixer = TimedFixer(useless, useless, useless)
    simulation = Simulation(fixer, scenario=spec)
    verdict = simulation.run()
    assert fixer.had_s == fixer.prompted_s, "what the prompt says is what there is"
    assert fixer.had_s[0] == SHARE * 15
    assert len(fixer.had_s) == len(verdict.attempts) > 1
    assert verdict.attempts[1].started_s > verdict.attempts[0].started_s + 5
    detected_s = verdict.attempts[0].started_s
    for told_s, attempt in zip(fixer.had_s[1:], verdict.attempts[1:], strict=True):
        left_s = detected_s + spec.recovery.horizon_s - attempt.started_s
        assert 0 < told_s <= SHARE * left_s + 0.5
        assert told_s < SHARE * 15


def test_a_fixer_that_lets_nobody_set_its_time_is_asked_all_the_same() -> None:
    class Closed(AnsweringFixer):
        @property
        def budget_s(self) -> float:
            return 1.0

    class Broken(AnsweringFixer):
        @property
        def budget_s(self) -> float:
            raise ZeroDivisionError

    for fixer in (Closed(fix()), Broken(fix())):
        assert Simulation(fixer).run().outcome is Outcome.HEALED


def test_a_fixer_that_does_not_ask_for_its_time_is_not_changed() -> None:
    fixer = AnsweringFixer(fix())
    assert Simulation(fixer).run().outcome is Outcome.HEALED
    assert not hasattr(fixer, "budget_s")


class SlowRetriever(MemoryRetriever):
    """Takes as long as a retriever may."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock

    def retrieve(self, incident: Incident, limit: int) -> Sequence[Passage]:
        self._clock.sleep(25)
        return ()


def test_where_no_time_is_left_no_fixer_is_asked() -> None:
    fixer = AnsweringFixer(fix())
    simulation = Simulation(fixer)
    simulation.retriever = SlowRetriever(simulation.clock)
    verdict = simulation.run()
    assert not fixer.told
    assert [attempt.rule for attempt in verdict.attempts] == ["proposal"]
    assert "no time is left for a proposal" in verdict.attempts[0].reason
