"""How long does a page of a large sweep take, and how large is it? ``python -m benchmarks.report``.

500 trials of five arms over ten scenarios, by the command line in a process of its own; beside it, what the same
notebooks take by papermill and nbconvert, as one would by hand.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.compare import rows
from harness.experiment.results import FILE
from harness.reporting.chapters import outline

ARMS = {("noop", "none"): 0.2, ("playbook", "none"): 0.4, ("playbook", "lexical"): 0.8, ("playbook", "hybrid"): 0.85}
WANTED_S, WANTED_MB = 60.0, 5.0


def sweep(folder: Path, trials: int) -> None:
    """Made-up trials, of which the reference heals all."""
    folder.mkdir()
    arms = {**ARMS, ("reference", "none"): 1.0}
    with (folder / FILE).open("w", encoding="utf-8") as file:
        for (fixer, retriever), share in arms.items():
            for row in rows(fixer, share, trials // len(arms), random.Random(f"{fixer}{retriever}")):  # noqa: S311 - made up
                sure = {"live": True, "confidence": round(share, 1)} if fixer == "playbook" else {}
                cell = f"{row.scenario}/{fixer}@{retriever}/{row.seed}"
                file.write(json.dumps(asdict(replace(row, fixer=fixer, retriever=retriever, cell=cell, **sure))) + "\n")


def by_hand(folder: Path, to: Path) -> tuple[float, float]:
    """Seconds and MB of the same notebooks as nbconvert's pages."""
    started, size = time.perf_counter(), 0
    for chapter in outline([folder]).chapters:
        made = to / chapter.notebook.name
        given = [word for name, value in chapter.parameters.items() for word in ("-p", name, str(value))]
        bin_ = Path(sys.executable).parent
        subprocess.run([bin_ / "papermill", chapter.notebook, made, *given], check=True, capture_output=True)
        subprocess.run([bin_ / "jupyter", "nbconvert", "--to", "html", made], check=True, capture_output=True)
        size += made.with_suffix(".html").stat().st_size
    return time.perf_counter() - started, size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="a report of many stored trials")
    parser.add_argument("--trials", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        folder, page = Path(passing, "sweep"), Path(passing, "report.html")
        sweep(folder, given.trials)
        started = time.perf_counter()
        words = [sys.executable, "-m", "harness", "report", str(folder), "--to", str(page)]
        subprocess.run(words, check=True, capture_output=True)
        took_s, size = time.perf_counter() - started, page.stat().st_size / 1e6
        other_s, other_size = by_hand(folder, Path(passing))
    print(f"{given.trials} trials: {took_s:.1f} s, {size:.1f} MB (wanted: {WANTED_S:g} s, {WANTED_MB:g} MB)")
    print(
        f"papermill and nbconvert by hand: {other_s:.1f} s, {other_size:.1f} MB in several files, which ask the network"
    )


if __name__ == "__main__":
    main()
