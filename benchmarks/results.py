"""docs/results.md from the sweep of docs/results.yml: ``make results`` runs both.

    python -m benchmarks.results results/shipped docs/results.md

Beside the page its rows are kept, as ``results.jsonl``: they are what it was made of; ``results.svg`` is its picture.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from harness.experiment.manifest import manifest_of
from harness.experiment.results import FILE, counted, rows
from harness.experiment.sides import Side
from harness.reporting import arms, recall, recovery, versus
from harness.sinks.journal import write_atomically

_BASE, _MEASURES = "noop@none", ("right", "recover_s")
_PAGE = """# Results

What the shipped fixers that need no key do on all shipped scenarios: `noop` does nothing (the floor), `restart` deploys
what runs already, `playbook` does what past incidents recommend, found by one retriever or another, `reference` is the
known good patch (the ceiling). Made on one machine with two processors, trials one at a time, by

```sh
make results
```

Seed {seed}, {repeats} of {wanted} repeats begun, {measured} trials measured in {hours:.1f} hours, judge {judge},
harness {commits}, {begun} to {ended} UTC. `docs/results.yml` is the experiment, `docs/results.jsonl` has a row for each
trial.

These fixers and past incidents were written by the same people as the scenarios: the tables show that the harness tells
good from bad, and what retrieval adds to a fixer that can do nothing else. They say nothing about models.

## Arm by arm

{overview}
## Right, by scenario

![{alt}](results.svg)

{cells}
On `quiet_day` and `self_healing_blip` the right answer is to leave the code alone.

## Against doing nothing

{against}
## Does looking up help?

The playbook with each retriever against the playbook without.

{retrieval}
## Time to recover

{recovery}
## What decided

{decided}
## Chance

{noise}
## INVALID

{lost} of {tried} trials could not be measured{again}

{invalid}"""


def main() -> None:
    parser = argparse.ArgumentParser(description="docs/results.md from a sweep")
    parser.add_argument("sweep", type=Path)
    parser.add_argument("page", type=Path)
    given = parser.parse_args()
    told = arms.trials(given.sweep)
    picture = arms.heat_map(told)
    write_atomically(given.page.with_suffix(".svg"), picture.wide)
    write_atomically(given.page, page(given.sweep, told, picture.alt).encode())
    shutil.copyfile(given.sweep / FILE, given.page.with_suffix(".jsonl"))


def page(sweep: Path, told: Side, alt: str) -> str:
    manifest, found = manifest_of(sweep), rows(sweep)
    (fixer,) = recall.fixers(told)
    chosen = recall.only(told, fixer)
    lost, left = ([row for row in of if not row.measured] for of in (found, counted(found)))
    return _PAGE.format(
        seed=manifest.experiment.seed,
        repeats=max(int(row.cell.rpartition("/")[2]) for row in found),
        wanted=manifest.experiment.repeats,
        measured=sum(row.measured for row in counted(found)),
        tried=len(found),
        hours=sum(row.wall_s for row in found) / 3600,
        lost=len(lost),
        again=f"; {len(lost) - len(left)} of them were run again, and count no more." if len(lost) > len(left) else ".",
        judge=manifest.judge,
        commits=", ".join(sorted({row.commit[:12] for row in found})),
        begun=min(row.started_at for row in found)[:16].replace("T", " "),
        ended=max(row.started_at for row in found)[:16].replace("T", " "),
        overview=arms.overview(told).markdown(),
        alt=alt,
        cells=arms.cells(told).markdown(),
        against=versus.table(versus.against(told, _BASE), _MEASURES).markdown(),
        retrieval=versus.table(versus.against(chosen, among=told), _MEASURES).markdown(),
        recovery=recovery.by_scenario(told).markdown(),
        decided=arms.what_decided(told).markdown(),
        noise=arms.noise(told).markdown(),
        invalid=arms.invalid(told).markdown(),
    )


if __name__ == "__main__":
    main()
