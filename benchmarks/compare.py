"""How long does a comparison of many trials take, and how much memory? ``python -m benchmarks.compare``.

Two sweeps of 5,000 trials each over ten scenarios, compared by the command line in a process of its own; beside it,
what it takes to read the same file with pandas.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from harness.experiment.results import FILE, TrialRow
from harness.model.verdict import Outcome

SCENARIOS = 10
WANTED_S, WANTED_MB = 5.0, 1000.0


def rows(arm: str, share: float, trials: int, random_: random.Random) -> Iterator[TrialRow]:
    """Made-up trials of one arm, of which that share heals."""
    for number in range(trials):
        scenario, healed = f"scenario_{number % SCENARIOS}", random_.random() < share
        yield TrialRow(
            trial=f"{arm}-{number}",
            cell=f"{scenario}/{arm}@lexical/{number // SCENARIOS}",
            scenario=scenario,
            scenario_hash="0" * 64,
            fault_class=f"class {number % SCENARIOS // 2}",
            control=False,
            fixer="playbook",
            retriever="lexical",
            model="none",
            seed=number // SCENARIOS,
            outcome=Outcome.HEALED if healed else Outcome.NOT_HEALED,
            rule="recovered" if healed else "not-recovered",
            judge="5",
            commit="0" * 40,
            kb="kb@0",
            started_at="2026-11-29T00:00:00.000+00:00",
            wall_s=60.0,
            detect_s=max(0.0, random_.gauss(3, 1)),
            recover_s=max(1.0, random_.gauss(15, 4)) if healed else None,
            censored_s=None if healed else 45.0,
            attempts=random_.randint(1, 3),
            fixer_s=random_.random(),
            usd=random_.random() / 100,
        )


def sweep(folder: Path, arm: str, share: float, trials: int, random_: random.Random) -> None:
    folder.mkdir(parents=True)
    with (folder / FILE).open("w", encoding="utf-8") as file:
        for row in rows(arm, share, trials, random_):
            file.write(json.dumps(asdict(row)) + "\n")


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds, and the most memory in MB that the process had."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.perf_counter() - started, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="a comparison of many stored trials")
    parser.add_argument("--trials", type=int, default=10_000, help="of both together")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        for place, share in ((first, 0.8), (second, 0.7)):
            sweep(place, place.name, share, given.trials // 2, random.Random(place.name))  # noqa: S311 - made-up trials
        ours = measured([sys.executable, "-m", "harness", "compare", str(first), str(second)])
        read = "import sys, pandas; [pandas.read_json(f, lines=True) for f in sys.argv[1:]]"
        theirs = measured([sys.executable, "-c", read, str(first / FILE), str(second / FILE)])
    print(f"{given.trials} trials: {ours[0]:.2f} s, {ours[1]:.0f} MB (wanted: {WANTED_S:g} s, {WANTED_MB:g} MB)")
    print(
        f"reading them with pandas alone: {theirs[0]:.2f} s, {theirs[1]:.0f} MB: ours {ours[0] / theirs[0]:.2f} times"
    )


if __name__ == "__main__":
    main()
