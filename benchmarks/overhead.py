"""What does watching cost? ``python -m benchmarks.overhead`` from the checkout's root; about five minutes.

1. The same healthy shop under the same load, with and without console, journal, incident record and MLflow's process,
   in turn: the p95 of each pair, and their ratio.
2. A whole trial of pool_exhaustion with the reference fix: seconds in all, and those that belong to no declared phase
   and not to the fixer (start, set-up, teardown, tracking).
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shop import ROOT, shop
from harness.load.samples import nearest_rank
from harness.model.event import PhaseStarted, WindowObserved
from harness.sinks.console import Console
from harness.sinks.fanout import FanOut
from harness.sinks.journal import Journal
from harness.sinks.tracking import tracking_command

SECONDS = 15
PAIRS = 4
OWN_PHASES = ("setup", "teardown")  # the harness' own; every other phase is the trial's


def p95_ms(*, watched: bool, seed: int) -> float:
    """Over all requests of the last SECONDS, from the samples themselves."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        _, traffic = stack.enter_context(shop(folder, rate=40, seed=seed))
        emit = None
        if watched:
            result = folder / "trial"
            journal = stack.enter_context(Journal(result))
            console = stack.enter_context(Console(result, stream=stack.enter_context(Path(os.devnull).open("w"))))
            emit = stack.enter_context(FanOut([journal], [console]))
            emit(PhaseStarted(at_s=0.0, name="baseline"))
            tracker = subprocess.Popen(
                tracking_command(result), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(tracker.wait)
            stack.callback(tracker.kill)
        for number in range(SECONDS + 3):
            while (window := traffic.observe(0.02)) is None:
                pass
            if emit:
                emit(WindowObserved(at_s=float(number), window=window, slo_held=True))
        return _p95_of(folder / "samples.jsonl")


def _p95_of(samples: Path) -> float:
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    due = {line["n"]: line["due"] for line in lines if line["k"] == "sent"}
    first = min(due.values()) + 3.0  # the first seconds warm up
    took = sorted(
        (line["end"] - due[line["n"]]) * 1000 for line in lines if line["k"] == "done" and due[line["n"]] > first
    )
    return nearest_rank(took, 0.95)


def whole_run(folder: str) -> tuple[float, float]:
    """Wall-clock seconds of the command, and those of them that are overhead."""
    command = [sys.executable, "-m", "harness", "run", "scenarios/pool_exhaustion.yml", "--fixer", "reference"]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--json", "--results", folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    wall_s = time.monotonic() - started
    verdict = json.loads(done.stdout)
    declared = sum(p["end_s"] - p["start_s"] for p in verdict["phases"] if p["name"] not in OWN_PHASES)
    print(
        f"   {verdict['outcome']}: "
        + ", ".join(f"{p['name']} {p['end_s'] - p['start_s']:.1f}" for p in verdict["phases"])
    )
    return wall_s, wall_s - declared


def main() -> None:
    ratios = []
    for seed in range(1, PAIRS + 1):
        bare, watched = p95_ms(watched=False, seed=seed), p95_ms(watched=True, seed=seed)
        ratios.append(watched / bare)
        print(f"p95 bare {bare:6.1f} ms, watched {watched:6.1f} ms, ratio {ratios[-1]:.2f}")
    print(f"median ratio watched/bare {statistics.median(ratios):.2f} (wanted: within 1.05)")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        whole_run(folder)  # makes PostgreSQL's and MLflow's databases, once for a results folder: not counted
        for _ in range(3):
            wall_s, overhead_s = whole_run(folder)
            print(f"whole run {wall_s:.1f} s (wanted: at most 60), overhead {overhead_s:.1f} s (wanted: at most 6)")


if __name__ == "__main__":
    main()
