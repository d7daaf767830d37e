"""Following log files as they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.target.logs import LogTail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "web.log"


def write(log: Path, content: bytes) -> None:
    with log.open("ab") as file:
        file.write(content)


def test_each_whole_line_comes_once(log: Path) -> None:
    tail = LogTail([log])
    assert tail.read() == []
    write(log, b"one\ntwo\nthr")
    assert tail.read() == ["one", "two"]
    assert tail.read() == []
    write(log, b"ee\n\n  \nfour\n")
    assert tail.read() == ["three", "four"], "the rest of a line is waited for, and empty ones say nothing"
    assert tail.read() == []


def test_files_are_followed_side_by_side_from_when_they_are_there(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "worker.log"
    tail = LogTail([log, other])
    write(log, b"web 1\nweb ")
    assert tail.read() == ["web 1"]
    write(other, b"worker 1\n")
    write(log, b"2\n")
    assert tail.read() == ["web 2", "worker 1"]


def test_a_line_cut_within_a_character_is_put_together(log: Path) -> None:
    tail = LogTail([log])
    letters = "naïve ☃\n".encode()
    for byte in letters:
        assert tail.read() == []
        write(log, bytes([byte]))
    assert tail.read() == ["naïve ☃"]
    write(log, b"caf\xe9\n")
    assert tail.read() == ["caf\N{REPLACEMENT CHARACTER}"]


def test_a_flood_is_read_in_portions_and_no_line_is_lost(log: Path) -> None:
    lines = [f"{number:07} {'x' * 90}" for number in range(40_000)]
    write(log, "".join(f"{line}\n" for line in lines).encode())
    tail, looks = LogTail([log]), []
    while portion := tail.read():
        looks.append(portion)
    assert [line for portion in looks for line in portion] == lines
    assert len(looks) == 4, "at most a megabyte a look"


def test_of_a_line_that_is_too_long_the_beginning_is_kept(log: Path) -> None:
    tail = LogTail([log])
    for part in (b"FAULT_FIRST ", b"x" * 3_000_000, b" end\nnext\n"):
        write(log, part)
        seen = [line for _ in range(4) for line in tail.read()]
    assert len(seen) == 2 and seen[1] == "next"
    assert seen[0].startswith("FAULT_FIRST xxx") and len(seen[0]) == 65536
    write(log, b"y" * 3_000_000 + b"\nafter\n")
    seen = [line for _ in range(4) for line in tail.read()]
    assert [len(line) for line in seen] == [65536, 5]


def test_a_truncated_file_is_read_from_its_beginning(log: Path) -> None:
    tail = LogTail([log])
    write(log, b"one\ntwo\nhalf a li")
    tail.read()
    log.write_bytes(b"new\n")
    assert tail.read() == ["new"]


def test_a_file_that_takes_the_others_place_is_read_from_its_beginning(log: Path) -> None:
    tail = LogTail([log])
    write(log, b"one\ntwo\nhalf a li")
    tail.read()
    log.rename(log.with_suffix(".1"))
    assert tail.read() == [], "it is not there yet"
    log.write_bytes(b"longer than what there was before it\nnew\n")
    assert tail.read() == ["longer than what there was before it", "new"]
