"""Whatever an app writes to its log, and however: each line comes once, in order; and any line can be looked at."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.incident import Signal
from harness.model.scenario import Detection
from harness.target.logs import LogTail
from harness.trial.detect import describe, detect, marker_in

LONG = 8197  # bytes of a line that is cut

PIECES = st.sampled_from(
    [
        *(
            b"\n",
            b"\n",
            b"\r\n",
            b"\0",
            b" ",
            b"\t",
            b".",
            b"FAULT_A",
            b"FAULT_",
            b" FAULT_DB_TIMEOUT: late\n",
            b"\xff",
        ),
        *(
            "é".encode(),
            "☃".encode(),
            "\u2028".encode(),
            b"\xed\xa0\x80",
            b"\xe2\x98",
            b"\x1b[2J",
            b"\x85",
            b"\x0b\x0c",
        ),
        *(
            b"Traceback (most recent call last):\n",
            b'  File "a.py"\n',
            b"ERROR ",
            b"x" * 5000,
            b" " * 5000,
            b"." * 9000,
        ),
    ]
)
TEXTS = st.lists(PIECES | st.binary(max_size=20), max_size=30).map(b"".join)


@pytest.fixture(scope="module")
def log() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "web.log"


def lines_of(content: bytes) -> list[str]:
    """What a reader of the whole file would see."""
    found = []
    for line in content.split(b"\n")[:-1]:
        whole = line.lstrip(b"\0")
        kept = whole if len(whole) <= LONG else whole[:6144] + b" ... " + whole[-2048:]
        if kept.strip(b" \t\r\v\f\0."):
            found.append(kept.decode(errors="replace"))
    return found


@given(parts=st.lists(st.tuples(TEXTS, st.integers(0, 2)), max_size=12))
def test_every_line_comes_once_and_in_order_however_it_is_written(log: Path, parts: list[tuple[bytes, int]]) -> None:
    log.unlink(missing_ok=True)
    tail, seen, whole = LogTail([log]), [], b""
    for part, looks in parts:
        with log.open("ab") as app:
            app.write(part)
        whole += part
        for _ in range(looks):
            seen += tail.read()
            assert seen == lines_of(whole)[: len(seen)], "nothing is told before its end is there"
    assert seen + tail.read() == lines_of(whole)
    assert tail.read() == []


@given(parts=st.lists(st.tuples(TEXTS, st.sampled_from(["append", "truncate", "hole", "replace", "remove", "pipe"]))))
def test_whatever_becomes_of_the_file(log: Path, parts: list[tuple[bytes, str]]) -> None:
    """Lines are whole ones of something that the app wrote, and what it writes last is told."""
    log.unlink(missing_ok=True)
    tail, written = LogTail([log]), b""
    for part, what in parts:
        match what:
            case "replace" | "remove" | "pipe":
                log.unlink(missing_ok=True)
            case "truncate" if log.exists():
                os.truncate(log, 0)
            case "hole" if log.exists():
                size = log.stat().st_size
                os.truncate(log, 0)
                os.truncate(log, size)
        if what == "pipe":
            os.mkfifo(log)
        elif what != "remove":
            with log.open("ab") as app:
                app.write(part)
            written += b"\n" + part
        for line in tail.read():
            assert "\n" not in line and len(line) <= LONG
        if what == "pipe":
            log.unlink()
    with log.open("ab") as app:
        app.write(b"\nthe very last\n")
    assert tail.read()[-1] == "the very last"


@given(lines=st.lists(TEXTS.map(lambda raw: raw.decode(errors="replace")) | st.text(), max_size=20))
def test_any_line_can_be_looked_at(lines: list[str]) -> None:
    marker = marker_in(lines)
    if marker:
        assert re.fullmatch(r"FAULT_[A-Z0-9_]{1,64}", marker[0]) and marker[1] in lines and marker[0] in marker[1]
    signals = detect(Detection(), [], at_s=1.0, lines=lines, windows=[])
    assert [signal.detail for signal in signals] == ([marker[0]] if marker else [])
    burn = Signal(kind="burn_rate", at_s=1.0, detail="fast burns")
    for signal in (*signals, burn):
        told = describe("inc", signal, markers=True, lines=lines, windows=[], commit="c0ffee", now="2026-11-07T12:00Z")
        assert set(told.logs) <= set(lines) and len(told.logs) <= 60
        assert (told.error_code == "SLO_BURN") is (marker is None)


WORDS = st.sampled_from(
    [" FAULT_A", "FAULT_A=", "=FAULT_A", '"FAULT_A"', "FAULT_" * 50, ' "', ": ", ",", "[", " " * 99]
)


@given(pieces=st.lists(WORDS | st.text(max_size=3)), times=st.sampled_from([1, 300, 3000]))
def test_the_longest_line_is_looked_at_quickly(pieces: list[str], times: int) -> None:
    """A case that takes longer than its bound fails."""
    line = ("".join(pieces) * times)[: 50 * LONG]
    for _ in range(3):
        marker_in([line])
