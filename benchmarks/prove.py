"""Runs every scenario with the floor (noop), the ceiling (reference) and the offline fixer, and prints the outcomes.

python benchmarks/prove.py --repeats 5
python benchmarks/prove.py --repeats 1 --scenario scenarios/pool_exhaustion.yml --fixer playbook

Exit code 1 when the floor healed, or the ceiling did not: then the scenario, not the fixer, is wrong.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MUST = {"noop": "NOT_HEALED", "reference": "HEALED"}


def trial(scenario: Path, fixer: str, results: Path, seed: int) -> dict[str, object]:
    """One verdict, with the wall-clock seconds of the whole command."""
    command = [sys.executable, "-m", "harness", "run", str(scenario), "--fixer", fixer, "--json"]
    command += ["--results", str(results), "--seed", str(seed)]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"{scenario} with {fixer} gave no verdict:\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout), "wall_s": time.monotonic() - started}


def row(scenario: Path, fixer: str, verdicts: list[dict[str, object]]) -> str:
    outcomes: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        outcomes[str(verdict["outcome"])] += 1
    told = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    times = [verdict["times"] for verdict in verdicts]
    recover = [t["recover_s"] for t in times if isinstance(t, dict) and t["recover_s"] is not None]
    wall = statistics.median(float(str(verdict["wall_s"])) for verdict in verdicts)
    recovery = f"{statistics.median(recover):5.1f}" if recover else "    -"
    return f"{scenario.stem:18} {fixer:10} n={len(verdicts)}  {told:32} recovery {recovery} s  whole run {wall:5.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scenario", type=Path, action="append", help="default: all in scenarios/")
    parser.add_argument("--fixer", action="append", help="default: noop, reference, playbook")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    args = parser.parse_args()
    wrong = 0
    for scenario in args.scenario or sorted((ROOT / "scenarios").glob("*.yml")):
        for fixer in args.fixer or ["noop", "reference", "playbook"]:
            verdicts = []
            for seed in range(1, args.repeats + 1):
                verdict = trial(scenario, fixer, args.results, seed)
                verdicts.append(verdict)
                print(f"  {scenario.stem} {fixer} seed {seed}: {verdict['outcome']}: {verdict['reason']}", flush=True)
                wrong += fixer in MUST and verdict["outcome"] != MUST[fixer]
            print(row(scenario, fixer, verdicts), flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
