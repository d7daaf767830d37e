from __future__ import annotations

import selectors
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from conftest import APP, Services, environment, eventually

from harness.services.supervisor import Supervisor
from harness.services.valkey import valkey_running
from shop.resilience import Circuit, CircuitBreaker, CircuitOpen, LocalCircuit, Rules, SharedCircuit, State

RULES = Rules(failures=3, cooldown_s=0.1, lease_s=0.1)


@pytest.fixture(params=["local", "shared"])
def circuit(request: pytest.FixtureRequest, services: Services) -> Iterator[Circuit]:
    """Both kinds keep the same promises."""
    if request.param == "local":
        yield LocalCircuit(RULES)
        return
    with redis.Redis.from_url(services.redis_url) as client:
        name = f"test-{uuid4().hex}"
        yield SharedCircuit(client, name, RULES)
        client.delete(f"breaker:{name}", f"breaker:{name}:probe")


def opened(circuit: Circuit) -> None:
    for number in range(3):
        assert circuit.admit(f"early-{number}") == 0
        circuit.record(f"early-{number}", succeeded=False)


def half_open(circuit: Circuit) -> None:
    opened(circuit)
    eventually(lambda: circuit.state() is State.HALF_OPEN, "the cooldown ends")


def test_three_failures_in_a_row_open_it(circuit: Circuit) -> None:
    for succeeded in (False, False, True, False, False):
        circuit.record("x", succeeded=succeeded)
    assert circuit.state() is State.CLOSED
    circuit.record("x", succeeded=False)
    assert circuit.state() is State.OPEN
    assert 0 < circuit.admit("y") <= RULES.cooldown_s


def test_an_answer_from_before_it_opened_changes_nothing(circuit: Circuit) -> None:
    opened(circuit)
    circuit.record("late", succeeded=True)
    assert circuit.state() is not State.CLOSED


def test_one_probe_closes_it(circuit: Circuit) -> None:
    half_open(circuit)
    assert circuit.admit("probe") == 0
    assert circuit.admit("other") > 0
    circuit.record("probe", succeeded=True)
    assert circuit.state() is State.CLOSED
    assert circuit.admit("other") == 0


def test_a_failed_probe_starts_the_cooldown_again(circuit: Circuit) -> None:
    half_open(circuit)
    assert circuit.admit("probe") == 0
    circuit.record("probe", succeeded=False)
    assert circuit.state() is State.OPEN


def test_a_probe_that_vanished_is_replaced_and_heard_no_more(circuit: Circuit) -> None:
    half_open(circuit)
    assert circuit.admit("vanished") == 0
    eventually(lambda: circuit.admit("second") == 0, "the lease ends")
    circuit.record("vanished", succeeded=True)
    assert circuit.state() is State.HALF_OPEN
    circuit.record("second", succeeded=True)
    assert circuit.state() is State.CLOSED


def test_calls_run_side_by_side(services: Services) -> None:
    breaker = CircuitBreaker(f"test-{uuid4().hex}", RULES, services.redis_url)
    together = threading.Barrier(8)  # broken unless all eight calls are under way at once
    errors: list[BaseException] = []

    def call() -> None:
        try:
            breaker.call(lambda: together.wait(10))
        except (threading.BrokenBarrierError, CircuitOpen) as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    breaker.close()
    assert errors == []


def test_redis_may_die(supervisor: Supervisor, tmp_path: Path) -> None:
    breaker: CircuitBreaker
    with valkey_running(supervisor, log=tmp_path / "valkey.log") as url:
        breaker = CircuitBreaker("mortal", Rules(failures=2, cooldown_s=60, lease_s=60), url)
        assert breaker.call(lambda: "shared") == "shared"
    assert breaker.call(lambda: "local") == "local"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 / 0)
    with pytest.raises(CircuitOpen):
        breaker.call(lambda: "never")
    breaker.close()


class Fleet:
    """Eight processes that share a circuit."""

    def __init__(self, services: Services, stack: ExitStack) -> None:
        command = [sys.executable, str(APP / "tests" / "breaker_process.py"), services.redis_url, "1.0"]
        self.processes = [
            stack.enter_context(
                subprocess.Popen(
                    command, env=environment(services), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(8)
        ]
        self._selector = stack.enter_context(selectors.DefaultSelector())
        for process in self.processes:
            self._selector.register(process.stdout, selectors.EVENT_READ, process)  # type: ignore[arg-type] # it is a pipe

    def tell(self, word: str, *numbers: int) -> None:
        for number in numbers or range(8):
            pipe = self.processes[number].stdin
            assert pipe is not None
            pipe.write(f"{word}\n")
            pipe.flush()

    def hear(self, count: int) -> Counter[str]:
        heard: list[str] = []
        deadline = time.monotonic() + 20
        while len(heard) < count:
            assert time.monotonic() < deadline, f"only {heard}"
            heard += [key.fileobj.readline().strip() for key, _ in self._selector.select(1)]  # type: ignore[union-attr] # a file
        return Counter(heard)


def test_eight_processes_share_one_circuit_and_one_probe(services: Services) -> None:
    keys = ["breaker:shared-by-processes", "breaker:shared-by-processes:probe", "released"]
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(services.redis_url))
        client.delete(*keys)
        stack.callback(client.delete, *keys)
        fleet = Fleet(services, stack)
        watch = SharedCircuit(client, "shared-by-processes", Rules(failures=3, cooldown_s=1.0, lease_s=30))

        fleet.tell("succeed")
        assert fleet.hear(8) == {"made": 8}
        fleet.tell("fail", 0, 1, 2)  # one failure each: only together are they three
        assert fleet.hear(3) == {"failed": 3}
        fleet.tell("succeed")
        assert fleet.hear(8) == {"refused": 8}

        eventually(lambda: watch.state() is State.HALF_OPEN, "the cooldown ends")
        fleet.tell("hold")
        assert fleet.hear(7) == {"refused": 7}  # while the eighth, the probe, is still at it
        client.set("released", 1)
        assert fleet.hear(1) == {"made": 1}
        assert watch.state() is State.CLOSED
        fleet.tell("succeed")
        assert fleet.hear(8) == {"made": 8}
        for process in fleet.processes:
            assert process.stdin is not None
            process.stdin.close()
