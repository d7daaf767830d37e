"""A comparison as text, Markdown, JSON or JUnit's XML."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from xml.etree import ElementTree as Xml

from harness.experiment.compare import Measure, Report
from harness.model.plain import without_nan
from harness.sinks.printable import cell

_WIDTH = 78
_TINY_S = 0.05  # of seconds with one decimal nothing would be left
_HEAD = ("", "first", "second", "difference, 95 %", "", "n")
_NAMES = {
    "right": "did right",
    "recover_s": "time to recover",
    "detect_s": "time to detect",
    "fixer_s": "fixer's time",
    "usd": "cost",
    "attempts": "attempts",
}


def text(reports: Sequence[Report]) -> str:
    """For a terminal of 100 columns."""
    return "\n\n".join(_text(each) for each in reports)


def markdown(reports: Sequence[Report]) -> str:
    """For a job's summary."""
    return "\n".join(_markdown(each) for each in reports)


def as_json(reports: Sequence[Report]) -> str:
    """A list with one object for each pair of arms. What is unknown is null: JSON has no NaN."""
    plain = [{**asdict(each), "regressed": each.regressed} for each in reports]
    return json.dumps(without_nan(plain), indent=2)


def junit(reports: Sequence[Report]) -> str:
    """A test case for each measure, which fails where the first arm is worse; for tools that show tests.

    See https://github.com/testmoapp/junitxml.
    """
    root = Xml.Element("testsuites", name="comparison")
    for each in reports:
        measures = [each.right, *each.others, *each.by_scenario]
        worse = str(sum(measure.decision == "worse" for measure in measures))
        suite = Xml.SubElement(root, "testsuite", name=each.name, tests=str(len(measures)), failures=worse)
        for measure in measures:
            case = Xml.SubElement(suite, "testcase", classname=measure.scenario or "all", name=measure.name)
            if measure.decision == "worse":
                Xml.SubElement(case, "failure", message=difference_of(measure)).text = measure.method
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode")


def _text(report: Report) -> str:
    measures = [report.right, *report.others]
    lines = [report.name, *_wrapped([*notes(report), *_rules(report)]), ""]
    lines += _columns(_HEAD, [_cells(each) for each in measures])
    lines += ["", *_columns(("by scenario, did right", *_HEAD[1:]), [_cells(each) for each in report.by_scenario])]
    return "\n".join([*lines, "", *_wrapped(_methods(report))])


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [
        part for line in lines for part in textwrap.wrap(line, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    ]


def _markdown(report: Report) -> str:
    parts = [f"### {cell(report.name)}", "", *(f"- {cell(line)}" for line in [*notes(report), *_rules(report)]), ""]
    parts += _rows(_HEAD, [_cells(each) for each in (report.right, *report.others)])
    parts += ["", *_rows(("by scenario, did right", *_HEAD[1:]), [_cells(each) for each in report.by_scenario]), ""]
    return "\n".join([*parts, *(cell(line) for line in _methods(report)), ""])


def notes(report: Report) -> list[str]:
    """What a reader must know before any number."""
    a, b = report.invalid
    paired = (
        f"{_many(report.pairs, 'pair')} of one scenario and seed" if report.pairs else "not paired: no seed in common"
    )
    notes = [paired + (f"; without a partner: {report.left_out}" if report.left_out else "")]
    if report.not_met:
        notes.append(f"left out, since only one of the two met them: {', '.join(report.not_met)}")
    if a or b:
        notes.append(
            f"INVALID: {a} of the first, {b} of the second; had they all gone against the first it were "
            f"{report.at_worst}, all in its favour {report.at_best}"
        )
    for what, (of_first, of_second) in (
        ("INVALID and run again", report.invalid_again),
        ("left out, as repeats of measured trials", report.repeats),
    ):
        if of_first or of_second:
            notes.append(f"{what}: {of_first} of the first, {of_second} of the second")
    for which, models in zip(("first", "second"), report.models, strict=True):
        if len(models) > 1:
            notes.append(f"the model of the {which} is named {' and '.join(models)}")
    if report.more and report.right.decision == "undecided":
        more = report.more
        what = f"to show a difference of {100 * report.worth:.0f} points would take about {more.if_worth} more pairs"
        notes.append(f"{what} (chance {more.power:.0%})")
    return notes


def _rules(report: Report) -> list[str]:
    """What decided, where the two differ most."""
    most = sorted(report.rule_changes, key=lambda each: -abs(each[1] - each[2]))[:5]
    return [f"decided by {rule}: {first} of the first, {second} of the second" for rule, first, second in most]


def _methods(report: Report) -> list[str]:
    """Where the intervals are from."""
    found: dict[str, list[str]] = {}
    for measure in (report.right, *report.others):
        found.setdefault(measure.method, []).append(_NAMES.get(measure.name, measure.name))
    told = "; ".join(f"{', '.join(names)}: {method}" for method, names in found.items())
    lines = [f"Intervals of 95 %, {told}. By scenario they are wider, to hold for all together."]
    if not math.isnan(report.curves.p):
        curves = report.curves
        seen = f"{curves.healed} of the first did, {curves.expected:.1f} were to be expected"
        lines.append(f"Do both recover alike at every time (log-rank, by scenario)? p = {curves.p:.2g}; {seen}.")
    if report.tries.k > 1:
        lines.append(_several(report))
    if not math.isnan(report.noise.quantile):
        floor, half = f"{100 * report.noise.quantile:.0f} points", _many(report.noise.per_arm, "trial")
        lines.append(f"By chance alone, halves of the second ({half}) differ by up to {floor} in 19 of 20 splits.")
    return lines


def _several(report: Report) -> str:
    """What may be hoped for with several tries, and what can be relied on."""
    tries = report.tries
    without = f" Without {', '.join(tries.too_few)}: not measured of both." if tries.too_few else ""
    (at, hat), (other_at, other_hat) = (
        (f"{100 * each:.0f} %" for each in pair) for pair in (tries.first, tries.second)
    )
    return (
        f"Of {tries.k} tries at an incident one is right (pass@{tries.k}): {at} and {other_at}; all are "
        f"(pass^{tries.k}): {hat} and {other_hat}.{without}"
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _cells(measure: Measure) -> tuple[str, ...]:
    name = measure.scenario or _NAMES.get(measure.name, measure.name)
    return (
        name,
        _value(measure, measure.first),
        _value(measure, measure.second),
        difference_of(measure),
        measure.decision,
        str(measure.n),
    )


def difference_of(measure: Measure) -> str:
    """Such as +5 points (-23 to 31)."""
    difference, unit = measure.difference, "points" if measure.unit == "share" else measure.unit
    numbers = difference.value, difference.low, difference.high
    tiny = measure.unit == "s" and 0 < max(map(abs, numbers)) < _TINY_S
    value, low, high = (f"{each:.2g}" if tiny else _number(measure, each) for each in numbers)
    sign = "+" if difference.value > 0 else ""
    return f"{sign}{value} {unit} ({'no interval' if low == high == '-' else f'{low} to {high}'})".replace("  ", " ")


def _value(measure: Measure, number: float) -> str:
    unit = "%" if measure.unit == "share" else measure.unit
    return f"{_number(measure, number)} {unit}".rstrip()


def _number(measure: Measure, number: float) -> str:
    """Shares as per cent, money with its cents, seconds with one decimal; what is unknown is a dash."""
    factor, form = {"share": (100, "z.0f"), "$": (1, "z.4f"), "s": (1, "z.1f"), "": (1, "z.2f")}[measure.unit]
    return "-" if math.isnan(number) else format(factor * number, form)


def _columns(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = [head, *body] if head else list(body)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(map(cell, row))} |" for row in (head, ["---"] * len(head), *body)]
