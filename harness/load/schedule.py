"""Who arrives when and asks for what: pure, and the same for the same seed.

Arrivals and requests are drawn from two streams of their own, in the order of arrival. So neither a slow answer nor a
dropped arrival changes what comes after it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any
from urllib.parse import quote

from harness.model.requests import PLACEHOLDER, Request, Variable, placeholders, request_parts
from harness.model.scenario import Arrivals, LoadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request, all its variables filled in."""

    method: str
    path: str
    json_body: dict[str, Any] | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A user who comes ``offset_s`` after the load began, whatever became of those before."""

    number: int
    offset_s: float
    route: str
    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What ``worker``, counted from 0, ``of`` so many sends. Each arrival is one worker's, and otherwise unchanged."""

    worker: int = 0
    of: int = 1

    def arrivals(self, load: LoadSpec, seed: int) -> Iterator[Arrival]:
        """Those whose number, divided by ``of``, leaves ``worker``. All are drawn: each draw follows from the last."""
        return islice(schedule(load, seed), self.worker, None, self.of)

    def part_of(self, whole: int) -> int:
        """The parts of all workers add up to ``whole`` and differ by one at most."""
        return whole // self.of + (self.worker < whole % self.of)


def offsets(arrivals: Arrivals, seed: int) -> Iterator[tuple[float, int]]:
    """(seconds since the load began, number of the arrival from 0), for ever; the last stage's rate holds to the end.

    A Poisson process of changing rate is one of rate 1 with its time axis stretched (L. Devroye, "Non-Uniform Random
    Variate Generation", VI.1.3): each step is taken from the expected number of arrivals, not from the time. Constant
    arrivals stand half an interval away from where their stage began.
    """
    poisson = random.Random(f"{seed}/offsets") if arrivals.process == "poisson" else None  # noqa: S311 - no secret
    stages = [(stage.rate, stage.for_s) for stage in arrivals.stages] or [(arrivals.rate, float("inf"))]
    stages[-1] = (stages[-1][0], float("inf"))
    now_s, stage_end_s, number = 0.0, 0.0, 0
    step = poisson.expovariate(1.0) if poisson else 0.5
    for rate, for_s in stages:
        stage_end_s += for_s
        while now_s + step / rate < stage_end_s:
            now_s += step / rate
            yield now_s, number
            number += 1
            step = poisson.expovariate(1.0) if poisson else 1.0
        step -= (stage_end_s - now_s) * rate
        now_s = stage_end_s


def schedule(load: LoadSpec, seed: int) -> Iterator[Arrival]:
    """The arrivals of ``load.routes``, for ever. Needs at least one route."""
    draw = random.Random(f"{seed}/requests")  # noqa: S311 - a reproducible choice, no secret
    until = list(accumulate(route.weight for route in load.routes))
    for offset_s, number in offsets(load.arrivals, seed):
        (route,) = draw.choices(load.routes, cum_weights=until)
        yield Arrival(number=number, offset_s=offset_s, route=route.name, call=fill(route, load.variables, draw))


def fill(request: Request, variables: Mapping[str, Variable], draw: random.Random) -> Call:
    """``request`` with a value drawn for each variable that it uses, the same wherever a name comes up again.

    In ``json``, a text that is nothing but ``{name}`` takes the value with its type, so that a number stays one.
    """
    used = placeholders(request)
    values = {name: _value(variable, draw) for name, variable in variables.items() if name in used}
    method, path = request_parts(request.request)
    return Call(
        method=method,
        path=PLACEHOLDER.sub(lambda match: quote(str(values[match[1]]), safe=""), path),
        json_body=_filled(request.json_body, values),
        headers={key: _text(text, values) for key, text in request.headers.items()},
    )


def _value(variable: Variable, draw: random.Random) -> int | str:
    if variable.integer is not None:
        return draw.randint(*variable.integer)
    if variable.choice is not None:
        return draw.choice(variable.choice)
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))


def _text(text: str, values: Mapping[str, int | str]) -> str:
    return PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)


def _filled(part: Any, values: Mapping[str, int | str]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(part, str):
        whole = PLACEHOLDER.fullmatch(part)
        return values[whole[1]] if whole else _text(part, values)
    if isinstance(part, dict):
        return {key: _filled(item, values) for key, item in part.items()}
    if isinstance(part, list | tuple):
        return [_filled(item, values) for item in part]
    return part
