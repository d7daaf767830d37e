"""From an incident's commit to the event at a client, with many live pages open, and the list at many incidents.

    python -m benchmarks.dashboard --clients 200 --changes 500
    python -m benchmarks.dashboard --clients 50 --changes 10000 --rate 400 --drops 0.002 --kill

A process of its own writes changes as a trial does; clients are sockets of one thread, so that they cost little. Lag is
counted from the moment at which the commit has returned. With ``--drops`` a client hangs up after a change, as often as
that, and comes again with Last-Event-ID; with ``--kill`` Valkey is killed in the middle and started again, empty.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psutil
from sqlalchemy import text
from sqlalchemy.orm import Session

from harness.incidents import changes, store
from harness.incidents.database import engine
from harness.services.loopback import free_port
from harness.services.shared import Shared, shared_services
from harness.services.supervisor import Supervisor
from harness.services.valkey import valkey_binary
from harness.sinks.recorder import Recorder
from harness.sinks.stream import Stream
from tests import events as sample

PATH = "/developer/incidents/events"
PATIENCE_S = 60.0


@dataclass(eq=False)
class Client:
    port: int
    drops: float
    rng: random.Random
    after: int = 0
    rest: bytes = b""
    seen: dict[int, float] = field(default_factory=dict)
    twice: int = 0

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port))
        asked = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nLast-Event-ID: {self.after}\r\n\r\n"
        made.sendall(asked.encode())
        made.setblocking(False)
        self.rest = b""
        return made

    def take(self, data: bytes, now_s: float) -> bool:
        """Whether it hangs up now."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"id: "):
                self.after = int(line[4:])
                self.twice += self.after in self.seen
                self.seen.setdefault(self.after, now_s)
                if self.drops and self.rng.random() < self.drops:
                    return True
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description="live pages: how late, and whether anything is lost")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--rate", type=float, default=10.0, help="changes a second")
    parser.add_argument("--drops", type=float, default=0.0)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--incidents", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as (port, shared):
        filled(shared, given.incidents)
        query_ms, whole_ms = listed_ms(shared), page_ms(port)
        print(f"list of {given.incidents} incidents: {query_ms:.1f} ms the query, {whole_ms:.1f} ms the page")
        live(given, port, shared, Path(name))


@contextmanager
def running(folder: Path) -> Iterator[tuple[int, Shared]]:
    port, results = free_port(), folder / "results"
    command = [sys.executable, "-m", "harness", "dashboard", "--results", str(results), "--port", str(port)]
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE)
    try:
        assert process.stderr and b"incidents at" in process.stderr.readline()
        shared = shared_services(results)
        assert shared
        yield port, shared
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def filled(shared: Shared, incidents: int) -> None:
    """Copies of one real row, at other times."""
    with Recorder(shared.database_url) as recorder:
        for event in sample.healed(sample.trial("first")):
            recorder(event)
    database = engine(shared.database_url)
    with database.begin() as connection:
        names = "SELECT column_name FROM information_schema.columns WHERE table_name = 'incident'"
        found = [name for (name,) in connection.execute(text(names)) if name not in ("trial_id", "detected_at")]
        kept = ", ".join(f'"{name}"' for name in found)
        copies = f"SELECT 'trial-' || n, detected_at - n * interval '1 minute', {kept} FROM incident"  # noqa: S608 - names of our own table
        copies += f", generate_series(1, {incidents - 1}) n WHERE trial_id = 'first'"
        connection.execute(text(f"INSERT INTO incident (trial_id, detected_at, {kept}) {copies}"))
        connection.execute(text("ANALYZE incident"))
    database.dispose()


def listed_ms(shared: Shared) -> float:
    """The slowest of a plain, a filtered and a searched list, each the median of nine."""
    database = engine(shared.database_url)
    slowest = 0.0
    for wanted in (
        store.Wanted(),
        store.Wanted(outcome="HEALED"),
        store.Wanted(text="nobody has this"),
        store.Wanted(text="trial-99"),
    ):
        took = []
        for _ in range(9):
            with Session(database) as session:
                started_s = time.perf_counter()
                store.listed(session, wanted, 51)
                took.append(1000 * (time.perf_counter() - started_s))
        slowest = max(slowest, sorted(took)[4])
    database.dispose()
    return slowest


def page_ms(port: int) -> float:
    took = []
    for _ in range(9):
        started_s = time.perf_counter()
        httpx.get(f"http://127.0.0.1:{port}/developer/incidents").raise_for_status()
        took.append(1000 * (time.perf_counter() - started_s))
    return sorted(took)[4]


def live(given: argparse.Namespace, port: int, shared: Shared, folder: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    writer = multiprocessing.get_context("spawn").Process(
        target=write, args=(shared, given.changes, given.rate, theirs)
    )
    clients = [Client(port, given.drops, random.Random(number)) for number in range(given.clients)]  # noqa: S311 - when to hang up is no secret
    database = engine(shared.database_url)
    with Session(database) as session:
        first = changes.newest(session)
    database.dispose()
    for client in clients:
        client.after = first
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.connect(), selectors.EVENT_READ, client)
    time.sleep(2.0)  # until all listen
    writer.start()
    committed: dict[int, float] = {}
    began_s, killed, over_s = time.monotonic(), not given.kill, 0.0
    with Supervisor() as supervisor:
        while not over_s or (time.monotonic() < over_s and any(len(one.seen) < given.changes for one in clients)):
            for key, _ in selector.select(0.2):
                handle(selector, key.fileobj, key.data)
            while ours.poll():
                told = ours.recv()
                if told is None:
                    over_s = time.monotonic() + PATIENCE_S
                else:
                    committed[told[0]] = told[1]
            if not killed and time.monotonic() - began_s > given.changes / given.rate / 2:
                restart_valkey(shared, supervisor, folder)
                killed = True
    writer.join()
    report(clients, committed, given)


def handle(selector: selectors.BaseSelector, connection: object, client: Client) -> None:
    assert isinstance(connection, socket.socket)
    try:
        data = connection.recv(65536)
    except BlockingIOError:
        return
    except ConnectionError:
        data = b""
    if data and not client.take(data, time.monotonic()):
        return
    selector.unregister(connection)
    connection.close()
    selector.register(client.connect(), selectors.EVENT_READ, client)


def restart_valkey(shared: Shared, supervisor: Supervisor, folder: Path) -> None:
    (pid,) = (pid for pid in shared.processes if "valkey" in " ".join(psutil.Process(pid).cmdline()))
    os.kill(pid, signal.SIGKILL)
    assert shared.redis_url
    port = shared.redis_url.rpartition(":")[2].partition("/")[0]
    command = [str(valkey_binary()), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    supervisor.start("valkey", command, env={}, cwd=folder, log=folder / "valkey.log")
    print("Valkey was killed and started again, empty")


def write(shared: Shared, number: int, rate: float, told: Connection) -> None:
    """As trials do, and when each commit had returned."""
    database = engine(shared.database_url)
    due_s = time.monotonic()
    with Stream(lambda: (shared.database_url, shared.redis_url or "")) as stream:
        for _ in range(number):
            with Session(database) as session, session.begin():
                changes.publish(session, "first", "inc-7f3a", "refused")
            at_s = time.monotonic()
            stream(sample.healed()[-1])
            with Session(database) as session:
                told.send((changes.newest(session), at_s))
            due_s += 1 / rate
            time.sleep(max(0.0, due_s - time.monotonic()))
    told.send(None)
    database.dispose()


def report(clients: list[Client], committed: dict[int, float], given: argparse.Namespace) -> None:
    lags = sorted(1000 * (one.seen[n] - at_s) for one in clients for n, at_s in committed.items() if n in one.seen)
    lost = sum(len(committed.keys() - one.seen.keys()) for one in clients)
    twice = sum(one.twice for one in clients)
    share = {name: lags[min(len(lags) - 1, int(part * len(lags)))] for name, part in (("p50", 0.5), ("p99", 0.99))}
    print(
        f"{given.clients} clients, {len(committed)} changes at {given.rate:g} a second: p50 {share['p50']:.1f} ms, "
        f"p99 {share['p99']:.1f} ms, worst {lags[-1]:.0f} ms; lost {lost}, twice {twice} of {len(lags)}"
    )
    print(json.dumps({"p50_ms": share["p50"], "p99_ms": share["p99"], "lost": lost, "twice": twice}))


if __name__ == "__main__":
    main()
