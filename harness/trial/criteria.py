"""What has to hold for a verdict, one pure function each: facts in, a result with its evidence out."""

from __future__ import annotations

import math

from harness.model.scenario import Scenario
from harness.model.verdict import CheckResult, Efficacy
from harness.model.window import RouteWindow, Window
from harness.trial import slo
from harness.trial.facts import Facts

_LAG_LIMIT_MS = 100.0  # a generator that sends later than this is not believed ...
_LAG_SHARE = 0.1  # ... when it does so in more than this share of windows
_MOST_OTHERS = 0.2  # of all processors: on two, a trial leaves little more than half to others
_LEAST_EFFECT = 0.2  # Cohen's h that is called small: less is no outage
_MORE_WRONG = 0.05  # share of wrong answers over the baseline's that a route may have after a fix
_SLOWER, _SLOWER_MS = 2.0, 100.0  # a route without an objective: so many times the baseline's p95, and so much more
RELAPSE_WINDOWS = 2  # bad windows in a row after the recovery: not recovered

Run = tuple[Window, Window]  # the first and the last window of a good run


def good_run(scenario: Scenario, facts: Facts) -> Run | None:
    """The good run after the fix that recovered; where none did, the one without a fix, while it was waited for."""
    last = facts.attempts[-1] if facts.attempts else None
    since_s = last.deployed_s if last and last.outcome == "recovered" else facts.began("watch")
    if since_s is None:
        return None
    later = [window for window in facts.windows if window.start_s >= since_s]
    return slo.first_good_run(scenario.slos, later, scenario.recovery.min_requests, scenario.recovery.consecutive)


def efficacy(facts: Facts, run: Run | None) -> Efficacy | None:
    """How much the fault mattered. None where it did not come to that."""
    outage = _outage(facts)
    if not facts.baseline or not outage:
        return None
    before, during = _bad_share(facts.baseline), _bad_share(outage)
    return Efficacy(
        baseline_bad=before,
        outage_bad=during,
        cohens_h=2 * math.asin(math.sqrt(during)) - 2 * math.asin(math.sqrt(before)),
        ended_by_itself=run is not None and not _deployed(facts),
        harm_returned=None if facts.withdrawn is None else bool(facts.withdrawn),
    )


def machine_was_free(facts: Facts) -> CheckResult:
    """Neither a late app nor an app in time says anything of a fix where other work takes the processors.

    Until a fixer is asked for the first time: from then on it may be at work itself, by a model on this machine, say,
    and it must not be able to void what it is losing.
    """
    name, asked_s = "machine was free", facts.began("propose") or math.inf
    seen = [each for each in facts.busy if each.end_s <= asked_s]
    if not seen:
        return CheckResult(name=name, passed=True, evidence="it was not looked at what else ran")
    seconds = sum(each.end_s - each.start_s for each in seen)
    share = sum(each.others * (each.end_s - each.start_s) for each in seen) / seconds
    worst = max(each.others for each in seen)
    evidence = f"other work took {share:.0%} of the processors, {worst:.0%} at worst; {_MOST_OTHERS:.0%} is too much"
    return CheckResult(name=name, passed=share <= _MOST_OTHERS, evidence=evidence)


def load_was_honest(scenario: Scenario, facts: Facts) -> CheckResult:
    """Until code of a fix runs: afterwards it may be that which has taken the processor."""
    windows = [window for window in facts.windows if window.end_s <= _end_of_outage(facts)]
    late = sum(window.lag_p99_ms > _LAG_LIMIT_MS for window in windows)
    worst = max((window.lag_p99_ms for window in windows), default=0.0)
    kind = "; closed loop: a stalled app was asked less" if scenario.load.locustfile else ""
    return CheckResult(
        name="load was honest",
        passed=bool(windows) and late <= _LAG_SHARE * len(windows),
        evidence=f"{late} of {len(windows)} windows sent over {_LAG_LIMIT_MS:g} ms late, worst {worst:.0f} ms{kind}",
    )


def baseline_held(facts: Facts) -> CheckResult:
    right, arrivals = sum(each.right for each in facts.baseline), sum(each.arrivals for each in facts.baseline)
    evidence = f"{right} of {arrivals} right in {len(facts.baseline)} windows"
    return CheckResult(name="baseline held", passed=bool(facts.baseline), evidence=evidence)


def fault_bit(facts: Facts, effect: Efficacy | None) -> CheckResult:
    evidence, strong = facts.bit or "no harm", False
    if effect:
        evidence += f"; bad {effect.baseline_bad:.1%} before, {effect.outage_bad:.1%} in it, h {effect.cohens_h:.2f}"
        strong = effect.cohens_h >= _LEAST_EFFECT
    return CheckResult(name="fault bit", passed=bool(facts.bit) and strong, evidence=evidence)


def detected(facts: Facts) -> CheckResult:
    began_s = facts.injected_s or 0.0
    seen = [f"{signal.kind.replace('_', ' ')} at +{signal.at_s - began_s:.1f} s" for signal in facts.signals]
    return CheckResult(name="detected", passed=bool(seen), evidence=", ".join(seen) or "no signal")


def recovered(scenario: Scenario, facts: Facts, run: Run | None) -> CheckResult:
    recovery, began_s = scenario.recovery, facts.injected_s or 0.0
    wanted = f"{recovery.consecutive} good windows in a row of {recovery.window_s:g} s"
    if run and facts.attempts and facts.attempts[-1].outcome == "recovered":
        first, last = run
        evidence = f"{wanted} from +{first.start_s - began_s:.1f} s to +{last.end_s - began_s:.1f} s"
        return CheckResult(name="recovered", passed=True, evidence=evidence)
    itself = " after a fix; it recovered without one" if run else ""
    return CheckResult(name="recovered", passed=False, evidence=f"no {wanted}{itself}")


def review_passed(facts: Facts) -> CheckResult:
    """No veto against what runs in the end: it outranks any recovery."""
    last = facts.attempts[-1] if facts.attempts else None
    vetoes = [flag for flag in (last.flags if last else ()) if flag.severity == "veto"]
    told = f"{vetoes[0].rule}: {vetoes[0].path}:{vetoes[0].line}: {vetoes[0].message}" if vetoes else ""
    flags = f"{len(last.flags) if last else 0} flags, no veto"
    return CheckResult(name="review", passed=not vetoes, evidence=told or flags)


def throughput_kept(scenario: Scenario, facts: Facts, run: Run | None) -> CheckResult:
    """The share of arrivals answered right, in the good run against the baseline."""
    held = _held(facts, run)
    before, after = _right_share(facts.baseline), _right_share(held)
    return CheckResult(
        name="throughput kept",
        passed=bool(held) and after >= scenario.recovery.min_throughput_ratio * before,
        evidence=f"{after:.1%} of arrivals answered right, {before:.1%} in the baseline",
    )


def no_relapse(scenario: Scenario, facts: Facts, run: Run | None) -> CheckResult:
    name = "no relapse"
    if not run:
        return CheckResult(name=name, passed=False, evidence="there was no recovery to relapse from")
    bad = [bool(slo.broken(scenario.slos, window)) for window in _after(facts, run[1].end_s)]
    relapsed = any(all(bad[start : start + RELAPSE_WINDOWS]) for start in range(len(bad) - RELAPSE_WINDOWS + 1))
    evidence = f"{sum(bad)} of {len(bad)} windows after the recovery broke an SLO"
    return CheckResult(name=name, passed=bool(bad) and not relapsed, evidence=evidence)


def not_inferior(scenario: Scenario, facts: Facts, run: Run | None) -> tuple[CheckResult, ...]:
    """Each loaded route against its own baseline: no more wrong answers, and, where no SLO bounds it, no slower."""
    after = _after(facts, run[0].start_s) if run else []
    bounded = scenario.thresholds_ms()
    routes = sorted({name for window in facts.baseline for name in window.routes})
    return tuple(_route_kept(name, facts.baseline, after, bounded=name in bounded) for name in routes) if run else ()


def harm_returned(facts: Facts) -> tuple[CheckResult, ...]:
    """Where the fix was withdrawn in the end: without harm, there was no fault any more for it to stand up to."""
    if facts.withdrawn is None:
        return ()
    evidence = facts.withdrawn or "the fix was taken away, and the SLOs held"
    return (CheckResult(name="harm returns without the fix", passed=bool(facts.withdrawn), evidence=evidence),)


def detector_kept_quiet(scenario: Scenario, facts: Facts) -> CheckResult:
    """Where nothing is wrong, neither marker nor burn rate may tell of anything."""
    false = [f"{signal.kind.replace('_', ' ')}: {signal.detail}" for signal in facts.signals if signal.kind != "page"]
    passed = bool(scenario.method) or not false
    return CheckResult(name="detector kept quiet", passed=passed, evidence=", ".join(false) or "no signal")


def nothing_mended(facts: Facts) -> CheckResult:
    """Neither deployed nor proposed: where nothing is to be mended, the right fix is none."""
    tried = [attempt.number for attempt in facts.attempts if attempt.fix and attempt.outcome != "abstained"]
    evidence = f"a patch was proposed in attempt {tried[0]}" if tried else f"{len(facts.attempts)} attempts, no patch"
    return CheckResult(name="nothing was mended", passed=not tried, evidence=evidence)


def ended_by_itself(run: Run | None) -> CheckResult:
    evidence = f"good windows from {run[0].start_s:.1f} s on" if run else "the SLOs went on being broken"
    return CheckResult(name="ended by itself", passed=run is not None, evidence=evidence)


def _route_kept(name: str, before: tuple[Window, ...], after: list[Window], *, bounded: bool) -> CheckResult:
    was, now = (_of(name, windows) for windows in (before, after))
    wrong_was, wrong_now = _wrong_share(was), _wrong_share(now)
    p95_was, p95_now = _typical_p95(was), _typical_p95(now)
    limit_ms = _SLOWER * p95_was + _SLOWER_MS
    in_time = bounded or p95_now <= limit_ms
    bound = "its SLO bounds the time" if bounded else f"p95 {p95_now:.0f} ms, allowed {limit_ms:.0f} ms"
    return CheckResult(
        name=f"route {name} kept",
        passed=not now or (wrong_now <= wrong_was + _MORE_WRONG and in_time),  # arrivals are the generator's doing
        evidence=f"{wrong_now:.1%} wrong, {wrong_was:.1%} in the baseline; {bound}",
    )


def _of(name: str, windows: tuple[Window, ...] | list[Window]) -> list[RouteWindow]:
    return [window.routes[name] for window in windows if name in window.routes and window.routes[name].arrivals]


def _wrong_share(routes: list[RouteWindow]) -> float:
    """Without the worst window: one alone is a hiccup, for errors as for a relapse."""
    routes = sorted(routes, key=lambda route: route.wrong / route.arrivals)[: max(1, len(routes) - 1)]
    arrivals = sum(route.arrivals for route in routes)
    return sum(route.wrong for route in routes) / arrivals if arrivals else 1.0


def _typical_p95(routes: list[RouteWindow]) -> float:
    """The median over the windows: one slow window is no slow route. Nothing answered is endless."""
    values = sorted(math.inf if route.p95_ms is None else route.p95_ms for route in routes)
    return values[len(values) // 2] if values else math.inf


def _deployed(facts: Facts) -> bool:
    return any(attempt.deployment for attempt in facts.attempts)


def _outage(facts: Facts) -> list[Window]:
    """From the injection until code of a fix ran, or to the end."""
    if facts.injected_s is None:
        return []
    end_s = _end_of_outage(facts)
    return [window for window in facts.windows if facts.injected_s <= window.start_s and window.end_s <= end_s]


def _end_of_outage(facts: Facts) -> float:
    return math.inf if facts.fix_ran_s is None else facts.fix_ran_s


def _after(facts: Facts, start_s: float) -> list[Window]:
    """The windows from ``start_s`` on, up to the withdrawal of the fix."""
    end_s = facts.began("withdraw") or math.inf
    return [window for window in facts.windows if window.start_s >= start_s and window.end_s <= end_s]


def _held(facts: Facts, run: Run | None) -> list[Window]:
    return [each for each in facts.windows if run[0].start_s <= each.start_s <= run[1].start_s] if run else []


def _bad_share(windows: tuple[Window, ...] | list[Window]) -> float:
    arrivals = sum(window.arrivals for window in windows)
    return sum(window.bad for window in windows) / arrivals if arrivals else 0.0


def _right_share(windows: tuple[Window, ...] | list[Window]) -> float:
    arrivals = sum(window.arrivals for window in windows)
    return sum(window.right for window in windows) / arrivals if arrivals else 0.0
