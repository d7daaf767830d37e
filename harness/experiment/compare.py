"""Is the first arm better than the second? For each measure an interval, and better, worse or undecided.

Trials of one scenario and seed are a pair: they met the same arrivals. Where the two have none in common, they are
compared as they are. What was INVALID counts for nobody, and how much it could change is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.experiment.recoveries import horizons, outage
from harness.experiment.results import TrialRow
from harness.experiment.sides import Key, Versus
from harness.experiment.tries import Tries, sample_of, tries
from harness.stats.basics import LEVEL, Estimate, won
from harness.stats.bootstrap import clustered, paired, stratified
from harness.stats.paired import Decision, compare, decide, fisher, tally, unpaired_difference, with_missing
from harness.stats.power import MoreRuns, Noise, more_runs, noise_floor
from harness.stats.survival import LogRank, Time, stratified_log_rank

WORTH = 0.1
_SEED = 1  # of resampling: the same page each time
Number = Callable[[TrialRow], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """``difference`` is first less second. ``method`` says where the interval is from, ``n`` counts pairs or trials."""

    name: str
    unit: str
    first: float
    second: float
    difference: Estimate
    decision: Decision
    method: str
    n: int
    scenario: str = ""  # empty: of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``right`` decides; the rest is told. ``whatever``: INVALID trials, however they had come out, change nothing."""

    name: str
    right: Measure
    others: tuple[Measure, ...]
    by_scenario: tuple[Measure, ...]
    pairs: int  # 0: the two are not paired
    left_out: int  # trials without a partner
    not_met: tuple[str, ...]  # scenarios that only one of the two has met
    invalid: tuple[int, int]
    invalid_again: tuple[int, int]  # INVALID, and run again
    repeats: tuple[int, int]  # left out: another trial of the same scenario and seed was measured before
    models: tuple[tuple[str, ...], tuple[str, ...]]  # of either: that which answered, else that which was asked for
    at_worst: Decision
    at_best: Decision
    curves: LogRank  # whether both recover alike at every time, scenario by scenario; p is NaN where nothing tells
    more: MoreRuns | None  # how many pairs would decide; None: the two are not paired
    worth: float  # the least difference of shares that one would act on
    tries: Tries
    noise: Noise  # by how much two halves of the second differ, by chance alone
    rule_changes: tuple[tuple[str, int, int], ...]  # what decided, how often in the first and in the second

    @property
    def regressed(self) -> bool:
        return self.right.decision == "worse" or any(
            each.name == "recover_s" and each.decision == "worse" for each in self.others
        )


def report(given: Versus, worth: float = WORTH, until: Mapping[str, float] | None = None) -> Report:
    """All measures, over all scenarios that both met and for each of them. ``worth`` is above 0, and at most 1.

    ``until``: what counts for an outage that was never healed, in seconds for each scenario, where more arms than these
    two are told of together; None: the ``horizons`` of these two.
    """
    scenarios = sorted({name for name, _ in given.first} & {name for name, _ in given.second})
    first, second = (
        {key: row for key, row in side.items() if key[0] in scenarios} for side in (given.first, given.second)
    )
    keys = [key for key in first if key in second]
    bounds = with_missing((won(first[key].outcome), won(second[key].outcome)) for key in keys)
    right = _right(first, second, keys, LEVEL)
    until = horizons((*first.values(), *second.values())) if until is None else until
    others = [_numbers(name, unit, number, first, second) for name, unit, number in _measures(until)]
    strict = 1 - (1 - LEVEL) / len(scenarios)
    a, b = (each.within(scenarios) for each in given.uncounted)
    return Report(
        name=given.name,
        right=right,
        others=tuple(each for each in others if each),
        by_scenario=tuple(_of_scenario(name, first, second, strict) for name in scenarios),
        pairs=len(keys),
        left_out=len(first) + len(second) - 2 * len(keys),
        not_met=tuple(sorted({name for name, _ in given.first} ^ {name for name, _ in given.second})),
        invalid=(_invalid(first), _invalid(second)),
        invalid_again=(len(a.again), len(b.again)),
        repeats=(len(a.repeats), len(b.repeats)),
        models=(_models([*first.values(), *a.again, *a.repeats]), _models([*second.values(), *b.again, *b.repeats])),
        at_worst=bounds.against.decision if keys else _bound(first, second, for_first=False),
        at_best=bounds.in_favour.decision if keys else _bound(first, second, for_first=True),
        curves=stratified_log_rank((_times(name, first, until), _times(name, second, until)) for name in scenarios),
        more=more_runs(bounds.seen.pairs, worth=worth) if keys else None,
        worth=worth,
        tries=tries(scenarios, first, second),
        noise=noise_floor(sample_of(second), _SEED),
        rule_changes=_rules(first, second),
    )


def _of_scenario(name: str, first: Mapping[Key, TrialRow], second: Mapping[Key, TrialRow], level: float) -> Measure:
    """Intervals that hold for all scenarios together (C. Bonferroni, 1936): so many looks find something by chance."""
    a, b = ({key: row for key, row in side.items() if key[0] == name} for side in (first, second))
    made = _right(a, b, [key for key in a if key in b], level)
    return Measure(**{field: getattr(made, field) for field in made.__slots__} | {"scenario": name})


def _right(first: Mapping[Key, TrialRow], second: Mapping[Key, TrialRow], keys: Sequence[Key], level: float) -> Measure:
    """The share of trials in which the right was done: an outage healed, a control left alone."""
    pairs = [(first[key], second[key]) for key in keys if first[key].measured and second[key].measured]
    if keys:
        told = compare(tally((a.good, b.good) for a, b in pairs), level=level)
        difference, decision, n, method = told.difference, told.decision, len(pairs), "pairs, Newcombe"
        of_first, of_second = [a for a, _ in pairs], [b for _, b in pairs]
    else:
        of_first, of_second = ([row for row in side.values() if row.measured] for side in (first, second))
        difference, decision = _unpaired([row.good for row in of_first], [row.good for row in of_second], level)
        n, method = len(of_first) + len(of_second), "not paired, Newcombe"
    return Measure(
        name="right",
        unit="share",
        first=_mean([float(row.good) for row in of_first]),
        second=_mean([float(row.good) for row in of_second]),
        difference=difference,
        decision=decision,
        method=method,
        n=n,
    )


def _unpaired(first: Sequence[bool], second: Sequence[bool], level: float = LEVEL) -> tuple[Estimate, Decision]:
    """Of the shares that were right."""
    counts = sum(first), len(first), sum(second), len(second)
    difference = unpaired_difference(*counts, level)
    return difference, decide(difference, fisher(*counts), level=level)


def _measures(until: Mapping[str, float]) -> list[tuple[str, str, Number]]:
    """Where less is better."""

    def recover_s(row: TrialRow) -> float | None:
        found = outage(row, until)
        return found and found[0]

    return [
        ("recover_s", "s", recover_s),
        ("detect_s", "s", lambda row: row.detect_s),
        ("fixer_s", "s", lambda row: row.fixer_s),
        ("usd", "$", lambda row: row.usd),
        ("attempts", "", lambda row: None if row.control else float(row.attempts)),
    ]


def _numbers(
    name: str, unit: str, number: Number, first: Mapping[Key, TrialRow], second: Mapping[Key, TrialRow]
) -> Measure | None:
    """The mean over scenarios of paired differences. None where no pair has the number."""
    a, b = _values(number, first), _values(number, second)
    sample = paired(a, b)
    if not sample.values:
        return None
    told = stratified(sample, _SEED)
    if math.isnan(told.mean.low):
        told = clustered(sample, _SEED)
    both = [key for key in a if key in b]
    return Measure(
        name=name,
        unit=unit,
        first=_over_scenarios([(key[0], a[key]) for key in both]),
        second=_over_scenarios([(key[0], b[key]) for key in both]),
        difference=told.mean,
        decision=_less_is_better(told.mean),
        method=told.method,
        n=told.n,
    )


def _times(scenario: str, side: Mapping[Key, TrialRow], until: Mapping[str, float]) -> list[Time]:
    """Of the outages: seconds, and whether it recovered then or never."""
    return [found for (name, _), row in side.items() if name == scenario and (found := outage(row, until))]


def _values(number: Number, side: Mapping[Key, TrialRow]) -> dict[Key, float]:
    found = {key: number(row) for key, row in side.items() if row.measured}
    return {key: value for key, value in found.items() if value is not None}


def _less_is_better(difference: Estimate) -> Decision:
    if math.isnan(difference.low) or difference.low == difference.high:
        return "undecided"
    return "better" if difference.high < 0 else "worse" if difference.low > 0 else "undecided"


def _over_scenarios(values: Sequence[tuple[str, float]]) -> float:
    groups: dict[str, list[float]] = {}
    for name, value in values:
        groups.setdefault(name, []).append(value)
    return _mean([_mean(group) for group in groups.values()])


def _bound(first: Mapping[Key, TrialRow], second: Mapping[Key, TrialRow], *, for_first: bool) -> Decision:
    """What would be decided of two arms that are not paired, had all INVALID trials been for the first, or against."""
    ends = [(row.good if row.measured else for_first) for row in first.values()]
    others = [(row.good if row.measured else not for_first) for row in second.values()]
    return _unpaired(ends, others)[1]


def _invalid(side: Mapping[Key, TrialRow]) -> int:
    return sum(not row.measured for row in side.values())


def _models(rows: Sequence[TrialRow]) -> tuple[str, ...]:
    return tuple(sorted({row.model for row in rows if row.model}))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _rules(first: Mapping[Key, TrialRow], second: Mapping[Key, TrialRow]) -> tuple[tuple[str, int, int], ...]:
    """What decided, where the two differ in how often it did."""
    counts: dict[str, list[int]] = {}
    for number, side in enumerate((first, second)):
        for row in side.values():
            counts.setdefault(row.rule, [0, 0])[number] += 1
    return tuple((rule, a, b) for rule, (a, b) in sorted(counts.items()) if a != b)
