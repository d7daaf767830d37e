"""How punctual is the load generator? Run it from the checkout's root: ``python -m benchmarks.load``.

Beside a small gunicorn app: arrivals sent against scheduled, how late they left, how long a line took to its reader,
and the highest rate at which the generator can still be believed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import harness
from harness.load.generator import LocustLoad
from harness.load.samples import Samples, nearest_rank
from harness.load.schedule import offsets
from harness.model.scenario import LoadSpec
from harness.model.source import Endpoints
from harness.services.loopback import free_port
from harness.services.ready import http_ready
from harness.services.supervisor import Supervisor

ROOT = Path(harness.__file__).parent.parent
RATES = (250, 500, 750, 1000, 1500, 2000)
WORKERS = (1, 2)
SEED = 1


def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - see PEP 3333
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "11")])
    return [b'{"ok":true}']


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    scheduled: int
    sent: int
    right: int
    lag_p99_ms: float
    delay_p99_ms: float  # from a line's event to its being read

    @property
    def believed(self) -> bool:
        return self.sent >= 0.99 * self.scheduled and self.lag_p99_ms <= 20

    def __str__(self) -> str:
        return (
            f"sent {self.sent} of {self.scheduled} ({self.sent / self.scheduled:.1%}), right {self.right}, "
            f"p99 lag {self.lag_p99_ms:.1f} ms, p99 line to reader {self.delay_p99_ms:.1f} ms"
        )


def measure(rate: float, seconds: float, supervisor: Supervisor, url: str, workers: int = 1) -> Run:
    spec = LoadSpec.model_validate(
        {
            "arrivals": {"rate": rate, "maxInFlight": 1000},
            "workers": workers,
            "routes": [{"name": "root", "weight": 1, "request": "GET /", "expect": {"contains": "true"}}],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        load = LocustLoad(
            spec,
            thresholds_ms={"root": 500},
            window_s=1,
            seed=SEED,
            folder=Path(folder),
            supervisor=supervisor,
            clock_origin=0.0,
            max_s=seconds + 60,
            scenario_folder=ROOT,
        )
        with load.running(Endpoints(url=url, upstreams={})), (Path(folder) / "samples.jsonl").open("rb") as file:
            seen = _follow(file, seconds)
    until = next(line["at"] for line, _ in seen if line["k"] == "ready") + seconds
    sent = [line for line, _ in seen if line["k"] == "sent" and line["due"] < until]
    numbers = {line["n"] for line in sent}
    return Run(
        scheduled=sum(1 for _ in takewhile(lambda it: it[0] < seconds, offsets(spec.arrivals, SEED))),
        sent=len(sent),
        right=sum(line["k"] == "done" and line["right"] and line["n"] in numbers for line, _ in seen),
        lag_p99_ms=1000 * (nearest_rank(sorted(line["lag"] for line in sent), 0.99) or 0),
        delay_p99_ms=1000 * (nearest_rank(sorted(read - _at(line) for line, read in seen[1:]), 0.99) or 0),
    )


def _follow(file: Any, seconds: float) -> list[tuple[dict[str, Any], float]]:  # noqa: ANN401 - a binary file
    """Each line with the time at which it was read."""
    seen, rest, deadline = [], b"", time.monotonic() + seconds + 1
    while time.monotonic() < deadline:
        time.sleep(0.005)
        piece, now = file.read(), time.monotonic()
        *lines, rest = (rest + piece).split(b"\n")
        seen += [(line, now) for line in lines]
    return [(json.loads(line), read) for line, read in seen]


def _at(line: dict[str, Any]) -> float:
    return float(line["end"] if line["k"] == "done" else line["due"] + line["lag"])


def parsing_rate(arrivals: int = 100_000) -> float:
    """Lines a second that Samples takes."""
    lines = b"".join(
        json.dumps(line).encode() + b"\n"
        for n in range(arrivals)
        for line in (
            {"k": "sent", "n": n, "route": "root", "due": n / 1000, "lag": 0.0004},
            {"k": "done", "n": n, "status": 200, "right": True, "end": n / 1000 + 0.05, "error": ""},
        )
    )
    samples = Samples(window_s=1, origin=0, thresholds_ms={"root": 300})
    began = time.perf_counter()
    for start in range(0, len(lines), 65536):
        samples.feed(lines[start : start + 65536])
    return 2 * arrivals / (time.perf_counter() - began)


def main() -> None:
    print(f"parsing: {parsing_rate():,.0f} lines/s")
    with tempfile.TemporaryDirectory() as folder, Supervisor() as supervisor:
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "-w", "2", "-k", "gthread", "--threads", "8"]
        child = supervisor.start(
            "app",
            [*command, "-b", f"127.0.0.1:{port}", "benchmarks.load:app"],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=ROOT,
            log=Path(folder) / "app.log",
        )
        url = f"http://127.0.0.1:{port}"
        http_ready(url, timeout_s=30, child=child)
        run = measure(60, 20, supervisor, url)
        print(f"60 rps for 20 s: {run} -> {'as it should be' if run.believed else 'NOT TO BE BELIEVED'}")
        best = dict.fromkeys(WORKERS, 0)
        for rate in RATES:
            for workers in WORKERS:
                run = measure(rate, 5, supervisor, url, workers)
                print(f"{rate} rps for 5 s, workers {workers}: {run}")
                best[workers] = rate if run.believed else best[workers]
        told = ", ".join(f"{rate} rps by workers: {workers}" for workers, rate in best.items())
        print(f"highest rate tried that can be believed beside the app: {told}")


if __name__ == "__main__":
    main()
