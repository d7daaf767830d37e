"""What a reader is shown: pictures, tables, words and code. A notebook shows them as they are, a page takes their HTML.

Whatever they hold may come from a fixer or a log: all of it is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as _escape
from typing import Literal, Protocol

from harness.sinks.printable import cell, printable

NARROW = 640  # pixels of a screen, up to which a picture is drawn narrow


Tone = Literal["plain", "finding", "warning"]


class Exhibit(Protocol):
    def _repr_html_(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Two SVGs of the same, for a desk and for a phone. ``alt`` says in words what is seen, with its numbers."""

    title: str
    alt: str
    wide: bytes
    narrow: bytes
    note: str = ""  # how to read it, and where the numbers are from

    def _repr_html_(self) -> str:
        note = f" <span>{safe(self.note)}</span>" if self.note else ""
        return (
            f"<figure><picture>"
            f'<source media="(max-width: {NARROW}px)" srcset="{_data(self.narrow)}">'
            f'<img src="{_data(self.wide)}" alt="{safe(self.alt)}" style="max-width: 100%">'
            f"</picture><figcaption><b>{safe(self.title)}</b>{note}</figcaption></figure>"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a head. The first column names the row; ``note`` says how to read it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{safe(each)}</th>' for each in self.head)
        body = "".join(f"<tr>{_row(row)}</tr>" for row in self.rows)
        note = f" <span>{safe(self.note)}</span>" if self.note else ""
        return (
            f'<p class="caption"><b>{safe(self.title)}</b>{note}</p>'
            f'<div class="table" role="region" tabindex="0" aria-label="{safe(self.title)}"><table>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def markdown(self) -> str:
        """For a document; as ``harness compare --format markdown`` writes tables."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        body = "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)
        return f"{body}\n\n{self.note}".strip() + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A paragraph. ``tone``: a finding stands out, a warning more so."""

    text: str
    tone: Tone = "plain"

    def _repr_html_(self) -> str:
        return f'<p class="{self.tone}">{safe(self.text)}</p>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A unified diff, with what is added and what is taken out told apart by sign and colour."""

    title: str
    text: str

    def _repr_html_(self) -> str:
        lines = "\n".join(_diff_line(line) for line in self.text.splitlines())
        return (
            f"<figure><figcaption><b>{safe(self.title)}</b></figcaption>"
            f'<pre class="diff" role="region" tabindex="0" aria-label="{safe(self.title)}"><code>{lines}</code></pre>'
            "</figure>"
        )


@dataclass(frozen=True, slots=True)
class Exhibits:
    """Several, one after the other."""

    shown: tuple[Exhibit, ...]

    def _repr_html_(self) -> str:
        return "\n".join(each._repr_html_() for each in self.shown)


def safe(text: str) -> str:
    """As HTML that reads as it runs: without markup, and without marks that reorder what is read."""
    return _escape(printable(text))


def together(shown: Iterable[Exhibit]) -> Exhibits:
    return Exhibits(tuple(shown))


def _data(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<th scope="row">{safe(first)}</th>' + "".join(f"<td>{safe(each)}</td>" for each in others)


def _diff_line(line: str) -> str:
    kind = {"+": "ins", "-": "del"}.get(line[:1], "")
    if not kind or line.startswith(("+++", "---")):
        return safe(line)
    return f"<{kind}>{safe(line)}</{kind}>"
