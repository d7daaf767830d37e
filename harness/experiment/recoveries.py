"""How long outages lasted, where some were never healed.

What the judge did not find healed never recovered, whatever ended the watch: the horizon, or a fix that looked like one
until a hidden check or a relapse told, after which nobody watches any more. To leave it out from then on, as one of
which no more is known, would make the arm with the most false recoveries the fastest. So it counts with the longest
time for which any outage of its scenario was watched, and ranks behind all that healed (J. Lachin, "Worst-rank score
analysis with informatively missing observations in clinical trials", Controlled Clinical Trials 20, 1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.experiment.results import TrialRow
from harness.stats.survival import Time


def horizons(rows: Iterable[TrialRow]) -> dict[str, float]:
    """For each scenario the longest time, in seconds from the fault, for which an outage of it was watched."""
    longest: dict[str, float] = {}
    for row in rows:
        if row.recovery:
            longest[row.scenario] = max(row.recovery[0], longest.get(row.scenario, 0.0))
    return longest


def outage(row: TrialRow, until: Mapping[str, float]) -> Time | None:
    """Seconds, and whether it healed then; else the time ``until`` which its scenario was watched.

    None for what was no outage, or was not measured.
    """
    if row.recovery is None:
        return None
    seconds, healed = row.recovery
    return (seconds, True) if healed else (until[row.scenario], False)
