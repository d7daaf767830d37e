from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from pydantic import ValidationError
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from harness.errors import InputError, LoadNotFlowing
from harness.load import generator
from harness.load.generator import LocustLoad, LocustTraffic
from harness.load.memory import MemoryLoad, Quality
from harness.load.plan import Plan
from harness.load.schedule import Arrival, Share, offsets, schedule
from harness.model.scenario import Arrivals, LoadSpec
from harness.model.source import Endpoints
from harness.model.window import Window
from harness.ports import Traffic
from harness.services.loopback import free_port
from harness.services.reaper import Process, alive, descendants
from harness.services.supervisor import Supervisor

Flowing = Callable[..., AbstractContextManager[LocustTraffic]]
ROOT = Path(__file__).resolve().parents[2]
ORDERS: dict[str, Any] = {
    "arrivals": {"rate": 50},
    "variables": {"product": {"integer": [1, 9]}, "colour": {"choice": ["red", "light blue"]}, "key": {"uuid": True}},
    "routes": [
        {"name": "browse", "weight": 3, "request": "GET /products/{product}?colour={colour}&same={product}"},
        {
            "name": "order",
            "weight": 1,
            "request": "POST /orders",
            "json": {"lines": [{"product": "{product}", "note": "in {colour}"}], "paid": True},
            "headers": {"Idempotency-Key": "{key}"},
        },
    ],
}


def arrivals(spec: dict[str, Any], seed: int, count: int) -> list[Arrival]:
    return list(itertools.islice(schedule(LoadSpec.model_validate(spec), seed), count))


def within(load: Arrivals, seed: int, start_s: float, end_s: float) -> int:
    return sum(
        offset_s >= start_s for offset_s, _ in itertools.takewhile(lambda it: it[0] < end_s, offsets(load, seed))
    )


class TestSchedule:
    def test_the_same_seed_gives_the_same_requests_at_the_same_times(self) -> None:
        assert arrivals(ORDERS, 1, 500) == arrivals(ORDERS, 1, 500)
        assert arrivals(ORDERS, 1, 500) != arrivals(ORDERS, 2, 500)

    def test_poisson_arrivals_vary_around_the_rate(self) -> None:
        counts = [within(Arrivals(rate=100), 3, second, second + 1) for second in range(50)]
        assert sum(counts) == pytest.approx(5000, rel=0.05)
        assert 5 < sum((count - 100) ** 2 for count in counts) ** 0.5 / 7 < 20  # deviation 10: that of Poisson

    def test_constant_arrivals_are_evenly_spaced(self) -> None:
        times = [offset_s for offset_s, _ in itertools.islice(offsets(Arrivals(rate=20, process="constant"), 1), 100)]
        assert times == pytest.approx([0.025 + 0.05 * number for number in range(100)])

    @pytest.mark.parametrize("process", ["constant", "poisson"])
    def test_stages_follow_each_other_and_the_last_holds(self, process: str) -> None:
        load = Arrivals.model_validate(
            {"rate": 1, "process": process, "stages": [{"rate": 100, "for": 5}, {"rate": 300, "for": 5}]}
        )
        assert within(load, 4, 0, 5) == pytest.approx(500, rel=0.1)
        assert within(load, 4, 5, 10) == pytest.approx(1500, rel=0.1)
        assert within(load, 4, 20, 25) == pytest.approx(1500, rel=0.1)

    def test_numbers_count_from_zero(self) -> None:
        assert [arrival.number for arrival in arrivals(ORDERS, 1, 5)] == [0, 1, 2, 3, 4]

    def test_routes_come_by_weight(self) -> None:
        routes = Counter(arrival.route for arrival in arrivals(ORDERS, 1, 4000))
        assert routes["browse"] / routes["order"] == pytest.approx(3, rel=0.15)

    def test_variables_fill_path_json_and_headers(self) -> None:
        for arrival in arrivals(ORDERS, 1, 200):
            if arrival.route == "browse":
                path = re.fullmatch(r"/products/([1-9])\?colour=(red|light%20blue)&same=([1-9])", arrival.call.path)
                assert path and path[1] == path[3]
            else:
                assert arrival.call.json_body is not None
                (order,) = arrival.call.json_body["lines"]
                assert order["product"] in range(1, 10) and order["note"] in ("in red", "in light blue")
                assert re.fullmatch(
                    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", arrival.call.headers["Idempotency-Key"]
                )

    def test_an_unknown_variable_is_the_users_mistake(self) -> None:
        with pytest.raises(ValidationError, match=r"\{prodct\}"):
            LoadSpec.model_validate(
                {"arrivals": {"rate": 1}, "routes": [{"name": "a", "weight": 1, "request": "GET /{prodct}"}]}
            )


class TestShare:
    def test_every_arrival_is_sent_by_one_worker_unchanged(self) -> None:
        load = LoadSpec.model_validate(ORDERS)
        shares = [
            list(itertools.islice(Share(worker=worker, of=3).arrivals(load, 1), 100)) for worker in range(3)
        ]  # of all, the first 300
        assert [arrival for turn in zip(*shares, strict=True) for arrival in turn] == arrivals(ORDERS, 1, 300)

    @pytest.mark.parametrize(("whole", "of", "parts"), [(200, 1, [200]), (200, 3, [67, 67, 66]), (4, 4, [1, 1, 1, 1])])
    def test_parts_make_up_the_whole(self, whole: int, of: int, parts: list[int]) -> None:
        assert [Share(worker=worker, of=of).part_of(whole) for worker in range(of)] == parts

    @pytest.mark.parametrize(
        ("wrong", "why"),
        [
            ({"arrivals": {"rate": 2001}}, "one worker sends at most 2000 a second: 2001 take workers: 2"),
            ({"arrivals": {"rate": 1, "stages": [{"rate": 9000, "for": 1}]}, "workers": 4}, "9000 take workers: 5"),
            ({"arrivals": {"rate": 1, "maxInFlight": 3}, "workers": 4}, "give at least 4"),
            ({"workers": 0}, "greater than or equal to 1"),
            ({"workers": 65}, "less than or equal to 64"),
            ({"workers": 2, "routes": [], "locustfile": "mine.py"}, "runs in one process"),
        ],
    )
    def test_what_cannot_be_shared_is_refused(self, wrong: dict[str, object], why: str) -> None:
        assert LoadSpec.model_validate({**ORDERS, "arrivals": {"rate": 2001}, "workers": 2}).workers == 2
        with pytest.raises(ValidationError, match=why):
            LoadSpec.model_validate({**ORDERS, **wrong})


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class TestMemoryLoad:
    def windows(self, quality: Callable[[], Mapping[str, Quality]], seed: int = 1) -> list[Window]:
        load = MemoryLoad(
            LoadSpec.model_validate(ORDERS),
            thresholds_ms={"browse": 300},
            window_s=1,
            seed=seed,
            quality=quality,
            clock=FakeClock(),
        )
        with load.running(Endpoints(url="", upstreams={})) as traffic:
            return [window for _ in range(10) if (window := traffic.observe(1.0))]

    def test_windows_show_the_quality_of_their_time(self) -> None:
        bad = itertools.chain([{}] * 5, itertools.repeat({"browse": Quality(failed=0.5, slow=0.5, latency_ms=20)}))
        windows = self.windows(lambda: next(bad))
        browse = [window.routes["browse"] for window in windows]
        assert all(route.bad == 0 and route.p95_ms is not None and route.p95_ms < 300 for route in browse[:5])
        assert all(route.ok == 0 and route.failed and route.slow for route in browse[5:])
        assert all(window.routes["order"].bad == 0 for window in windows)
        assert all(route.p95_ms is not None and route.p95_ms > 300 for route in browse[5:])

    def test_the_same_seed_gives_the_same_windows(self) -> None:
        def weak() -> dict[str, Quality]:
            return {"browse": Quality(failed=0.3)}

        assert self.windows(weak) == self.windows(weak)
        assert self.windows(weak) != self.windows(weak, seed=2)


@contextmanager
def served(answer: Callable[[Request], Response]) -> Iterator[Endpoints]:
    server = make_server("127.0.0.1", 0, Request.application(answer), threaded=True)
    with _running(server):
        yield Endpoints(url=f"http://127.0.0.1:{server.port}", upstreams={})


@contextmanager
def held() -> Iterator[Endpoints]:
    """A server that answers nothing until the end."""
    released = threading.Event()

    def answer(_: Request) -> Response:
        released.wait(60)
        return Response("ok")

    with served(answer) as endpoints:
        try:
            yield endpoints
        finally:
            released.set()


@contextmanager
def connections(handle: Callable[[socketserver.StreamRequestHandler], None]) -> Iterator[Endpoints]:
    """A server below HTTP: ``handle`` is called once a connection, which is closed when it returns."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            handle(self)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 100

    server = Server(("127.0.0.1", 0), Handler)
    with _running(server):
        yield Endpoints(url=f"http://127.0.0.1:{server.server_address[1]}", upstreams={})


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read_request(connection: socketserver.StreamRequestHandler) -> str:
    """The first line of the next request on a connection; "" when the client closed it."""
    first = connection.rfile.readline().decode()
    length = 0
    while (header := connection.rfile.readline().decode().strip().lower()) != "":
        if header.startswith("content-length:"):
            length = int(header.split(":")[1])
    connection.rfile.read(length)
    return first


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def one_route(
    request: str = "GET /",
    *,
    rate: float = 20,
    arrivals: Mapping[str, object] | None = None,
    route: Mapping[str, object] | None = None,
    **load: object,
) -> LoadSpec:
    return LoadSpec.model_validate(
        {
            "arrivals": {"rate": rate, "process": "constant", **(arrivals or {})},
            "routes": [{"name": "only", "weight": 1, "request": request, **(route or {})}],
            **load,
        }
    )


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as running:
        yield running


@pytest.fixture
def flowing(supervisor: Supervisor, tmp_path: Path) -> Flowing:
    @contextmanager
    def flow(
        spec: LoadSpec, endpoints: Endpoints, *, max_s: float = 60, window_s: float = 0.5
    ) -> Iterator[LocustTraffic]:
        load = LocustLoad(
            spec,
            thresholds_ms={"only": 400},
            window_s=window_s,
            seed=1,
            folder=tmp_path / "load",
            supervisor=supervisor,
            clock_origin=time.monotonic(),
            max_s=max_s,
            scenario_folder=tmp_path,
        )
        with load.running(endpoints) as traffic:
            yield traffic

    return flow


def observed(traffic: Traffic, count: int) -> list[Window]:
    deadline = time.monotonic() + 60
    windows: list[Window] = []
    while len(windows) < count:
        assert time.monotonic() < deadline, f"only {len(windows)} windows came"
        window = traffic.observe(0.2)
        windows += [window] if window else []
    return windows


def total(windows: list[Window], fate: str) -> int:
    return sum(getattr(route, fate) for window in windows for route in window.routes.values())


def errors(tmp_path: Path) -> set[str]:
    lines = (tmp_path / "load" / "samples.jsonl").read_text().splitlines()
    return {sample["error"] for sample in map(json.loads, lines) if sample["k"] == "done"}


class TestWhatIsMeasured:
    def test_a_stall_is_seen_in_full(self, flowing: Flowing) -> None:
        """Closed-loop users would send next to nothing during a stall, and report a p95 of milliseconds."""
        stalled_until = [0.0]
        lock = threading.Lock()

        def answer(_: Request) -> Response:
            with lock:
                stalled_until[0] = stalled_until[0] or time.monotonic() + 6  # the first request begins it: 1 s to spare
            time.sleep(max(0.0, stalled_until[0] - time.monotonic()))
            return Response("ok")

        with served(answer) as endpoints, flowing(one_route(), endpoints, window_s=1) as traffic:
            windows = observed(traffic, 7)
            settled = list(traffic.settled()[:7])
        assert [window.arrivals for window in windows] == [20] * 7 == [window.arrivals for window in settled]
        assert total(windows[:4], "pending") == 80 and total(settled[:4], "slow") == 80
        p95 = [window.routes["only"].p95_ms or 0 for window in settled]
        assert p95[0] > 3000 and sorted(p95, reverse=True)[:5] == p95[:5]

    @pytest.mark.parametrize("workers", [1, 3])
    def test_over_the_cap_arrivals_are_dropped_and_counted(self, flowing: Flowing, workers: int) -> None:
        spec = one_route(rate=40, arrivals={"maxInFlight": 5}, workers=workers)
        with held() as endpoints, flowing(spec, endpoints) as traffic:
            windows = observed(traffic, 2)
        assert total(windows, "pending") == 5 and total(windows, "dropped") == 35

    def test_no_answer_within_the_time_out_is_a_failure(self, flowing: Flowing, tmp_path: Path) -> None:
        with held() as endpoints, flowing(one_route(arrivals={"timeout": 0.3}), endpoints) as traffic:
            windows = observed(traffic, 2)
        assert total(windows, "failed") == 20
        assert errors(tmp_path) == {"no answer within 0.3 s"}

    def test_success_is_judged_by_content(self, flowing: Flowing, tmp_path: Path) -> None:
        answers = {"right": ("well", 200), "also": ("well", 202), "sorry": ("sorry", 200), "broken": ("well", 500)}
        expect = {"status": [200, 202], "contains": "well"}
        routes = [{"name": name, "weight": 1, "request": f"GET /{name}", "expect": expect} for name in answers]
        spec = LoadSpec.model_validate({"arrivals": {"rate": 100}, "routes": routes})
        with (
            served(lambda request: Response(*answers[request.path[1:]])) as endpoints,
            flowing(spec, endpoints) as traffic,
        ):
            (window,) = observed(traffic, 1)
        for name, route in window.routes.items():
            assert route.arrivals > 0
            assert route.arrivals == (route.ok + route.slow if name in ("right", "also") else route.failed)
        assert errors(tmp_path) == {"", "status 500", "the answer lacks 'well'"}

    @pytest.mark.parametrize(("expected", "right"), [(302, True), (200, False)])
    def test_redirects_are_followed_unless_expected(self, flowing: Flowing, expected: int, right: bool) -> None:
        def answer(request: Request) -> Response:
            return Response("", 302, headers={"Location": "/gone"}) if request.path == "/" else Response("gone", 404)

        with (
            served(answer) as endpoints,
            flowing(one_route(route={"expect": {"status": [expected]}}), endpoints) as traffic,
        ):
            assert total(observed(traffic, 1), "ok" if right else "failed") == 10

    def test_half_an_answer_is_a_failure(self, flowing: Flowing, tmp_path: Path) -> None:
        def handle(connection: socketserver.StreamRequestHandler) -> None:
            read_request(connection)
            connection.wfile.write(OK.replace(b": 2", b": 2000"))

        with connections(handle) as endpoints, flowing(one_route(), endpoints) as traffic:
            assert total(observed(traffic, 1), "failed") == 10

    def test_nobody_there_is_a_failure(self, flowing: Flowing) -> None:
        with connections(lambda _: None) as endpoints:
            pass  # the port is closed again
        with flowing(one_route(), endpoints) as traffic:
            assert total(observed(traffic, 1), "failed") == 10


class TestConnections:
    def test_a_kept_connection_that_the_server_closes_is_no_failure(self, flowing: Flowing) -> None:
        """As at a restart: it is closed while idle, or just when the next request has been written to it."""
        seen: list[str] = []
        opened = itertools.count()

        def handle(connection: socketserver.StreamRequestHandler) -> None:
            number = next(opened)
            seen.append(read_request(connection))
            connection.wfile.write(OK)
            if number % 2:
                seen.append(read_request(connection))

        with connections(handle) as endpoints, flowing(one_route(), endpoints) as traffic:
            windows = observed(traffic, 4)
        assert total(windows, "ok") == 40
        assert len(seen) > 45  # some were sent twice, or this shows nothing

    def test_an_order_is_never_sent_twice(self, flowing: Flowing) -> None:
        orders: list[str] = []
        opened = itertools.count()

        def handle(connection: socketserver.StreamRequestHandler) -> None:
            number = next(opened)
            orders.append(read_request(connection))
            if number % 2:
                connection.wfile.write(OK)

        spec = one_route("POST /orders/{key}", variables={"key": {"uuid": True}})
        with connections(handle) as endpoints, flowing(spec, endpoints) as traffic:
            windows = observed(traffic, 4)
        assert total(windows, "ok") == 20 and total(windows, "failed") == 20
        assert len(orders) >= 40 and len(set(orders)) == len(orders)

    def test_a_server_that_dies_under_requests_is_not_asked_over_and_over(self, flowing: Flowing) -> None:
        asked: list[str] = []

        with (
            connections(lambda connection: asked.append(read_request(connection))) as endpoints,
            flowing(one_route(), endpoints) as traffic,
        ):
            windows = observed(traffic, 4)
        assert total(windows, "failed") == 40 and len(asked) < 100


LOGIN = {"request": "POST /login", "json": {"user": "ann"}}


class TestLogin:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_its_cookies_stay(self, flowing: Flowing, workers: int) -> None:
        logins = []

        def answer(request: Request) -> Response:
            if request.path != "/login":
                return Response("ok", 200 if request.cookies.get("user") == "ann" else 401)
            logins.append(request.json)
            response = Response("ok")
            response.set_cookie("user", str(request.get_json()["user"]))
            return response

        with served(answer) as endpoints, flowing(one_route(login=LOGIN, workers=workers), endpoints) as traffic:
            assert total(observed(traffic, 1), "ok") == 10
        assert logins == [{"user": "ann"}]

    @pytest.mark.parametrize("workers", [1, 3])
    def test_load_without_it_does_not_flow(self, flowing: Flowing, workers: int) -> None:
        with (
            served(lambda _: Response("who?", 401)) as endpoints,
            pytest.raises(LoadNotFlowing, match=r"login 'POST /login' at .* failed: status 401"),
            flowing(one_route(login=LOGIN, workers=workers), endpoints),
        ):
            pass


class TestWorkers:
    ROUTES: tuple[dict[str, Any], ...] = (  # each request names itself
        ORDERS["routes"][0] | {"headers": {"Idempotency-Key": "{key}"}},
        ORDERS["routes"][1],
    )
    COUNT = 100  # of arrivals: 2 s

    @pytest.mark.parametrize("workers", [1, 3])
    def test_they_send_the_schedule_each_arrival_once(
        self, flowing: Flowing, supervisor: Supervisor, tmp_path: Path, workers: int
    ) -> None:
        asked: list[tuple[str, str, str, object]] = []

        def answer(request: Request) -> Response:
            body = request.get_json() if request.method == "POST" else None
            asked.append((request.headers["Idempotency-Key"], request.method, request.environ["REQUEST_URI"], body))
            return Response("ok")

        spec = LoadSpec.model_validate({**ORDERS, "routes": self.ROUTES, "workers": workers})
        expected = list(itertools.islice(schedule(spec, 1), self.COUNT))
        with served(answer) as endpoints, flowing(spec, endpoints) as traffic:
            last_s = expected[-1].offset_s
            observed(traffic, int(last_s / 0.5) + 1)
            (load,) = supervisor.children
            assert len(descendants(load.pid)) == (workers if workers > 1 else 0)
        lines = [json.loads(line) for line in (tmp_path / "load" / "samples.jsonl").read_text().splitlines()]
        (origin,) = (line["at"] for line in lines if line["k"] == "ready")
        sent = sorted((line for line in lines if line["k"] == "sent"), key=lambda line: line["n"])
        assert len({line["n"] for line in sent}) == len(sent)
        first = sent[: self.COUNT]
        assert [(line["n"], line["route"]) for line in first] == [(it.number, it.route) for it in expected]
        assert [line["due"] - origin for line in first] == pytest.approx([it.offset_s for it in expected], abs=1e-6)
        calls = {it.call.headers["Idempotency-Key"]: it.call for it in expected}
        of_these = [request for request in asked if request[0] in calls]
        assert len(of_these) == len(calls) == self.COUNT
        for key, method, path, body in of_these:
            assert (method, path, body) == (calls[key].method, calls[key].path, calls[key].json_body)

    def test_one_that_dies_ends_the_load(self, flowing: Flowing, supervisor: Supervisor) -> None:
        with (
            served(lambda _: Response("ok")) as endpoints,
            flowing(one_route(workers=3), endpoints) as traffic,
        ):
            observed(traffic, 1)
            (load,) = supervisor.children
            family = descendants(load.pid)
            os.kill(family[1].pid, 9)
            with pytest.raises(LoadNotFlowing, match=r"worker [123] of 3 ended with code -9"):
                observed(traffic, 1000)
        assert len(family) == 3 and gone(family)

    @pytest.mark.parametrize("workers", [1, 3])
    def test_one_that_hangs_ends_the_load(
        self, flowing: Flowing, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, workers: int
    ) -> None:
        """Others go on, and their windows look well: but it is not the load that was told."""
        monkeypatch.setattr(generator, "_HANGS_S", 2.0)
        with (
            served(lambda _: Response("ok")) as endpoints,
            flowing(one_route(workers=workers), endpoints) as traffic,
        ):
            observed(traffic, 1)
            (load,) = supervisor.children
            family = descendants(load.pid)
            os.kill(family[1].pid if workers > 1 else load.pid, signal.SIGSTOP)
            with pytest.raises(LoadNotFlowing, match=r"not sent what was due 2\.\d s ago: a process of it hangs"):
                observed(traffic, 1000)
        assert not load.running() and gone(family)

    def test_a_stranger_at_their_port_changes_nothing(self, flowing: Flowing, tmp_path: Path) -> None:
        """An app on trial may reach it, and what Locust's master cannot read ends its listener."""
        with (
            served(lambda _: Response("ok")) as endpoints,
            flowing(one_route(workers=2), endpoints) as traffic,
            zmq.Context() as context,
            context.socket(zmq.DEALER) as stranger,
        ):
            port = Plan.read(tmp_path / "load" / "load-plan.json").port
            stranger.connect(f"tcp://127.0.0.1:{port}")
            for message in (["client_ready", "2.47", "stranger"], ["quit", None, "stranger"], ["stats", {}, "no one"]):
                stranger.send(msgpack.dumps(message))
            stranger.send(b"no message")
            assert [window.arrivals for window in observed(traffic, 6)] == [10] * 6

    def test_none_outlives_the_master(self, flowing: Flowing, supervisor: Supervisor) -> None:
        with (
            held() as endpoints,
            flowing(one_route(workers=3), endpoints) as traffic,
        ):
            (load,) = supervisor.children
            family = descendants(load.pid)
            os.kill(load.pid, 9)
            assert len(family) == 3 and gone(family)  # by themselves: nobody has stopped the load yet
            with pytest.raises(LoadNotFlowing, match=r"ended with code -9"):
                observed(traffic, 1000)


def gone(family: list[Process]) -> bool:
    """Waits until none of them runs."""
    deadline = time.monotonic() + 10
    while any(alive(each) for each in family) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(alive(each) for each in family)


class TestProcess:
    @pytest.mark.parametrize("workers", [1, 2])
    @pytest.mark.parametrize("bound", ["signal", "time"])
    def test_it_ends_cleanly_whatever_is_in_flight(
        self, supervisor: Supervisor, tmp_path: Path, bound: str, workers: int
    ) -> None:
        with held() as endpoints:
            path = tmp_path / "plan.json"
            Plan(
                url=endpoints.url,
                load=one_route(rate=100, arrivals={"timeout": 60}, workers=workers),
                seed=1,
                samples=tmp_path / "samples.jsonl",
                max_seconds=60 if bound == "signal" else 3,
                port=free_port(),
            ).write(path)
            child = supervisor.start(
                "load",
                [sys.executable, "-m", "harness.load.locustfile", str(path)],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                cwd=tmp_path,
                log=tmp_path / "load.log",
            )
            deadline = time.monotonic() + 30
            while (
                not (tmp_path / "samples.jsonl").exists() or (tmp_path / "samples.jsonl").read_bytes().count(b"\n") < 50
            ):
                assert child.running() and time.monotonic() < deadline, child.tail()
                time.sleep(0.02)
            family = descendants(child.pid)
            if bound == "signal":
                child.signal(15)
            assert child.wait(10) == 0, child.tail()
            assert child.tail() == "" and gone(family)

    def test_its_end_is_told_to_the_observer(self, flowing: Flowing) -> None:
        with (
            served(lambda _: Response("ok")) as endpoints,
            flowing(one_route(), endpoints, max_s=1) as traffic,
            pytest.raises(LoadNotFlowing, match="ended with code 0"),
        ):
            observed(traffic, 1000)

    def test_a_line_that_nobody_understands_ends_the_measurement(self, flowing: Flowing, tmp_path: Path) -> None:
        with (
            served(lambda _: Response("ok")) as endpoints,
            flowing(one_route(), endpoints) as traffic,
        ):
            observed(traffic, 1)
            (samples,) = tmp_path.rglob("samples.jsonl")
            with samples.open("ab") as file:
                file.write(b"\nwhat somebody else wrote\n")
            with pytest.raises(LoadNotFlowing, match="cannot be understood"):
                observed(traffic, 1000)


class TestOwnLocustfile:
    TEXT = """
import os
from locust import FastHttpUser, constant_throughput, task

print(sorted(os.environ))

class Shopper(FastHttpUser):
    wait_time = constant_throughput(1)

    @task
    def shop(self):
        self.client.get("/", name="only")
        self.client.get("/broken", name="broken")
"""

    def spec(self) -> LoadSpec:
        return LoadSpec.model_validate({"arrivals": {"rate": 20}, "locustfile": "mine.py"})

    def test_it_is_run_as_it_is(self, flowing: Flowing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GEMINI_API_KEY", "not for the load")
        (tmp_path / "mine.py").write_text(self.TEXT)
        with (
            served(lambda request: Response("ok", 200 if request.path == "/" else 503)) as endpoints,
            flowing(self.spec(), endpoints) as traffic,
        ):
            windows = observed(traffic, 6)
        right, wrong = (sum(window.routes[name].arrivals for window in windows[1:]) for name in ("only", "broken"))
        assert right > 20 and wrong > 20
        assert total(windows, "failed") == sum(window.routes["broken"].failed for window in windows) > 20
        log = (tmp_path / "load" / "load.log").read_text()
        assert "PATH" in log and "API_KEY" not in log

    def test_a_missing_one_is_the_users_mistake(self, flowing: Flowing, tmp_path: Path) -> None:
        with (
            pytest.raises(InputError, match=r"mine\.py does not exist"),
            flowing(self.spec(), Endpoints(url="", upstreams={})),
        ):
            pass

    def test_a_broken_one_says_so(self, flowing: Flowing, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("import nothing_of_this_name\n")
        with (
            served(lambda _: Response("ok")) as endpoints,
            pytest.raises(LoadNotFlowing, match="nothing_of_this_name"),
            flowing(self.spec(), endpoints),
        ):
            pass
