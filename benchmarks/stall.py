"""What a stall looks like to closed-loop users and to ours: ``python -m benchmarks.stall``, from the checkout's root.

The same server, which stands still for 5 s, twice: once under Locust's own users, ten of them with
``constant_throughput(10)``, and once under the harness's generator. Both aim at 100 requests a second for 20 s.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import harness
from harness.load.generator import LocustLoad
from harness.load.samples import Samples
from harness.load.schedule import offsets
from harness.model.scenario import LoadSpec
from harness.model.source import Endpoints
from harness.services.loopback import free_port
from harness.services.ready import tcp_ready
from harness.services.supervisor import Supervisor

ROOT = Path(harness.__file__).parent.parent
RATE, SECONDS, STALL_AFTER_S, STALL_S = 100, 20, 6.0, 5.0
STOCK = """
from locust import FastHttpUser, constant_throughput, task

class Shopper(FastHttpUser):
    wait_time = constant_throughput(10)

    @task
    def shop(self):
        self.client.get("/")
"""
_first = threading.Lock(), [0.0]


def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - see PEP 3333
    """Stands still from 6 to 11 s after the first request."""
    lock, began = _first
    with lock:
        began[0] = began[0] or time.monotonic()
    since_s = time.monotonic() - began[0]
    if STALL_AFTER_S <= since_s < STALL_AFTER_S + STALL_S:
        time.sleep(STALL_AFTER_S + STALL_S - since_s)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@contextmanager
def served(supervisor: Supervisor, folder: Path) -> Iterator[str]:
    port = free_port()
    child = supervisor.start(
        "app",
        # a thread for every request of the stall: the server must not add a queue of its own
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "gthread",
            "--threads=800",
            f"-b127.0.0.1:{port}",
            "benchmarks.stall:app",
        ],
        env={"PATH": os.environ.get("PATH", os.defpath)},
        cwd=ROOT,
        log=folder / "app.log",
    )
    tcp_ready("127.0.0.1", port, timeout_s=30, child=child)
    yield f"http://127.0.0.1:{port}"
    child.stop()


def stock(supervisor: Supervisor, folder: Path) -> tuple[int, float]:
    """(requests sent, p95 in ms), as Locust's own report has them."""
    (folder / "stock.py").write_text(STOCK)
    with served(supervisor, folder) as url:
        options = ["--users=10", "--spawn-rate=10", f"--run-time={SECONDS}s", f"--host={url}", "--csv=stock"]
        child = supervisor.start(
            "stock",
            [sys.executable, "-m", "locust", "-fstock.py", "--headless", *options],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=folder,
            log=folder / "stock.log",
        )
        child.wait(SECONDS + 30)
    with (folder / "stock_stats.csv").open() as file:
        total = list(csv.DictReader(file))[-1]
    return int(total["Request Count"]), float(total["95%"])


def ours(supervisor: Supervisor, folder: Path) -> tuple[int, float]:
    """(requests sent, p95 in ms), both of the arrivals that were due within the 20 s."""
    spec = LoadSpec.model_validate(
        {
            "arrivals": {"rate": RATE, "process": "constant", "maxInFlight": 800},
            "routes": [{"name": "root", "weight": 1, "request": "GET /"}],
        }
    )
    with served(supervisor, folder) as url:
        load = LocustLoad(
            spec,
            thresholds_ms={"root": 500},
            window_s=1,
            seed=1,
            folder=folder,
            supervisor=supervisor,
            clock_origin=0.0,
            max_s=SECONDS + 60,
            scenario_folder=folder,
        )
        with load.running(Endpoints(url=url, upstreams={})):
            time.sleep(SECONDS + 1)
    whole = Samples(window_s=SECONDS, origin=0.0, thresholds_ms={})
    whole.feed((folder / "samples.jsonl").read_bytes())
    root = whole.settled(time.monotonic())[0].routes["root"]
    return root.arrivals - root.dropped, root.p95_ms or 0.0


def main() -> None:
    arrivals = LoadSpec.model_validate(
        {"arrivals": {"rate": RATE, "process": "constant"}, "routes": [{"name": "r", "weight": 1, "request": "GET /"}]}
    ).arrivals
    scheduled = sum(1 for _ in takewhile(lambda it: it[0] < SECONDS, offsets(arrivals, 1)))
    print(f"a server that stands still for {STALL_S:g} s of {SECONDS} s, at {RATE} requests a second")
    print(f"{'':24}{'sent/scheduled':>16}{'p95':>12}")
    with tempfile.TemporaryDirectory() as folder, Supervisor() as supervisor:
        for name, run in (("Locust's own users", stock), ("open loop, from due", ours)):
            sent, p95_ms = run(supervisor, Path(folder))
            print(f"{name:24}{f'{sent}/{scheduled}':>16}{f'{p95_ms:,.0f} ms':>12}", flush=True)


if __name__ == "__main__":
    main()
