"""Has it become worse since the baseline? A look each night that does not cry wolf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import InputError
from harness.experiment.compare import Report, report
from harness.experiment.manifest import PLAN, manifest_of
from harness.experiment.results import TrialRow
from harness.experiment.sides import Side, Versus, side, versus
from harness.stats.intervals import rate
from harness.stats.sequential import ALARM, NIGHTS, Healed, Watch, against_baseline

_PROMISE = f"a false alarm comes in at most {ALARM:.0%} of all seasons, however often one looks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    name: str
    right: Healed  # of the trials that could be measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One arm. ``watch`` has an entry for each night; ``left_out`` are nights that lack a scenario of the baseline."""

    arm: str
    baseline: Healed
    nights: tuple[Night, ...]
    watch: tuple[Watch, ...]
    left_out: tuple[str, ...]
    last: Report | None  # the last night against the baseline; None: there is none

    @property
    def alarm(self) -> bool:
        return bool(self.watch) and self.watch[-1].alarm


def nights_in(folder: Path, baseline: Path | None = None) -> tuple[Path, list[Side]]:
    """The baseline, and the sweeps in the folder that are later than it, in their order.

    Without a ``baseline`` the first of them is it. InputError where there is none.
    """
    known = sorted((path.parent for path in folder.glob(f"*/{PLAN}")), key=_begun_at)
    if baseline is None:
        if not known:
            raise InputError(f"{folder} has no nights", cure="run one: harness nightly FILE; or name another folder")
        baseline = known[0]
    later = [night for night in known if _begun_at(night) > _begun_at(baseline)]
    return baseline, [replace(side(str(night)), name=night.name) for night in later]


def watched(baseline: Side, nights: Sequence[Side]) -> list[Watched]:
    """For each arm of the baseline; ``nights`` in their order. InputError where some cannot be compared with it."""
    found = [_arm(arm, baseline, nights) for arm in baseline.arms]
    if not any(each.nights for each in found):
        raise InputError("no night has an arm of the baseline", cure="run the same experiment each night")
    return found


def _arm(arm: str, baseline: Side, nights: Sequence[Side]) -> Watched:
    trials, first = baseline.arms[arm], baseline.only([arm])
    met: list[tuple[Night, Versus]] = []
    left_out = []
    for night in nights:
        if arm not in night.arms:
            continue
        (pair,) = versus(night.only([arm]), first)
        if {scenario for scenario, _ in pair.first} >= {scenario for scenario, _ in trials}:
            met.append((Night(name=night.name, right=_right(pair.first.values())), pair))
        else:
            left_out.append(night.name)
    known = _right(trials.values())
    return Watched(
        arm=arm,
        baseline=known,
        nights=tuple(night for night, _ in met),
        watch=against_baseline([night.right for night, _ in met], known),
        left_out=tuple(left_out),
        last=report(met[-1][1]) if met else None,
    )


def _begun_at(folder: Path) -> str:
    """ISO 8601, UTC: by it, nights have their order. InputError where there is no sweep."""
    return manifest_of(folder).created_at


def _right(rows: Iterable[TrialRow]) -> Healed:
    measured = [row for row in rows if row.measured]
    return Healed(hits=sum(row.good for row in measured), n=len(measured))


def text(found: Sequence[Watched]) -> str:
    """For a terminal, and as it is for a job's summary: a table in Markdown for each arm."""
    parts = []
    for each in found:
        parts += [f"### {each.arm.replace('|', '/')}", "", f"Baseline: right {_told(each.baseline)}.", ""]
        parts += ["| night | right | evidence of a drop | p | |", "|---|---|---|---|---|"]
        for night, watch in zip(each.nights, each.watch, strict=True):
            mark = "**worse**" if watch.alarm else ""
            parts.append(f"| {night.name} | {_told(night.right)} | {watch.evidence:.2g} | {watch.p:.2g} | {mark} |")
        parts += ["", verdict(each), ""]
    return "\n".join(parts)


def verdict(found: Watched) -> str:
    left = f" Left out, for lack of scenarios: {', '.join(found.left_out)}." if found.left_out else ""
    if found.alarm:
        return f"**It has become worse**; {_PROMISE}.{left}"
    season = "" if len(found.nights) <= NIGHTS else f" After {NIGHTS} nights a new baseline sees more."
    return f"No drop is shown; {_PROMISE}.{season}{left}"


def _told(right: Healed) -> str:
    return str(rate(right.hits, right.n))
