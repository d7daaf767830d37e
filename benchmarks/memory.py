"""Does memory help? The playbook fixer's heal rate under each retrieval arm, on the first scenarios.

    python -m benchmarks.memory --repeats 5

Each trial is a row of docs/memory.jsonl, which only grows: what is there for the scenario as it is now is not run
again. `backboard` asks the stand-in on this machine. Printed is a table in Markdown, with 95 % intervals after Wilson;
what was INVALID is left out of the rates and told. The n-th trials of a scenario meet the
same arrivals in all arms.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import MeasurementError
from harness.experiment.lanes import Lane, side_by_side
from harness.loading import load_scenario
from harness.model.verdict import Outcome
from harness.retrieval.backboard import standin
from harness.retrievers import ARMS, RETRIEVERS
from harness.stats.intervals import rate
from harness.trial.judge import JUDGE

SCENARIOS = tuple(Path("scenarios", f"{name}.yml") for name in ("malformed_sql", "upstream_latency", "pool_exhaustion"))
ROWS = Path("docs/memory.jsonl")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One trial. ``version`` is the scenario's hash."""

    scenario: Path
    version: str
    arm: str
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description="heal rate of the playbook fixer under each retrieval arm")
    parser.add_argument("scenarios", nargs="*", type=Path, default=SCENARIOS)
    parser.add_argument("--arms", nargs="+", default=("none", *(one for one in RETRIEVERS if one != "none"), *ARMS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--results", type=Path, default=Path("results/memory"))
    given = parser.parse_args()
    versions = {scenario: load_scenario(scenario).hash for scenario in given.scenarios}
    with standin.running() as server:
        os.environ.update(BACKBOARD_API_KEY="stand-in", BACKBOARD_BASE_URL=server.url)
        wanted = [
            Work(scenario=scenario, version=version, arm=arm, seed=seed)
            for seed in range(1, given.repeats + 1)
            for scenario, version in versions.items()
            for arm in given.arms
        ]
        run(deque(lacking(wanted, read(given.rows))), given.results, given.jobs, given.rows)
    print("\n".join(table([row for row in read(given.rows) if row["version"] in versions.values()], given.arms)))


def read(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def lacking(wanted: Sequence[Work], found: Sequence[Row]) -> list[Work]:
    measured = [row for row in found if counts(row)]
    there = {(row["version"], row["arm"], row["seed"]) for row in measured}
    return [work for work in wanted if (work.version, work.arm, work.seed) not in there]


def counts(row: Row) -> bool:
    return row["outcome"] != Outcome.INVALID and row["judge"] == JUDGE


def run(works: deque[Work], results: Path, jobs: int, rows: Path) -> None:
    whole, done = len(works), 0
    for work, future in side_by_side(works, results, jobs, trial):
        done += 1
        try:
            row = future.result()
        except MeasurementError as error:
            print(f"{done}/{whole} {work.scenario.stem} {work.arm}: {error.message.splitlines()[-1]}", flush=True)
            continue
        with rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{done}/{whole} {row['scenario']} {row['arm']}: {row['outcome']} by {row['rule']}", flush=True)


def trial(work: Work, lane: Lane) -> Row:
    options = ("--fixer", "playbook", "--retriever", work.arm, "--seed", str(work.seed), "--no-track")
    ran = lane.run(str(work.scenario), *options)
    verdict = ran.verdict
    return {
        "scenario": verdict["trial"]["scenario"],
        "version": verdict["trial"]["scenario_hash"],
        "arm": work.arm,
        "seed": work.seed,
        "outcome": verdict["outcome"],
        "rule": verdict["rule"],
        "attempts": len(verdict["attempts"]),
        "recover_s": verdict["times"]["recover_s"],
        "took_s": round(ran.seconds, 1),
        "judge": verdict["judge"],
        "kb": verdict["trial"]["kb"],
        "commit": verdict["trial"]["commit"],
        "trial": verdict["trial"]["id"],
    }


def table(found: Sequence[Row], arms: Sequence[str]) -> list[str]:
    """A line an arm: its rate on each scenario and on all, the median recovery of what healed, what is left out."""
    of_arm: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        of_arm[row["arm"]].append(row)
    scenarios = sorted({row["scenario"] for row in found})
    lines = [f"| retrieval | {' | '.join(f'`{name}`' for name in scenarios)} | HEALED | recovery, s | left out |"]
    lines.append("|---" * (len(scenarios) + 4) + "|")
    for arm in (one for one in arms if of_arm[one]):
        measured = [row for row in of_arm[arm] if counts(row)]
        healed = [row for row in measured if row["outcome"] == Outcome.HEALED]
        cells = [share([row for row in measured if row["scenario"] == name]) for name in scenarios]
        took = f"{statistics.median(row['recover_s'] for row in healed):.1f}" if healed else ""
        out = len(of_arm[arm]) - len(measured)
        lines.append(f"| `{arm}` | {' | '.join(cells)} | {rate(len(healed), len(measured))} | {took} | {out} |")
    return lines


def share(rows: Sequence[Row]) -> str:
    return f"{sum(row['outcome'] == Outcome.HEALED for row in rows)} of {len(rows)}"


if __name__ == "__main__":
    main()
