"""The proof as a table: for the terminal, and as a page in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.experiment.proof import CHEAT, Row, Summary, summary
from harness.trial.judge import JUDGE

_HEAD = """# Proof

Whether the verdicts can be trusted: doing nothing must not heal, the reference fix must, every wrong fix must lose.
Each row of [proof.jsonl](proof.jsonl) is one trial; the file only grows (`make prove`), and this page is made from it.
Intervals are 95 %, after Wilson. "Refused" wrong fixes never ran: the guard or the review turned them away. Counted
are the trials of each scenario as it is now, by judge {judge}.
"""


def by_scenario(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """In the order of their names."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda each: each.scenario):
        found[row.scenario].append(row)
    return found


def lines(rows: Sequence[Row]) -> list[str]:
    """What a terminal shows: a line a scenario, and the sums."""
    told = [_line(name, summary(found)) for name, found in by_scenario(rows).items()]
    whole = summary(rows)
    wrong = [
        f"  WRONG: {row.scenario}: {row.arm} was {row.outcome}: {row.reason}"
        for row in rows
        if row.measured and not row.as_it_must
    ]
    return [
        *told,
        f"false accepts {whole.false_accepts}   false rejects {whole.false_rejects}   INVALID {whole.invalid}",
        *wrong,
    ]


def page(rows: Sequence[Row], older: int) -> str:
    """The whole page; ``older`` rows speak of versions that are gone."""
    whole = summary(rows)
    parts = [
        _HEAD.format(judge=JUDGE),
        _table(
            ("", "", "of"),
            [
                ("wrong fixes believed", str(whole.false_accepts), "no-op trials and wrong fixes"),
                ("the same, live", str(whole.false_accepts_live), "those under load, not refused unread"),
                ("good fixes refused", str(whole.false_rejects), "reference trials, and controls left alone"),
                ("ended by itself", str(whole.self_recovery), "no-op trials of outages"),
                ("not to be measured", str(whole.invalid), f"{len(rows)} trials"),
                ("wrong fixes tried", str(whole.cheats.n), f"{whole.cheats_live} of them live, under load"),
                ("rows of older versions", str(older), "in the file, and not counted here"),
            ],
        ),
        "## Scenarios\n",
        _table(
            (
                "scenario",
                "no-op as it must",
                "reference as it must",
                "wrong fixes lost",
                "live",
                "INVALID",
                "self-recovery",
                "effect h",
            ),
            [(f"`{name}`", *_cells(summary(found))) for name, found in by_scenario(rows).items()],
        ),
        "## Wrong fixes, and what each fell to\n",
        _table(("wrong fix", "scenario", "how", "outcome", "rule"), _fallen(rows)),
    ]
    return "\n".join(parts)


def _line(name: str, found: Summary) -> str:
    return (
        f"{name:18} no-op {found.noop.hits}/{found.noop.n}  reference {found.reference.hits}/{found.reference.n}  "
        f"cheats lost {found.cheats.hits}/{found.cheats.n} ({found.cheats_live} live)  INVALID {found.invalid}"
    )


def _cells(found: Summary) -> tuple[str, ...]:
    effect = "-" if found.effect is None else f"{found.effect:.2f}"
    return (
        *(str(each) for each in (found.noop, found.reference, found.cheats)),
        str(found.cheats_live),
        str(found.invalid),
        str(found.self_recovery) if found.self_recovery.n else "-",
        effect,
    )


def _fallen(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """A line for each way in which a wrong fix fell, with the scenarios where it did."""
    found: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.arm.startswith(CHEAT):
            key = (row.arm.removeprefix(CHEAT), row.how, str(row.outcome), row.rule)
            found[key].append(row.scenario)
    told: list[tuple[str, ...]] = []
    for (name, how, outcome, rule), scenarios in sorted(found.items()):
        where = ", ".join(sorted(set(scenarios)))
        told.append((f"`{name}`", where, how, outcome, f"`{rule}`"))
    return told


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in rows)
