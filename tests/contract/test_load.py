"""What every implementation of ports.Load promises."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from harness.load.generator import LocustLoad
from harness.load.memory import MemoryLoad
from harness.load.schedule import schedule
from harness.model.scenario import LoadSpec
from harness.model.source import Endpoints
from harness.model.window import Window
from harness.ports import Load, Traffic
from harness.services.supervisor import Supervisor

SEED = 7
THRESHOLDS_MS = {"browse": 400.0}
MakeLoad = Callable[[LoadSpec, float], Load]


def spec(rate: float, process: str = "poisson") -> LoadSpec:
    return LoadSpec.model_validate(
        {
            "arrivals": {"rate": rate, "process": process},
            "variables": {"product": {"integer": [1, 9]}},
            "routes": [
                {"name": "browse", "weight": 3, "request": "GET /products"},
                {"name": "look", "weight": 1, "request": "GET /products/{product}"},
            ],
        }
    )


class SimulatedClock:
    def __init__(self) -> None:
        self._now_s = 5.0

    def now(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds


@contextmanager
def served() -> Iterator[Endpoints]:
    app = Flask(__name__)
    app.add_url_rule("/products", "products", lambda: "[]")
    app.add_url_rule("/products/<int:product>", "product", lambda product: {"id": product})
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Endpoints(url=f"http://127.0.0.1:{server.port}", upstreams={})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=["locust", "locust by two workers", "memory"])
def make_load(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeLoad]:
    def memory(load: LoadSpec, window_s: float) -> Load:
        return MemoryLoad(
            load, thresholds_ms=THRESHOLDS_MS, window_s=window_s, seed=SEED, quality=dict, clock=SimulatedClock()
        )

    def locust(load: LoadSpec, window_s: float) -> Load:
        return LocustLoad(
            load.model_copy(update={"workers": 1 if request.param == "locust" else 2}),
            thresholds_ms=THRESHOLDS_MS,
            window_s=window_s,
            seed=SEED,
            folder=tmp_path / "load",
            supervisor=supervisor,
            clock_origin=time.monotonic(),
            max_s=60,
            scenario_folder=tmp_path,
        )

    if request.param == "memory":
        yield memory
        return
    with Supervisor() as supervisor:
        yield locust


@pytest.fixture
def flowing(make_load: MakeLoad) -> Iterator[Callable[[LoadSpec, float], Traffic]]:
    with ExitStack() as stack:
        endpoints = stack.enter_context(served())
        yield lambda load, window_s: stack.enter_context(make_load(load, window_s).running(endpoints))


def observed(traffic: Traffic, count: int) -> list[Window]:
    windows: list[Window] = []
    deadline = time.monotonic() + 60
    while len(windows) < count:
        assert time.monotonic() < deadline, f"only {len(windows)} windows came"
        window = traffic.observe(0.2)
        windows += [window] if window else []
    return windows


def test_windows_come_in_order_once_each_without_a_gap(flowing: Callable[[LoadSpec, float], Traffic]) -> None:
    windows = observed(flowing(spec(40), 0.5), 5)
    assert [window.index for window in windows] == [0, 1, 2, 3, 4]
    assert all(window.end_s - window.start_s == pytest.approx(0.5) for window in windows)
    assert all(one.end_s == pytest.approx(two.start_s) for one, two in itertools.pairwise(windows))


@pytest.mark.parametrize("process", ["poisson", "constant"])
def test_arrivals_are_those_of_the_schedule(flowing: Callable[[LoadSpec, float], Traffic], process: str) -> None:
    load = spec(60, process)
    windows = observed(flowing(load, 0.5), 4)
    due: list[Counter[str]] = [Counter() for _ in windows]
    for arrival in itertools.takewhile(lambda arrival: arrival.offset_s < 2.0, schedule(load, SEED)):
        due[int(arrival.offset_s / 0.5)][arrival.route] += 1
    assert [Counter({name: route.arrivals for name, route in window.routes.items()}) for window in windows] == due
    assert sum(window.right for window in windows) == sum(window.arrivals for window in windows)


def test_a_window_without_arrivals_comes_all_the_same(flowing: Callable[[LoadSpec, float], Traffic]) -> None:
    windows = observed(flowing(spec(1, "constant"), 0.25), 6)
    assert [window.arrivals for window in windows] == [0, 0, 1, 0, 0, 0]
    assert all(set(window.routes) == {"browse", "look"} for window in windows)
    assert windows[0].routes["browse"].p95_ms is None


def test_nothing_comes_before_it_is_decided(flowing: Callable[[LoadSpec, float], Traffic]) -> None:
    traffic = flowing(spec(20), 30)
    assert traffic.observe(0.1) is None and traffic.observe(0) is None
    assert traffic.settled() == ()


def test_settled_windows_are_those_observed_also_after_the_end(make_load: MakeLoad) -> None:
    with served() as endpoints, make_load(spec(40), 0.25).running(endpoints) as traffic:
        windows = observed(traffic, 4)
        assert [window.index for window in traffic.settled()][:4] == [0, 1, 2, 3]
    settled = traffic.settled()
    assert [window.index for window in settled] == list(range(len(settled))) and len(settled) >= 4
    for early, late in zip(windows, settled, strict=False):
        assert (early.start_s, early.arrivals, set(early.routes)) == (late.start_s, late.arrivals, set(late.routes))
