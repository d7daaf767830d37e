"""Whatever has become of a trial's folder: it reads as what it says, or as an error that names the place."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.sinks.journal import EVENTS, VERDICT, WINDOWS, Journal, read_events, read_verdict, read_windows
from tests import events as sample

READERS: dict[str, Callable[[Path], object]] = {
    EVENTS: lambda folder: list(read_events(folder)),
    WINDOWS: lambda folder: list(read_windows(folder)),
    VERDICT: read_verdict,
}


def written() -> dict[str, bytes]:
    """The files of a trial, as the journal writes them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Journal(folder) as journal:
            for event in sample.every_type():
                journal(event)
        return {
            file: b"".join((folder / file).read_bytes().splitlines(keepends=True)[: 20 if file == WINDOWS else None])
            for file in READERS
        }


REAL = written()
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([10**400, "\ud800", "HEALED", "TrialStarted", [[[[]]]], {}, [], "x" * 5000]),
)
KEYS = st.sampled_from(["v", "type", "at_s", "verdict", "trial", "attempts", ""]) | st.text(max_size=4)


@st.composite
def changed(draw: st.DrawFn, value: object) -> object:
    """The value with one thing changed somewhere inside."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(SCALARS)
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        new = draw(st.sampled_from([[], [value[at]] * 2, None]))
        return [*value[:at], *([draw(changed(value[at]))] if new is None else new), *value[at + 1 :]]
    key = draw(st.sampled_from(sorted(value)))
    match draw(st.sampled_from(["deeper", "deeper", "drop", "add"])):
        case "drop":
            return {name: each for name, each in value.items() if name != key}
        case "add":
            return {**value, draw(KEYS): draw(SCALARS)}
    return {**value, key: draw(changed(value[key]))}


DAMAGE = st.binary(max_size=6) | st.sampled_from(
    [
        b"\n",
        b"\0" * 4096,
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"NaN",
        b"9" * 5000,
        b"\xef\xbb\xbf",
        b"\xff",
        b'"v":2,',
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """One of a trial's files with something wrong in it, as JSON or in its bytes."""
    file = draw(st.sampled_from([*READERS]))
    content = REAL[file]
    if draw(st.booleans()):
        lines = [content] if file == VERDICT else content.splitlines(keepends=True)
        at = draw(st.integers(0, len(lines) - 1))
        line = json.dumps(draw(changed(json.loads(lines[at])))).encode() + b"\n"
        return file, b"".join([*lines[:at], line, *lines[at + 1 :]])
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        stop = start + draw(st.sampled_from([0, 0, 1, 40, len(content)]))
        content = content[:start] + draw(DAMAGE) + content[stop:]
    return file, content


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_the_files_that_are_damaged_here_are_sound(folder: Path) -> None:
    for file, content in REAL.items():
        (folder / file).write_bytes(content)
        assert READERS[file](folder)


@given(file_and_content=damaged() | st.tuples(st.sampled_from([*READERS]), st.binary()))
def test_a_damaged_file(folder: Path, file_and_content: tuple[str, bytes]) -> None:
    file, content = file_and_content
    (folder / file).write_bytes(content)
    try:
        READERS[file](folder)
    except InputError as error:
        assert error.cure and file in error.message
        assert str(error).encode()


@given(file=st.sampled_from([EVENTS, WINDOWS]), cut=st.integers(0, max(map(len, REAL.values()))))
def test_a_file_that_a_crash_cut_short_reads_up_to_there(folder: Path, file: str, cut: int) -> None:
    (folder / file).write_bytes(REAL[file])
    whole = list(read_events(folder)) if file == EVENTS else list(read_windows(folder))
    (folder / file).write_bytes(REAL[file][:cut])
    left = list(read_events(folder)) if file == EVENTS else list(read_windows(folder))
    assert left == whole[: REAL[file][:cut].count(b"\n")]
