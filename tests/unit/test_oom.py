"""Real processes that grow, and the log that tells of their end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.target.oom import MemoryLimit

DEADLINE_S = 20.0
LIMIT_MB = 100
FILLED = "held = b'x' * 200_000_000"


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    """It says ``ready`` and waits until its input ends."""
    program = f"import os, sys\n{program}\nprint('ready', flush=True)\nsys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def eventually(check: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.02)


def test_what_grows_over_the_limit_is_killed_and_the_log_says_so(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("the app's own line\n")
    with running(FILLED) as process, MemoryLimit.enforced(lambda: process.pid, LIMIT_MB, log) as limit:
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
        eventually(lambda: limit.killed, "it is counted")
    first, told = log.read_text().splitlines()
    assert first == "the app's own line"
    match = re.fullmatch(
        r"Out of memory: Killed process (\d+) \(\S+\) total-vm:\d+kB, anon-rss:(\d+)kB, file-rss:\d+kB, "
        r"shmem-rss:0kB, UID:(\d+)",
        told,
    )
    assert match, told
    assert (int(match[1]), int(match[3])) == (process.pid, os.getuid())
    assert int(match[2]) * 1024 > LIMIT_MB * 1_000_000


def test_of_a_family_only_the_one_that_grew_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    fork = f"""
small = os.fork()
if small == 0:
    sys.stdin.read()
    os._exit(0)
large = os.fork()
if large == 0:
    {FILLED}
    sys.stdin.read()
    os._exit(0)
_, status = os.waitpid(large, 0)
print('ended by', os.WTERMSIG(status), os.waitpid(small, os.WNOHANG)[0], flush=True)
"""
    with running(fork) as parent, MemoryLimit.enforced(lambda: parent.pid, LIMIT_MB, log) as limit:
        assert parent.stdout
        assert parent.stdout.readline() == f"ended by {int(signal.SIGKILL)} 0\n"
        assert parent.stdout.readline() == "ready\n"
        assert parent.poll() is None
        assert limit.killed == 1
    assert log.read_text().count("Killed process") == 1


def test_below_the_limit_and_after_the_end_nobody_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    grow = "sys.stdin.readline()\nheld = b'x' * 200_000_000"
    with running(f"print('small', flush=True)\n{grow}") as process:
        assert process.stdin and process.stdout
        with MemoryLimit.enforced(lambda: process.pid, LIMIT_MB, log) as limit:
            assert process.stdout.readline() == "small\n"
            time.sleep(1.0)  # several looks
            assert limit.killed == 0
        process.stdin.write("grow\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
    assert not log.exists()


def test_a_process_that_is_gone_needs_no_limit(tmp_path: Path) -> None:
    with running("") as process:
        pass
    with MemoryLimit.enforced(lambda: process.pid, LIMIT_MB, tmp_path / "web.log") as limit:
        pass
    assert limit.killed == 0
