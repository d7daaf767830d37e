"""Following log files as they grow."""

from __future__ import annotations

import os
import tracemalloc
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


def test_of_a_line_that_is_too_long_the_beginning_and_the_end_are_kept(log: Path) -> None:
    tail = LogTail([log])
    seen = []
    for part in (b"FAULT_FIRST ", b"x" * 10_000_000, b' "marker": "FAULT_LAST"\nnext\n'):
        write(log, part)
        seen += [line for _ in range(12) for line in tail.read()]
    assert len(seen) == 2 and seen[1] == "next"
    assert seen[0].startswith("FAULT_FIRST xxx") and seen[0].endswith('xxx "marker": "FAULT_LAST"')
    assert " ... " in seen[0] and len(seen[0]) == 8197


@pytest.mark.parametrize("looks", [0, 1], ids=["at once", "in two parts"])
def test_a_long_line_that_says_something_only_where_it_is_cut_says_nothing(log: Path, looks: int) -> None:
    tail = LogTail([log])
    with log.open("ab", buffering=0) as app:
        app.write(b"." * 7000 + b"word" + b"." * 7000)
        for _ in range(looks):
            assert tail.read() == []
        app.write(b"\nnext\n")
    assert tail.read() == ["next"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.75], ids="marker at {:.0%}".format)
def test_of_a_flood_most_is_skipped_and_markers_are_kept(log: Path, share: float) -> None:
    before, line = [f"before {number}" for number in range(100)], "y" * 99
    count = 200_000  # 20 MB
    flood = [line] * count
    flood[int(share * count)] = f"ERROR FAULT_A {'z' * 50}"
    write(log, "".join(f"{line}\n" for line in [*before, *flood, "the last"]).encode())
    tail = LogTail([log])
    marked, skipped, *rest = tail.read()
    assert marked.startswith("ERROR FAULT_A zzz") and skipped == "... 19 MB of log skipped"
    assert rest[-1] == "the last" and 10_000 < len(rest) <= 10_486 and set(rest[:-1]) == {line}
    write(log, b"after\n")
    assert [*tail.read(), *tail.read()] == ["after"]


def test_a_flood_takes_little_memory(log: Path) -> None:
    tail = LogTail([log])
    tail.read()
    for _ in range(100):
        write(log, (b"x" * 99 + b"\n") * 10_000)
    write(log, b"y" * 20_000_000)
    tracemalloc.start()
    try:
        looks = [len(tail.read()) for _ in range(5)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(looks) > 0 and peak < 12_000_000, f"{peak} bytes for a log of 120 MB"


def test_what_the_app_puts_in_the_place_of_its_log_is_not_waited_for(log: Path, tmp_path: Path) -> None:
    tail = LogTail([log])
    os.mkfifo(log)
    assert tail.read() == []
    log.unlink()
    log.mkdir()
    assert tail.read() == []
    log.rmdir()
    (tmp_path / "secret").write_text("a secret\n")
    log.symlink_to(tmp_path / "secret")
    assert tail.read() == []
    log.unlink()
    write(log, b"one\n")
    assert tail.read() == ["one"]


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


def test_a_file_that_grows_beyond_what_it_was_between_two_looks_is_read_from_its_beginning(log: Path) -> None:
    tail = LogTail([log])
    write(log, b"one\ntwo\nhalf a li")
    tail.read()
    os.truncate(log, 0)
    write(log, b"".join(b"new %d\n" % number for number in range(10)))
    assert tail.read() == [f"new {number}" for number in range(10)]


def test_the_hole_that_an_app_leaves_that_does_not_append_is_nothing(log: Path) -> None:
    tail = LogTail([log])
    with log.open("wb", buffering=0) as app:
        app.write(b"one\n" * 100)
        assert tail.read() == ["one"] * 100
        os.truncate(log, 0)
        app.write(b"two\nthree\n")  # where it was: all before is NULs
    assert tail.read() == ["two", "three"]
