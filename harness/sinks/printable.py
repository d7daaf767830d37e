"""Text from logs, models and stored data, made safe for a terminal: it may be read, never obeyed."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, clear (ECMA-48, 5.4)
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS and kin: titles, links
    r"|\x1b[ -/]*[0-~]?"  # all other escapes
)
# control characters, and the marks that reorder text so that it reads otherwise than it runs (CVE-2021-42574)
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, limit: int | None = None) -> str:
    """Without escape sequences and control characters but newlines; cut to ``limit`` characters with an ellipsis."""
    if limit is not None and len(text) > 8 * limit:
        text = text[: 8 * limit]  # a log line may be megabytes long
    safe = _UNSEEN.sub("", _ESCAPES.sub("", text.replace("\t", "    ").replace("\r\n", "\n")))
    return safe if limit is None or len(safe) <= limit else safe[: limit - 1].rstrip() + "…"


def one_line(text: str, limit: int = 200) -> str:
    """The same on a single line, with single spaces."""
    return printable(" ".join(printable(text, 4 * limit).split()), limit)


def cell(text: str) -> str:
    """A cell of a table in Markdown: it ends no table and is no markup."""
    return printable(text).replace("|", "/").replace("<", "&lt;").replace("\n", " ")


def capped(text: str, lines: int) -> tuple[list[str], int]:
    """The first ``lines`` lines of a text, and how many were left out."""
    whole = printable(text).splitlines()
    return whole[:lines], max(0, len(whole) - lines)
