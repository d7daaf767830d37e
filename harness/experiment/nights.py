"""Has it become worse since the baseline? A look each night that does not cry wolf.

What is bet on (``harness.stats.sequential``) holds if every night at which nothing became worse has one mean rate. So
of a night only the baseline's scenarios count, and equally many trials of each: as many as could be measured of the
scenario with the fewest, the first by seed, which are chosen without a look at what came of them. So it is with the
baseline, too. One scenario more, or a busy machine that makes trials of one of them INVALID, moves nothing then. Seeds
of one scenario are taken to be alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from harness.errors import InputError
from harness.experiment.compare import Report, report
from harness.experiment.manifest import PLAN, manifest_of
from harness.experiment.results import TrialRow
from harness.experiment.sides import Key, Side, Versus, counting, rows_of, versus
from harness.stats.intervals import rate
from harness.stats.sequential import ALARM, NIGHTS, Healed, Watch, against_baseline

_PROMISE = f"a false alarm comes in at most {ALARM:.0%} of all seasons, over all arms together, however often one looks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    name: str
    right: Healed  # of the trials that count: of each scenario the same number


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One arm. ``watch`` has an entry for each night, and a p of ``level`` or less is an alarm.

    ``left_out`` are nights that lack a measured trial of a scenario of the baseline: the name, and in brackets what is
    lacking. ``not_watched`` are scenarios that could not be measured in the baseline.
    """

    arm: str
    baseline: Healed
    nights: tuple[Night, ...]
    watch: tuple[Watch, ...]
    level: float  # the arm's part of the chance of a false alarm
    left_out: tuple[str, ...]
    not_watched: tuple[str, ...]
    last: Report | None  # all trials of the last night against all of the baseline; None: there is none

    @property
    def alarm(self) -> bool:
        return bool(self.watch) and self.watch[-1].alarm


def counts(night: Side) -> bool:
    """Whether any of its trials could be measured."""
    return any(row.measured for trials in night.arms.values() for row in trials.values())


def nights_in(folder: Path, baseline: Path | None = None) -> tuple[Path, list[Side]]:
    """The baseline, and the sweeps in the folder that are later than it, in their order; some may have no trials.

    Without a ``baseline`` it is the first that counts, and those before it are among the nights. InputError where there
    is none, or no trial of it could be measured.
    """
    known = sorted((path.parent for path in folder.glob(f"*/{PLAN}")), key=_begun_at)
    before: list[Path] = []
    if baseline is None:
        if not known:
            raise InputError(f"{folder} has no nights", cure="run one: harness nightly FILE; or name another folder")
        before = list(takewhile(lambda path: not counts(_night(path)), known))
        if before == known:
            what = f"no night in {folder} has a trial that could be measured"
            raise InputError(what, cure=f"see what became of the last: harness resume {known[-1]}")
        baseline = known[len(before)]
    since = _begun_at(baseline)
    if not counts(_night(baseline)):
        what = f"the baseline {baseline} has no trial that could be measured"
        raise InputError(what, cure=f"go on with it: harness resume {baseline}; or name another")
    later = [path for path in known if _begun_at(path) > since]
    return baseline, [_night(path) for path in (*before, *later)]


def watched(baseline: Side, nights: Sequence[Side]) -> list[Watched]:
    """For each arm of the baseline; ``nights`` in their order. InputError where some cannot be compared with it.

    The arms share the chance of a false alarm: that any of them ever gives one is at most ``ALARM`` (C. Bonferroni,
    1936).
    """
    ran = [night for night in nights if counts(night)]
    if ran and not any(arm in night.arms for night in ran for arm in baseline.arms):
        raise InputError("no night has an arm of the baseline", cure="run the same experiment each night")
    level = ALARM / len(baseline.arms)
    return [_arm(arm, baseline, nights, level) for arm in baseline.arms]


def _arm(arm: str, baseline: Side, nights: Sequence[Side], level: float) -> Watched:
    trials, first = baseline.arms[arm], baseline.only([arm])
    measured = _measured(trials)
    met: list[tuple[Night, Versus]] = []
    left_out = []
    for night in nights:
        tonight = _measured(night.arms.get(arm, {}))
        if lack := _lack(tonight, measured):
            left_out.append(f"{night.name} ({lack})")
            continue
        (pair,) = versus(night.only([arm]), first)
        met.append((Night(name=night.name, right=_right(tonight, measured)), pair))
    known = _right(measured, measured)
    return Watched(
        arm=arm,
        baseline=known,
        nights=tuple(night for night, _ in met),
        watch=against_baseline([night.right for night, _ in met], known, level),
        level=level,
        left_out=tuple(left_out),
        not_watched=tuple(sorted({scenario for scenario, _ in trials} - measured.keys())),
        last=report(met[-1][1]) if met else None,
    )


def _night(folder: Path) -> Side:
    return counting(folder.name, rows_of(folder, every=True))


def _begun_at(folder: Path) -> str:
    """ISO 8601, UTC: by it, nights have their order. InputError where there is no sweep."""
    return manifest_of(folder).created_at


def _measured(trials: Mapping[Key, TrialRow]) -> dict[str, list[TrialRow]]:
    """By scenario, in the order of seeds."""
    found: dict[str, list[TrialRow]] = {}
    for key in sorted(trials):
        if trials[key].measured:
            found.setdefault(key[0], []).append(trials[key])
    return found


def _lack(measured: Mapping[str, Sequence[TrialRow]], scenarios: Collection[str]) -> str:
    """What a night would need to count; empty: nothing."""
    if not measured:
        return "no measured trial"
    missing = [name for name in scenarios if name not in measured]
    return f"no measured trial of {', '.join(missing)}" if missing else ""


def _right(measured: Mapping[str, Sequence[TrialRow]], scenarios: Collection[str]) -> Healed:
    """Of the same number of trials of each scenario."""
    each = min((len(measured[name]) for name in scenarios), default=0)
    taken = [row for name in scenarios for row in measured[name][:each]]
    return Healed(hits=sum(row.good for row in taken), n=len(taken))


def text(found: Sequence[Watched]) -> str:
    """For a terminal, and as it is for a job's summary: a table in Markdown for each arm."""
    parts = []
    for each in found:
        known = f"Baseline: right {_told(each.baseline)}. Of each scenario the same number of trials counts."
        parts += [f"### {each.arm.replace('|', '/')}", "", f"{known} An alarm is a p of {each.level:.2g} or less.", ""]
        parts += ["| night | right | evidence of a drop | p | |", "|---|---|---|---|---|"]
        for night, watch in zip(each.nights, each.watch, strict=True):
            mark = "**worse**" if watch.alarm else ""
            parts.append(f"| {night.name} | {_told(night.right)} | {watch.evidence:.2g} | {watch.p:.2g} | {mark} |")
        parts += ["", verdict(each), ""]
    return "\n".join(parts)


def verdict(found: Watched) -> str:
    without = f" Left out: {', '.join(found.left_out)}." if found.left_out else ""
    if found.not_watched:
        without += f" Not watched, for lack of a measured trial in the baseline: {', '.join(found.not_watched)}."
    if not found.nights:
        return f"No night counts yet.{without}"
    if found.alarm:
        return f"**It has become worse**; {_PROMISE}.{without}"
    season = "" if len(found.nights) <= NIGHTS else f" After {NIGHTS} nights a new baseline sees more."
    return f"No drop is shown; {_PROMISE}.{season}{without}"


def _told(right: Healed) -> str:
    return str(rate(right.hits, right.n))
