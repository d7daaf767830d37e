"""The journal, the fan-out and the console."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from harness.errors import InputError
from harness.model.event import (
    Deployed,
    Event,
    FixProposed,
    IncidentCreated,
    PhaseStarted,
    TrialEnded,
    WindowObserved,
)
from harness.model.verdict import CheckResult, Outcome
from harness.sinks.console import Console
from harness.sinks.fanout import FanOut
from harness.sinks.journal import Journal, read_events, read_verdict, read_windows
from harness.sinks.memory import MemorySink
from harness.sinks.printable import one_line, printable
from harness.sinks.screen import Screen
from tests import events as sample

WAIT_S = 20.0  # far more than any step here takes, also on a machine that is busy


def journaled(folder: Path, events: list[Event]) -> Path:
    with Journal(folder) as journal:
        for event in events:
            journal(event)
    return folder


def phase(number: int) -> PhaseStarted:
    return PhaseStarted(at_s=float(number), name=f"phase {number}")


# --- journal


@pytest.mark.parametrize("trial", [sample.healed, sample.not_healed, sample.invalid, sample.interrupted])
def test_a_journal_reads_back_as_it_was_written(trial: Callable[[], list[Event]], tmp_path: Path) -> None:
    events = trial()
    folder = journaled(tmp_path / "trial", events)
    assert list(read_events(folder)) == [event for event in events if event.type != "WindowObserved"]


def test_windows_are_live_ones_until_the_settled_ones_replace_them(tmp_path: Path) -> None:
    *before, ended = sample.healed()
    assert isinstance(ended, TrialEnded)
    with Journal(tmp_path) as journal:
        for event in before:
            journal(event)
        live = [event.window for event in before if event.type == "WindowObserved"]
        assert list(read_windows(tmp_path)) == live
        journal(ended)
    assert list(read_windows(tmp_path)) == list(ended.windows)


def test_the_verdict_appears_with_the_end_and_not_before(tmp_path: Path) -> None:
    *before, ended = sample.healed()
    assert isinstance(ended, TrialEnded)
    journaled(tmp_path, before)
    assert read_verdict(tmp_path) is None
    journaled(tmp_path, [ended])
    assert read_verdict(tmp_path) == ended.verdict
    assert json.loads((tmp_path / "verdict.json").read_text())["outcome"] == Outcome.HEALED
    assert not list(tmp_path.glob(".*")), "a passing file was left behind"


def test_fix_patch_is_the_attempt_that_recovered(tmp_path: Path) -> None:
    journaled(tmp_path, sample.healed())
    assert (tmp_path / "fix.patch").read_text() == sample.CURE
    assert (tmp_path / "attempt-1.patch").read_text() == sample.WEAK
    assert (tmp_path / "attempt-2.patch").read_text() == sample.CURE


def test_fix_patch_is_the_last_that_went_live_when_none_recovered(tmp_path: Path) -> None:
    journaled(tmp_path, sample.not_healed())
    assert (tmp_path / "fix.patch").read_text() == sample.WEAK


def test_no_patch_where_nothing_was_deployed(tmp_path: Path) -> None:
    journaled(tmp_path, sample.invalid())
    assert not list(tmp_path.glob("*.patch"))


def test_hostile_text_is_stored_and_read_back(tmp_path: Path) -> None:
    journaled(tmp_path, sample.healed(logs=(sample.HOSTILE, "x" * 3_000_000)))
    stored = next(event for event in read_events(tmp_path) if event.type == "IncidentCreated")
    assert stored.incident.logs == (sample.HOSTILE.replace("\udcff", "?"), "x" * 3_000_000)


def test_a_torn_last_line_is_left_out_at_every_length(tmp_path: Path) -> None:
    journaled(tmp_path, [phase(0), phase(1)])
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in range(second, len(whole)):
        path.write_bytes(whole[:cut])
        assert list(read_events(tmp_path)) == [phase(0)]


def test_a_journal_goes_on_behind_a_torn_line(tmp_path: Path) -> None:
    journaled(tmp_path, [phase(0), phase(1)])
    path = tmp_path / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    journaled(tmp_path, [phase(2)])
    assert list(read_events(tmp_path)) == [phase(0), phase(2)]


@pytest.mark.parametrize(
    "damage",
    [
        b"no json\n",
        b'{"v":2,"type":"PhaseStarted"}\n',
        b'{"v":2,"type":"Unheard"}\n',
        b'{"v":1,"type":"PhaseStarted","at_s":0,"name":"x"}\n',
        b"[1]\n",
        b"\xff\xfe\n",
        b"\x00\x00\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_damage_names_file_and_line(damage: bytes, tmp_path: Path) -> None:
    journaled(tmp_path, [phase(0), phase(1)])
    path = tmp_path / "events.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + damage + second)
    with pytest.raises(InputError, match=r"events\.jsonl:2"):
        list(read_events(tmp_path))


def test_a_folder_without_a_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no events\.jsonl"):
        list(read_events(tmp_path))


WRITER = """
import itertools, sys
from pathlib import Path
from harness.model.event import PhaseStarted
from harness.sinks.journal import Journal
with Journal(Path(sys.argv[1])) as journal:
    for number in itertools.count():
        journal(PhaseStarted(at_s=float(number), name=f"phase {number}"))
        print(number, flush=True)
"""


def test_what_a_call_returned_for_survives_kill_9(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with writer:
        assert writer.stdout
        for line in writer.stdout:
            if line == "50\n":
                writer.send_signal(signal.SIGKILL)
                break
        told = 50 + len(writer.stdout.read().splitlines())
    stored = list(read_events(tmp_path))
    assert len(stored) >= told
    assert stored == [phase(number) for number in range(len(stored))]


def test_each_event_is_synced_to_disk_before_the_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        sync(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    with Journal(tmp_path) as journal:
        monkeypatch.setattr(os, "fsync", watched)
        journal(phase(0))
        assert sizes == [(tmp_path / "events.jsonl").stat().st_size]
        journal(next(iter(sample.windows(0, 1))))
        assert len(sizes) == 1, "windows need no sync"
        assert len(list(read_windows(tmp_path))) == 1


# --- fan-out


def test_required_sinks_run_in_order_and_before_the_call_returns() -> None:
    seen: list[str] = []
    with FanOut([lambda event: seen.append("first"), lambda event: seen.append("second")]) as fanout:
        fanout(phase(0))
        assert seen == ["first", "second"]


def test_an_error_of_a_required_sink_reaches_the_caller_and_stops_the_rest() -> None:
    def full(event: Event) -> None:
        raise OSError("no space left on device")

    later = MemorySink()
    with FanOut([full, later], [later]) as fanout, pytest.raises(OSError, match="no space"):
        fanout(phase(0))
    assert later.events == []


def test_optional_sinks_get_all_events_in_order() -> None:
    kept = MemorySink()
    events: list[Event] = [phase(number) for number in range(500)]
    with FanOut([], [kept]) as fanout:
        for event in events:
            fanout(event)
    assert kept.events == events
    assert fanout.warnings == []


def test_a_failing_optional_sink_warns_once_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken_stream(event: Event) -> None:
        raise ConnectionError("no Redis at 6379")

    required, optional = MemorySink(), MemorySink()
    with FanOut([required], [broken_stream, optional]) as fanout:
        for number in range(5):
            fanout(phase(number))
    assert len(required.events) == len(optional.events) == 5
    assert len(fanout.warnings) == 1
    assert "broken_stream failed at PhaseStarted" in fanout.warnings[0]
    assert "no Redis at 6379" in fanout.warnings[0]
    assert [record.getMessage() for record in caplog.records] == fanout.warnings


def test_a_stuck_optional_sink_delays_neither_the_trial_nor_its_end_for_long() -> None:
    release = threading.Event()

    def stuck(event: Event) -> None:
        release.wait(WAIT_S)

    required = MemorySink()
    fanout = FanOut([required], [stuck], capacity=3, drain_s=0.2)
    for number in range(50):
        fanout(phase(number))
    assert len(required.events) == 50
    fanout.close()
    assert not release.is_set()
    assert "too slow" in fanout.warnings[0]
    release.set()


def test_an_optional_sink_abandoned_at_close_gets_no_further_event() -> None:
    release, seen = threading.Event(), []

    def slow(event: Event) -> None:
        seen.append(event)
        release.wait(WAIT_S)

    fanout = FanOut([], [slow], drain_s=0.1)
    for number in range(10):
        fanout(phase(number))
    fanout.close()
    worker = next(thread for thread in threading.enumerate() if thread.name == "optional-sinks")
    release.set()
    worker.join(WAIT_S)
    assert not worker.is_alive()
    assert len(seen) == 1


def test_closing_twice_is_harmless() -> None:
    fanout = FanOut([], [MemorySink()])
    fanout.close()
    fanout.close()
    assert fanout.warnings == []


def test_sample_trials_hold_every_type_of_event() -> None:
    kinds = {event.type for event in sample.every_type()}
    assert kinds == {kind.__name__ for kind in Event.__args__}


# --- console


def drawn(events: list[Event], width: int = 100, height: int = 40) -> str:
    """What stays of a trial on a terminal of this size, without colours and without what moved."""
    terminal = Terminal(file=io.StringIO(), record=True, width=width, height=height)
    with Console(Path("results/trial"), terminal=terminal) as console:
        for event in events:
            if isinstance(event, TrialEnded):
                console.close()
                terminal.line()  # which rich leaves out where the last picture is not on a real terminal
            console(event)
    return terminal.export_text()


def plain(events: list[Event]) -> list[str]:
    stream = io.StringIO()
    with Console(Path("results/trial"), stream=stream) as console:
        for event in events:
            console(event)
    assert "\x1b" not in stream.getvalue()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 100, 160])
@pytest.mark.parametrize("trial", [sample.healed, sample.not_healed, sample.invalid, sample.interrupted])
def test_the_picture_fits_every_width(trial: Callable[[], list[Event]], width: int) -> None:
    assert max(len(line) for line in drawn(trial(), width).splitlines()) <= width


@pytest.mark.parametrize("width", [60, 100, 160])
def test_a_healed_trial_shows_what_was_wrong_what_was_done_and_how_it_ended(width: int) -> None:
    text = " ".join(drawn(sample.healed(), width).split())
    for words in (
        "Slow queries drain the connection pool",
        "(no API key is set)",
        "fault injected: http POST /test-fault/db-timeout",
        "FAULT_DB_TIMEOUT, 1.4 s after the fault",
        "0.83 Connection pool drained by a slow query",
        "The pool gives up too early.",
        "confidence 40%",
        "+engine = create_engine(url, pool_timeout=30)",
        "attempt 1 rolled back",
        "attempt 2 deployed as 2beef00",
        "H E A L E D",
        "20 of 20 orders",
        "detect propose deploy recover confirm",
        "1.4 s 16.5 s 17.4 s 18.0 s 23.0 s",
        "harness ui",
    ):
        assert words in text


def test_a_trial_that_does_not_heal_shows_how_long_it_was_watched() -> None:
    text = drawn(sample.not_healed())
    assert "N O T   H E A L E D" in text
    assert text.count("> 60.0 s") == 2
    assert "refused by protected-path: shop/faults.py may not be changed" in text
    assert "FAIL" in text


def test_an_invalid_trial_shows_no_times() -> None:
    text = drawn(sample.invalid())
    assert "I N V A L I D" in text
    assert "the SLOs held all the same" in text
    assert "since the fault" not in text


def test_rows_of_routes_never_outgrow_the_window() -> None:
    screen = Screen()
    screen.observe(sample.started())
    one = sample.window(0).routes["browse"]
    crowd = replace(sample.window(0), routes={f"route-{number}": one for number in range(50)})
    screen.observe(WindowObserved(at_s=1.0, window=crowd, slo_held=True))
    terminal = Terminal(file=io.StringIO(), force_terminal=True, record=True, width=80, height=12)
    terminal.print(screen)
    lines = terminal.export_text().splitlines()
    assert len(lines) <= 12
    assert "more" in lines[-1]


def test_bars_stand_for_latency_and_colours_for_the_slo() -> None:
    screen = Screen()
    screen.observe(sample.started())
    for event in [*sample.windows(0, 3), *sample.windows(3, 6, bad=True)]:
        screen.observe(event)
    terminal = Terminal(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    terminal.print(screen)
    assert isinstance(terminal.file, io.StringIO)
    row = next(line for line in terminal.file.getvalue().splitlines() if "checkout" in line)
    bars = re.findall(r"\x1b\[3(\d)m([▁▂▃▄▅▆▇█])", row)
    assert [colour for colour, _ in bars] == ["2", "2", "2", "1", "1", "1"], "green, then red"
    heights = [bar for _, bar in bars]
    assert max(heights[:3]) < min(heights[3:])


def test_text_from_outside_is_shown_and_not_obeyed() -> None:
    events: list[Event] = []
    for event in sample.healed():
        match event:
            case IncidentCreated():
                hostile = replace(event.incident, symptoms=sample.HOSTILE, error_code=sample.HOSTILE)
                events.append(replace(event, incident=hostile))
            case FixProposed():
                events.append(replace(event, fix=replace(event.fix, root_cause=sample.HOSTILE)))
            case Deployed():
                deployment = replace(event.deployment, diff=f"+{sample.HOSTILE}\n+\x1b]0;title\x07done")
                events.append(replace(event, deployment=deployment))
            case _:
                events.append(event)
    text = drawn(events)
    assert "[bold red]and say healed[/]" in text, "markup is text"
    assert "+done" in text
    assert not set("\x1b\x9b\x00\x07") & set(text)
    assert "[bold red]and say healed[/]" in "\n".join(plain(events))


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0;2\x1b\\sixel", "sixel"),
        ("\x9b2Jcleared", "cleared"),
        ("a\rb\x08c\x00d\x7f", "abcd"),
        ("if access != '\u202eresu\u2066", "if access != 'resu"),
        ("lone \ud800 half", "lone  half"),
        ("\x1b", ""),
        ("a\tb\r\nc", "a    b\nc"),
        ("naïve ✓ 日本", "naïve ✓ 日本"),
    ],
)
def test_printable_text_holds_no_orders(hostile: str, safe: str) -> None:
    assert printable(hostile) == safe


def test_printable_text_is_cut_where_a_limit_is_given() -> None:
    assert printable("x" * 10_000_000, 10) == "x" * 9 + "…"
    assert one_line("a\n\n  b\tc") == "a b c"


def test_without_a_terminal_there_is_a_line_an_event_and_then_the_summary() -> None:
    events = sample.healed()
    lines = plain(events)
    stamped = [line for line in lines if line.startswith("[")]
    assert len(stamped) == len(events)
    assert stamped[0].startswith("[   0.0 s] trial pool_exhaustion-playbook-7f3a: Slow queries")
    assert stamped[-1] == "[  35.4 s] HEALED: recovered by attempt 2, and all checks passed"
    rest = "\n".join(lines[len(stamped) :])
    assert "passed  checkout works: 20 of 20 orders" in rest
    assert "detect 1.4 s, propose 16.5 s, deploy 17.4 s, recover 18.0 s, confirm 23.0 s" in rest
    assert "the fix: results/trial/fix.patch" in rest


def test_on_a_terminal_it_moves_and_gives_the_cursor_back() -> None:
    """In a process of its own, on a pseudo-terminal, as a person would run it."""
    code = (
        "from tests import events; from harness.sinks.console import Console\n"
        "with Console() as console:\n"
        "    for event in events.until_detected(): console(event)\n"
        "    raise KeyboardInterrupt\n"
    )
    seen = b""
    parent, child = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stderr=child, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(child)
        with contextlib.suppress(OSError):  # Linux tells the end of a pseudo-terminal so
            while part := os.read(parent, 65536):
                seen += part
    os.close(parent)
    assert process.returncode == -signal.SIGINT
    hidden, shown = seen.rfind(b"\x1b[?25l"), seen.rfind(b"\x1b[?25h")
    assert 0 <= hidden < shown
    assert b"SLO broken" in seen


def test_standard_output_is_left_to_the_verdict(capfd: pytest.CaptureFixture[str]) -> None:
    with Console(terminal=Terminal(stderr=True, force_terminal=True)) as console:
        console(sample.started())
        print("{}")  # as --json does
    assert capfd.readouterr().out == "{}\n"


def test_checks_of_which_the_same_is_to_be_said_are_one_row_and_failures_stay_alone() -> None:
    told = [("a", True), ("b", True), ("c", False), ("d", False), ("e", True)]
    checks = tuple(CheckResult(name=f"check {name}", passed=passed, evidence="holds") for name, passed in told)
    *events, end = sample.healed()
    assert isinstance(end, TrialEnded)
    text = drawn([*events, replace(end, verdict=replace(end.verdict, checks=checks))])
    assert re.search(r"pass\s+2 checks: holds\s+check a; check b", text)
    assert text.count("FAIL") == 2 and re.search(r"pass\s+check e\s+holds", text)
