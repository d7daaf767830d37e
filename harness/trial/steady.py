"""The baseline: does the app meet its objectives before anything is broken?"""

from __future__ import annotations

from harness.errors import BaselineBreached, LoadNotFlowing
from harness.model.event import BaselineHeld
from harness.model.window import Window
from harness.trial import slo
from harness.trial.watch import Watch

_PATIENCE = 3  # a baseline may need so many times its length on a noisy machine


def steady(watch: Watch) -> None:
    """The SLOs hold for ``holdS`` without a break, after the warm-up."""
    steady, recovery = watch.world.scenario.steady_state, watch.world.scenario.recovery
    wanted = max(1, round(steady.hold_s / recovery.window_s))
    watch.phase("warmup")
    flowing = watch.until(lambda: bool(watch.windows), steady.warmup_s + 30.0)
    if not flowing:
        raise LoadNotFlowing("no window of load was seen", cure="see logs/load.log in the result folder")
    first_s = watch.windows[0].start_s + steady.warmup_s
    watch.until(lambda: watch.windows[-1].end_s > first_s, steady.warmup_s + 30.0)
    watch.phase("baseline")

    def run() -> list[Window]:
        tail = [window for window in watch.windows if window.start_s >= first_s]
        bad = [number for number, window in enumerate(tail) if not watch.good(window)]
        return tail[bad[-1] + 1 :] if bad else tail

    if watch.until(lambda: len(run()) >= wanted, _PATIENCE * steady.hold_s + 5.0):
        held = tuple(run()[-wanted:])
        now_s = watch.world.clock.now()
        watch.world.emit(BaselineHeld(at_s=now_s, start_s=held[0].start_s, end_s=held[-1].end_s))
        return
    last = watch.windows[-1]
    if sum(window.arrivals for window in watch.windows[-wanted:]) == 0:
        raise LoadNotFlowing("no request was sent", cure="see logs/load.log in the result folder")
    names = ", ".join(slo.broken(watch.world.scenario.slos, last)) or "minRequests"
    raise BaselineBreached(
        f"the SLOs do not hold before the fault ({names}: {last.bad} of {last.arrivals} bad in the last window)",
        cure="is the machine busy? Else lower load.arrivals.rate, or widen the SLO, until a healthy app meets it",
    )
