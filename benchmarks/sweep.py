"""What does a sweep add to its trials? ``python -m benchmarks.sweep``.

Trials of a tiny app, ten seconds each. Overhead is what the whole took, less what the trials say of themselves: it has
the start and the end of each trial's process in it, and of Dask.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.experiment.results import rows
from harness.sinks.journal import read_verdict
from tests.e2e import tiny

WANTED_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    seconds: float
    trials_s: float  # what the trials say of themselves, one after the other
    trials: int
    invalid: int


def run(scenario: Path, folder: Path, repeats: int) -> Took:
    command = [sys.executable, "-m", "harness", "sweep", str(scenario), "--fixer", "noop", "--fixer", "reference"]
    command += ["--retriever", "none", "--repeats", str(repeats), "--no-track", "--results", str(folder)]
    started = time.perf_counter()
    subprocess.run(command, cwd=tiny.ROOT, stdout=subprocess.DEVNULL, check=False)
    seconds = time.perf_counter() - started
    found, own_s = rows(folder / "sweep"), 0.0
    for row in found:
        verdict = read_verdict(folder / "sweep" / row.trial)
        assert verdict
        own_s += max(phase.end_s for phase in verdict.phases)
    invalid = sum(not row.measured for row in found)
    return Took(seconds=seconds, trials_s=own_s, trials=len(found), invalid=invalid)


def main() -> None:
    parser = argparse.ArgumentParser(description="what a sweep adds to its trials")
    parser.add_argument("--repeats", type=int, default=3, help="of two arms")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        took = run(tiny.make(Path(name) / "base"), Path(name) / "results", given.repeats)
    overhead_s = (took.seconds - took.trials_s) / took.trials
    print(f"{took.trials} trials: {took.seconds:.0f} s, of which the sweep's own {overhead_s:.2f} s a trial", end=" ")
    print(f"(wanted: at most {WANTED_S:g}); INVALID {took.invalid}")


if __name__ == "__main__":
    main()
