"""From the fault to an outage that is felt and noticed."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from harness.errors import FaultDidNotBite
from harness.model.event import FaultBit, FaultInjected, IncidentCreated
from harness.model.incident import Incident, Signal
from harness.model.source import Endpoints
from harness.ports import ActiveFault
from harness.trial import slo
from harness.trial.watch import Watch

_BITE_WINDOWS = 2  # broken windows in a row prove that the fault bites
_FAULT_TIMEOUT_S = 60.0
_PAGE = "a customer says that something seems wrong"


def inject(watch: Watch, stack: ExitStack, endpoints: Endpoints) -> tuple[float, list[ActiveFault]]:
    """Switch the faults on, each at its time; they go off when ``stack`` is left. When the first one was switched."""
    world, clock, started_s = watch.world, watch.world.clock, watch.world.clock.now()
    active: list[ActiveFault] = []
    injected_s: float | None = None
    for spec, fault in sorted(zip(world.scenario.method, world.faults, strict=True), key=lambda pair: pair[0].at_s):
        while clock.now() < started_s + spec.at_s:
            watch.pump()
        if injected_s is None:
            watch.pump(0.0)  # what the app has logged up to here is no signal
            injected_s = watch.armed_s = clock.now()
        switch_on = partial(stack.enter_context, fault.active(endpoints))
        timeout_s = _FAULT_TIMEOUT_S + world.delivery_s  # a bad release is delivered, too
        active.append(watch.must(switch_on, timeout_s=timeout_s, what=f"the injection of {fault.kind}"))
    if injected_s is None:  # a control in which nothing goes wrong
        injected_s = watch.armed_s = clock.now()
    kinds = tuple(fault.kind for fault in world.faults)
    world.emit(FaultInjected(at_s=clock.now(), injected_s=injected_s, faults=kinds))
    return injected_s, active


def reported(watch: Watch, injected_s: float, commit: str) -> Incident | None:
    """In a control: wait until somebody noticed or a person reported something; None: nobody did, up to the horizon."""
    scenario, clock = watch.world.scenario, watch.world.clock
    page_s = scenario.detection.page_s
    while clock.now() < injected_s + scenario.recovery.horizon_s:
        watch.pump()
        if page_s is not None and clock.now() >= injected_s + page_s:
            watch.signal(Signal(kind="page", at_s=clock.now(), detail=_PAGE))
        if watch.signals:
            return _file(watch, commit)
    return None


def degraded_and_detected(watch: Watch, injected_s: float, commit: str) -> Incident | None:
    """Wait until users suffer and somebody noticed; None: nobody did. It is filed the moment it is noticed."""
    world, scenario, all_on_s = watch.world, watch.world.scenario, watch.world.clock.now()
    incident: Incident | None = None
    bit = ""
    while not (incident and bit):
        watch.pump()
        now = world.clock.now()
        if incident is None and watch.signals:
            incident = _file(watch, commit)
        if not bit and (bit := what_breaks(watch, injected_s)):
            watch.bit_s = now
            world.emit(FaultBit(at_s=now, evidence=bit))
        if not bit and now - all_on_s > scenario.recovery.bite_within_s:
            raise FaultDidNotBite(
                f"the fault was on for {scenario.recovery.bite_within_s:g} s and the SLOs held",
                cure="make it stronger, or the SLOs tighter; a fault without harm cannot be healed",
            )
        if incident is None and bit and now - all_on_s > scenario.detection.within_s:
            return None
    return incident


def what_breaks(watch: Watch, since_s: float) -> str:
    """The SLOs that two windows in a row break; empty: they do not."""
    later = [window for window in watch.windows if window.start_s >= since_s][-_BITE_WINDOWS:]
    names = [slo.broken(watch.world.scenario.slos, window) for window in later]
    if len(later) < _BITE_WINDOWS or not all(names):
        return ""
    bad, arrivals = sum(window.bad for window in later), sum(window.arrivals for window in later)
    return f"{', '.join(names[-1])} broken: {bad} of {arrivals} arrivals bad in {_BITE_WINDOWS} windows"


def _file(watch: Watch, commit: str) -> Incident:
    world = watch.world
    incident = watch.describe(f"inc-{world.trial.id.rsplit('-', 1)[-1]}", world.utc_now())
    signal = watch.first_signal()
    world.emit(IncidentCreated(at_s=world.clock.now(), incident=incident, signal=signal, commit=commit))
    return incident
