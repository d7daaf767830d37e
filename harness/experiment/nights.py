"""Has it become worse since the baseline? A look each night that does not cry wolf.

The bet on a drop supposes that each night has the same mean rate where nothing changed. So the scenarios of the
baseline count and no others, and each alike: of each as many trials as could be measured of the one with the fewest,
the first by seed. Else a night that has lost trials of the easy ones would look like a drop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import InputError
from harness.experiment.compare import Report, report
from harness.experiment.manifest import PLAN, manifest_of
from harness.experiment.results import TrialRow
from harness.experiment.sides import Key, Side, Versus, rows_of, side, versus
from harness.stats.intervals import rate
from harness.stats.sequential import ALARM, NIGHTS, Healed, Watch, against_baseline

_PROMISE = f"a false alarm comes in at most {ALARM:.0%} of all seasons, of all arms together, however often one looks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    name: str
    right: Healed  # of the trials that count


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One arm. ``watch`` has an entry for each night; ``left_out`` are those without a measured trial of a scenario."""

    arm: str
    baseline: Healed
    nights: tuple[Night, ...]
    watch: tuple[Watch, ...]
    left_out: tuple[str, ...]
    unwatched: tuple[str, ...]  # scenarios of which the baseline has no measured trial
    alarm_at: float  # p: the arms share what all of them may cry wolf
    last: Report | None  # the last night against the baseline, with all of its trials; None: there is none

    @property
    def alarm(self) -> bool:
        return bool(self.watch) and self.watch[-1].alarm


def nights_in(folder: Path, baseline: Path | None = None) -> tuple[Path, list[Side]]:
    """The baseline, and the sweeps in the folder that are later than it, in their order.

    Without a ``baseline`` the first of them that has a trial is it; a night that has none is a side without arms.
    InputError where there is none.
    """
    known = sorted((path.parent for path in folder.glob(f"*/{PLAN}")), key=_begun_at)
    if baseline is None:
        baseline = next((night for night in known if rows_of(night)), None)
        if baseline is None:
            raise InputError(f"{folder} has no nights", cure="run one: harness nightly FILE; or name another folder")
    later = [night for night in known if _begun_at(night) > _begun_at(baseline)]
    return baseline, [_night(night) for night in later]


def _night(folder: Path) -> Side:
    return replace(side(str(folder)), name=folder.name) if rows_of(folder) else Side(name=folder.name, arms={})


def watched(baseline: Side, nights: Sequence[Side]) -> list[Watched]:
    """For each arm of the baseline; ``nights`` in their order. InputError where some cannot be compared with it."""
    found = [_arm(arm, baseline, nights, ALARM / len(baseline.arms)) for arm in baseline.arms]
    if not any(arm in night.arms for arm in baseline.arms for night in nights):
        raise InputError("no night has an arm of the baseline", cure="run the same experiment each night")
    return found


def _arm(arm: str, baseline: Side, nights: Sequence[Side], alarm: float) -> Watched:
    trials, first = baseline.arms[arm], baseline.only([arm])
    scenarios = {row.scenario for row in trials.values() if row.measured}
    known = _alike(trials, scenarios) or Healed(hits=0, n=0)
    met: list[tuple[Night, Versus]] = []
    left_out = []
    for night in nights:
        counts = _alike(night.arms.get(arm, {}), scenarios)
        if counts is None:
            left_out.append(night.name)
            continue
        (pair,) = versus(night.only([arm]), first)
        met.append((Night(name=night.name, right=counts), pair))
    return Watched(
        arm=arm,
        baseline=known,
        nights=tuple(night for night, _ in met),
        watch=against_baseline([night.right for night, _ in met], known, alarm),
        left_out=tuple(left_out),
        unwatched=tuple(sorted({row.scenario for row in trials.values()} - scenarios)),
        alarm_at=alarm,
        last=report(met[-1][1]) if met else None,
    )


def _alike(trials: Mapping[Key, TrialRow], scenarios: Collection[str]) -> Healed | None:
    """Of the trials that count. None where a scenario has no measured one, or there is no scenario."""
    measured = [row for _, row in sorted(trials.items()) if row.measured]
    groups = [[row.good for row in measured if row.scenario == name] for name in scenarios]
    count = min(map(len, groups), default=0)
    return Healed(hits=sum(sum(group[:count]) for group in groups), n=count * len(groups)) if count else None


def _begun_at(folder: Path) -> str:
    """ISO 8601, UTC: by it, nights have their order. InputError where there is no sweep."""
    return manifest_of(folder).created_at


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
    left = f" Left out, for lack of measured trials: {', '.join(found.left_out)}." if found.left_out else ""
    left += f" Not watched, for lack of them in the baseline: {', '.join(found.unwatched)}." if found.unwatched else ""
    if found.alarm:
        return f"**It has become worse**; {_PROMISE}.{left}"
    season = "" if len(found.nights) <= NIGHTS else f" After {NIGHTS} nights a new baseline sees more."
    return f"No drop is shown; {_PROMISE}.{season}{left}"


def _told(right: Healed) -> str:
    return str(rate(right.hits, right.n))
