"""Does it help to look up past incidents, and which way of looking? Arms of one fixer, told apart by retriever."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import InputError
from harness.experiment.results import TrialRow
from harness.experiment.sides import Key, Side
from harness.reporting.exhibit import Table


def fixers(given: Side) -> list[str]:
    """Those that went with two retrievers or more."""
    found: dict[str, int] = {}
    for trials in given.arms.values():
        name = next(iter(trials.values())).fixer
        found[name] = found.get(name, 0) + 1
    return [name for name, count in found.items() if count > 1]


def only(given: Side, fixer: str) -> Side:
    """The arms of one fixer, that without retrieval first. InputError where it has fewer than two."""
    arms = [name for name, trials in given.arms.items() if next(iter(trials.values())).fixer == fixer]
    if len(arms) < 2:
        several = ", ".join(fixers(given)) or "none"
        raise InputError(f"{fixer} went with one retriever alone", cure=f"with several went: {several}")
    return given.only(sorted(arms, key=lambda name: not name.endswith("@none")))


def closeness(given: Side) -> Table:
    """How sure each retriever was of its best passage, where the fixer was right and where it was not."""
    rows = []
    for name, trials in given.arms.items():
        right, wrong = ([*_sure(trials, good=good)] for good in (True, False))
        rows.append((name, *_mean(right), *_mean(wrong)))
    head = ("arm", "where right", "n", "where wrong", "n")
    note = (
        "Mean of the retriever's confidence, 0 to 1: how far the best passage stands out. Trials without are left out."
    )
    return Table(title="How sure the retriever was", head=head, rows=rows, note=note)


def _sure(trials: Mapping[Key, TrialRow], *, good: bool) -> list[float]:
    rows = [row for row in trials.values() if row.measured and row.good is good]
    return [row.retriever_confidence for row in rows if row.retriever_confidence is not None]


def _mean(values: list[float]) -> tuple[str, str]:
    return (f"{sum(values) / len(values):.2f}" if values else "-", str(len(values)))
