"""How fast is the log looked through? ``python -m benchmarks.markers``; best of five.

Lines as the shop writes them: without a marker, with one in every hundredth, or with a user's word that is none in each
one, which has to be looked at closely. Beside what the harness does on each
look (a marker?) and for each incident (which lines tell something?) stands the plain loop of one search a line.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence

from harness.model.incident import Signal
from harness.trial.detect import describe, marker_in

LINES = 200_000
WANTED = 200_000  # lines a second
SIGNAL = Signal(kind="marker", at_s=0.0, detail="FAULT_DB_TIMEOUT")
_PLAIN = re.compile(r"\bFAULT_[A-Z0-9_]+\b")


def lines(*, marked: int = LINES + 1, searched: str = "kettle") -> list[str]:
    """As the shop's; every ``marked``-th carries a marker."""
    made = []
    for number in range(LINES):
        line: dict[str, object] = {"ts": "2026-11-07T12:00:08.123+00:00", "level": "INFO", "logger": "shop.logs"}
        line |= {"message": "request", "request_id": f"{number:032x}", "url": f"/search?q={searched}"}
        if number % marked == marked - 1:
            line |= {"level": "ERROR", "message": "a query held a connection", "marker": "FAULT_DB_TIMEOUT"}
        made.append(json.dumps({**line, "status": 200, "duration_ms": 3.2}))
    return made


def every_marker(given: Sequence[str]) -> int:
    """Portions of 100 lines; where one in a hundred has a marker, it is the last of each."""
    return sum(marker_in(given[start : start + 100]) is not None for start in range(0, len(given), 100))


def telling(given: Sequence[str]) -> int:
    told = describe("inc", SIGNAL, markers=True, lines=given, windows=(), commit="c0ffee", now="2026-11-07T12:00Z")
    return len(told.logs)


def plain(given: Sequence[str]) -> int:
    return sum(_PLAIN.search(line) is not None for line in given)


def rate(work: Callable[[Sequence[str]], int], given: Sequence[str]) -> float:
    """Lines a second, the fastest of five."""
    took_s = []
    for _ in range(5):
        began = time.perf_counter()
        work(given)
        took_s.append(time.perf_counter() - began)
    return len(given) / min(took_s)


def main() -> None:
    print(f"lines a second, {LINES:,} lines; wanted: at least {WANTED:,}")
    kinds = {"no marker": lines(), "one in a hundred": lines(marked=100), "a word in each": lines(searched="FAULT_X")}
    for what, given in kinds.items():
        rates = {
            name: rate(work, given) for name, work in (("look", every_marker), ("telling", telling), ("plain", plain))
        }
        enough = "" if min(rates["look"], rates["telling"]) >= WANTED else "  TOO SLOW"
        print(
            f"{what:17} a look {rates['look']:12,.0f}   the telling lines {rates['telling']:12,.0f}   "
            f"one search a line {rates['plain']:12,.0f}{enough}"
        )


if __name__ == "__main__":
    main()
