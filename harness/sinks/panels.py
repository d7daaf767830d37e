"""What stays on the terminal: a block for each event that a reader will want to find again, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.align import Align
from rich.box import HEAVY, ROUNDED
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harness.model.event import Deployed, FixProposed, IncidentAnalyzed, IncidentCreated, TrialStarted
from harness.model.fix import DeleteFile, Edit, ReplaceText, WriteFile
from harness.model.verdict import CheckResult, Outcome, Verdict
from harness.sinks.lines import NONE, costs, directions, durations, facts
from harness.sinks.printable import capped, one_line, printable

DIFF_LINES, EDITS = 18, 8  # as many are shown
OUTCOME_COLOURS = {
    Outcome.HEALED: ("black", "green"),
    Outcome.LEFT_ALONE: ("black", "green"),
    Outcome.NOT_HEALED: ("white", "red"),
    Outcome.NOT_DETECTED: ("white", "red"),
    Outcome.FALSE_ALARM: ("white", "magenta"),
    Outcome.INVALID: ("black", "yellow"),
}


def header(event: TrialStarted) -> RenderableType:
    trial = event.trial
    rows = _pairs(
        [
            ("trial", trial.id),
            ("fixer", f"{trial.fixer}{f' {trial.model}' if trial.model else ''} ({event.fixer_reason})"),
            ("retriever", f"{trial.retriever}   seed {trial.seed}   horizon {event.horizon_s:g} s"),
        ]
    )
    return Panel(Group(Text(one_line(event.title), "bold"), rows), box=ROUNDED, border_style="cyan")


def incident(event: IncidentCreated, injected_s: float | None) -> RenderableType:
    since = event.at_s if injected_s is None else event.at_s - injected_s
    after = "the trial began" if injected_s is None else "the fault"
    kind, detail = event.signal.kind.replace("_", " "), event.signal.detail
    known = detail in event.incident.symptoms
    seen = f"{kind}{'' if known else f' {detail}'}, {since:.1f} s after {after}"
    rows = _pairs([("symptoms", printable(event.incident.symptoms, 500)), ("signal", seen)])
    title = Text.assemble("incident ", (one_line(event.incident.error_code, 60), "bold red"))
    return Panel(rows, title=title, title_align="left", box=ROUNDED, border_style="red")


def retrieved(event: IncidentAnalyzed) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="cyan")
    grid.add_column(ratio=1)
    for passage in event.passages:
        grid.add_row(f"{passage.score:.2f}", Text(one_line(passage.title)))
    return Padding(grid if event.passages else Text("nothing alike is known", "dim"), (0, 0, 0, 11))


def proposal(event: FixProposed) -> RenderableType:
    fix = event.fix
    rows = [("root cause", one_line(fix.root_cause, 400))]
    if fix.remediation:
        rows.append(("remedy", one_line(fix.remediation, 400)))
    rows.extend(("edit", _edit(edit)) for edit in fix.edits[:EDITS])
    if len(fix.edits) > EDITS:
        rows.append(("", f"… {len(fix.edits) - EDITS} more"))
    rows.append(("in numbers", ", ".join(facts(fix))))
    title = Text.assemble(f"attempt {event.attempt} ", ("proposal", "bold"))
    return Panel(_pairs(rows), title=title, title_align="left", box=ROUNDED, border_style="blue")


def diff(event: Deployed) -> RenderableType | None:
    """What went live, by the colours that diffs have; None: nothing changed."""
    told = "".join(line for line in event.deployment.diff.splitlines(True) if not line.startswith(("diff ", "index ")))
    lines, more = capped(told, DIFF_LINES)
    if not lines:
        return None
    shown = [Text(line, _diff_colour(line), no_wrap=True, overflow="ellipsis") for line in lines]
    if more:
        shown.append(Text(f"… {more} more lines in attempt-{event.attempt}.patch", "dim"))
    return Padding(Group(*shown), (0, 0, 0, 11))


def verdict(result: Verdict, folder: Path | None) -> RenderableType:
    ink, colour = OUTCOME_COLOURS[result.outcome]
    name = " ".join(result.outcome.replace("_", " "))
    big = Padding(Align.center(Text(name, f"bold {ink} on {colour}")), (1, 0), style=f"on {colour}")
    parts: list[RenderableType] = [big, Padding(Text(printable(result.reason, 800), "bold"), (1, 1))]
    if result.checks:
        parts.append(_checks(result.checks))
    if result.outcome is not Outcome.INVALID:
        parts += [_rule("since the fault"), _durations(result)]
    if numbers := _numbers(result):
        parts.append(Padding(Text(" · ".join(numbers), "dim"), (1, 1, 0, 1)))
    if where := directions(result, folder):
        parts += [_rule("where to look next"), Padding(_pairs(where), (0, 1))]
    return Panel(Group(*parts), box=HEAVY, border_style=colour, padding=0)


def _checks(checks: Sequence[CheckResult]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), show_header=False)
    table.add_column(width=4, no_wrap=True)
    table.add_column(ratio=2)
    table.add_column(ratio=3)
    for alike in _alike(checks):
        first, names = alike[0], [printable(check.name, 120) for check in alike]
        mark = Text("pass", "green") if first.passed else Text("FAIL", "bold red")
        evidence = Text(printable(first.evidence, 600), "dim" if first.passed else "")
        if len(alike) > 1:
            table.add_row(mark, Text(f"{len(alike)} checks: {evidence}"), Text("; ".join(names), "dim"))
        else:
            table.add_row(mark, Text(names[0], "" if first.passed else "bold"), evidence)
    return table


def _alike(checks: Sequence[CheckResult]) -> list[list[CheckResult]]:
    """Neighbours that passed, and of which the same is to be said, together."""
    together: list[list[CheckResult]] = []
    for check in checks:
        same = together and check.passed and together[-1][0].passed and together[-1][0].evidence == check.evidence
        together[-1].append(check) if same else together.append([check])
    return together


def _numbers(result: Verdict) -> list[str]:
    numbers = [f"decided by {one_line(result.rule)}"] if result.rule else []
    numbers += [f"{count} attempt{'s' * (count != 1)}"] if (count := len(result.attempts)) else []
    if result.confidence is not None:
        together = result.combined_confidence
        with_retriever = f" ({together:.0%} with the retriever's)" if together is not None else ""
        numbers.append(f"confidence {result.confidence:.0%}{with_retriever}")
    if result.error_budget_burned:
        numbers.append(f"{result.error_budget_burned:.1f}x the error budget burned")
    if spent := costs(result.cost):
        numbers.append(f"the fixer took {', '.join(spent)}")
    return numbers


def _durations(result: Verdict) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    steps = durations(result.times)
    for name, _ in steps:
        table.add_column(name, ratio=1, justify="center", no_wrap=True)
    table.add_row(
        *(Text(took, "dim" if took == NONE else "red" if took.startswith(">") else "bold") for _, took in steps)
    )
    return table


def _rule(title: str) -> Padding:
    return Padding(Rule(Text(title, "dim"), style="bright_black", align="left"), (1, 1, 0, 1))


def _edit(edit: Edit) -> str:
    match edit:
        case ReplaceText():
            return f"{edit.path}: replace {_lines(edit.search)} by {_lines(edit.replace)}"
        case WriteFile():
            return f"{edit.path}: write {_lines(edit.content)}"
        case DeleteFile():
            return f"{edit.path}: delete"


def _lines(text: str) -> str:
    count = len(text.splitlines())
    return f"{count} line{'s' * (count != 1)}"


def _diff_colour(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")


def _pairs(rows: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(printable(value)))
    return grid
