"""One scenario file, validated. See docs/scenarios.md for every key."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.model.delivery import GitDelivery
from harness.model.faults import FaultSpec
from harness.model.requests import Request, Route, Variable, placeholders
from harness.model.schema import Described, Seconds

_RATE_OF_ONE, _RATE_OF_ALL = 2000, 10_000  # a second: what a worker sends on time, and what is read on time


class Metadata(Described):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    fault_class: str = ""
    tags: tuple[str, ...] = ()
    control: bool = Field(default=False, description="nothing is there to be mended: a fixer that tries is wrong")


class TargetSpec(Described):
    app: str = Field(description="the app's folder, which holds app.yml; looked up beside the scenario, then above")
    defect: str | None = Field(default=None, description="a patch that makes the app weak from the start")
    env: dict[str, str] = Field(default_factory=dict)
    connections: int | None = Field(default=None, ge=5, description="what the app's database grants at most")
    memory_mb: int | None = Field(default=None, ge=32, description="a web process that grows over it is killed")


class Stage(Described):
    rate: float = Field(gt=0, le=_RATE_OF_ALL)
    for_s: Seconds = Field(alias="for")


class Arrivals(Described):
    """Open loop: arrivals come when they come, however slow the app is."""

    rate: float = Field(gt=0, le=_RATE_OF_ALL, description=f"requests a second, at most {_RATE_OF_ONE} a worker")
    process: Literal["poisson", "constant"] = "poisson"
    stages: tuple[Stage, ...] = Field(default=(), description="rates in turn; the last holds to the end")
    max_in_flight: int = Field(default=200, gt=0)
    timeout_s: Seconds = Field(default=10.0, alias="timeout")


class LoadSpec(Described):
    arrivals: Arrivals
    routes: tuple[Route, ...] = ()
    variables: dict[str, Variable] = Field(default_factory=dict)
    login: Request | None = Field(default=None, description="sent once before the load; its cookies stay")
    workers: int = Field(default=1, ge=1, le=64, description="processes that share the load, as Locust's workers")
    locustfile: str | None = None

    @model_validator(mode="after")
    def _routes_or_locustfile(self) -> Self:
        if bool(self.routes) == bool(self.locustfile):
            raise ValueError("give routes or a locustfile, one of the two")
        names = [route.name for route in self.routes]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two routes have the name {twice[0]!r}")
        return self

    @model_validator(mode="after")
    def _workers_can_share(self) -> Self:
        highest = max([self.arrivals.rate, *(stage.rate for stage in self.arrivals.stages)])
        if highest > self.workers * _RATE_OF_ONE:
            wanted = math.ceil(highest / _RATE_OF_ONE)
            raise ValueError(f"one worker sends at most {_RATE_OF_ONE} a second: {highest:g} take workers: {wanted}")
        if self.workers > 1 and self.locustfile:
            raise ValueError("a locustfile of your own runs in one process: take out workers, or give routes instead")
        if self.workers > self.arrivals.max_in_flight:
            raise ValueError(f"{self.workers} workers share arrivals.maxInFlight: give at least {self.workers}")
        return self

    @model_validator(mode="after")
    def _variables_are_known(self) -> Self:
        for request in (*self.routes, *([self.login] if self.login else [])):
            for name in sorted(placeholders(request) - self.variables.keys()):
                known = ", ".join(sorted(self.variables)) or "none"
                raise ValueError(f"the request {request.request!r} uses {{{name}}}, not one of load.variables: {known}")
        return self


class Latency(Described):
    p95_ms: float = Field(gt=0)


class Slo(Described):
    """At least ``objective`` of arrivals get the right answer, and 95 % of arrivals one within p95Ms."""

    name: str
    routes: tuple[str, ...] = Field(min_length=1)
    latency: Latency
    objective: float = Field(gt=0, lt=1)


class SteadyState(Described):
    warmup_s: Seconds = Field(default=3.0, alias="warmup")
    hold_s: Seconds = Field(default=5.0, alias="hold")


class BurnRate(Described):
    """Two windows, both over ``factor`` times the budget (Google SRE Workbook, ch. 5), in seconds instead of hours."""

    factor: float = Field(default=10.0, gt=0)
    long_s: Seconds = Field(default=6.0, alias="long")
    short_s: Seconds = Field(default=2.0, alias="short")


class Detection(Described):
    markers: bool = True
    burn_rate: BurnRate | None = BurnRate()
    within_s: Seconds = Field(default=30.0, alias="within", description="unseen after this long: NOT_DETECTED")
    gather_s: Seconds = Field(default=3.0, alias="gather", description="evidence is gathered before the first attempt")
    page_s: Seconds | None = Field(default=None, alias="page", description="so late a person reports trouble; controls")


class Recovery(Described):
    window_s: Seconds = Field(default=1.0, alias="window", gt=0)
    consecutive: int = Field(default=5, gt=0)
    min_requests: int = Field(default=20, gt=0, description="a window with fewer arrivals proves nothing")
    min_throughput_ratio: float = Field(default=0.9, gt=0, le=1, description="right answers against the baseline's")
    bite_within_s: Seconds = Field(default=30.0, alias="biteWithin", description="no harm by then: INVALID")
    observe_s: Seconds = Field(default=20.0, alias="observe", description="how long a deployed fix may take to show")
    horizon_s: Seconds = Field(default=60.0, alias="horizon", description="watched for this long from detection on")


class Budget(Described):
    attempts: int = Field(default=3, gt=0)
    fixer_s: Seconds = Field(default=120.0, alias="fixer")
    fixer_usd: float | None = Field(default=None, gt=0)
    min_confidence: float | None = Field(default=None, ge=0, le=1)


class Scenario(Described):
    """One line from fault to verdict, in words that Chaos Toolkit, k6 and Sloth users know."""

    metadata: Metadata
    target: TargetSpec
    load: LoadSpec
    slos: tuple[Slo, ...] = Field(min_length=1)
    steady_state: SteadyState = SteadyState()
    method: tuple[FaultSpec, ...] = ()
    detection: Detection = Detection()
    recovery: Recovery = Recovery()
    budget: Budget = Budget()
    deploy: GitDelivery | None = Field(default=None, description="how a fix goes live; none: at once")
    checks: tuple[str, ...] = Field(default=(), description="folders of pytest files, hidden from the fixer")
    reference: str | None = Field(default=None, description="a patch that is one good fix, for --fixer reference")
    cheats: str | None = Field(default=None, description="a folder of patches that look right and must lose")

    @model_validator(mode="after")
    def _control_or_fault(self) -> Self:
        """What only a control may have, and what it must not have."""
        passing = [fault for fault in self.method if fault.action == "upstream" and fault.for_s is not None]
        if self.metadata.control:
            if self.reference:
                raise ValueError(f"a control has nothing to mend: take out the reference {self.reference!r}")
            if not self.method and self.detection.page_s is None:
                raise ValueError("a control without a method asks nobody anything: give detection.page")
            return self
        if not self.method:
            raise ValueError("give method at least one fault, or set metadata.control")
        if self.detection.page_s is not None or passing:
            key = "detection.page" if self.detection.page_s is not None else "for, by which a fault passes,"
            raise ValueError(f"{key} is for controls: a fault is to be noticed, and to last; set metadata.control")
        return self

    @model_validator(mode="after")
    def _delivers_fixes_alone(self) -> Self:
        if self.deploy and any(fault.action == "defect" for fault in self.method):
            raise ValueError("a bad release is not pushed to anybody's repository: take out deploy, or action: defect")
        return self

    @model_validator(mode="after")
    def _slos_name_routes(self) -> Self:
        known = {route.name for route in self.load.routes}
        for slo in self.slos:
            missing = [name for name in slo.routes if name not in known]
            if missing and not self.load.locustfile:
                raise ValueError(
                    f"slo {slo.name!r} names the route {missing[0]!r}, which load.routes does not have: "
                    f"{', '.join(sorted(known))}"
                )
        return self

    @model_validator(mode="after")
    def _one_slo_a_route(self) -> Self:
        covered = [route for slo in self.slos for route in slo.routes]
        if twice := [route for route in covered if covered.count(route) > 1]:
            raise ValueError(f"the slos name the route {twice[0]!r} twice; keep one")
        return self

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        """A burn that no outage can reach, or patience that no fix can meet, would decide every trial beforehand."""
        burn, recovery = self.detection.burn_rate, self.recovery
        for slo in self.slos:
            if burn and burn.factor * (1 - slo.objective) > 1:
                raise ValueError(
                    f"no outage burns the budget of {slo.name!r} {burn.factor:g} times too fast: with that objective, "
                    f"at most {1 / (1 - slo.objective):.1f} times; lower detection.burnRate.factor"
                )
        least_s = (recovery.consecutive + 1) * recovery.window_s + max(self.thresholds_ms().values()) / 1000
        if recovery.observe_s < least_s:
            raise ValueError(f"recovery.observe is too short for {recovery.consecutive} windows: give {least_s:g} s")
        return self

    @property
    def delivery_s(self) -> float:
        """How long a delivery may wait for pipelines: for its own, and where that fails for that of the revert."""
        return 2 * self.deploy.within_s if self.deploy else 0.0

    def thresholds_ms(self) -> dict[str, float]:
        """The latency threshold of each route that an SLO covers, in milliseconds."""
        return {route: slo.latency.p95_ms for slo in self.slos for route in slo.routes}
