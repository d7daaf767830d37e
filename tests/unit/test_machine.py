"""Whose work keeps the machine busy?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import psutil
import pytest

from harness.services.machine import Machine

BURNT_S = 2.0
BURN = f"import time\nuntil = time.process_time() + {BURNT_S}\nwhile time.process_time() < until: pass"
DEADLINE_S = 60.0


def child() -> None:
    subprocess.run([sys.executable, "-S", "-c", BURN], check=True)


def grandchild() -> None:
    """Which nobody waits for: its parent is killed when it has ended."""
    code = (
        f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-S', '-c', {BURN!r}])\nprint(child.pid)\n"
    )
    command = [sys.executable, "-c", code + "sys.stdout.flush()\nsys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        ended(int(process.stdout.readline()))
        process.kill()


def stranger() -> None:
    """Who started it is gone."""
    code = f"import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-S', '-c', {BURN!r}], stdout=-3).pid)"
    ended(int(subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, check=True).stdout))


def ended(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def theirs_s(work: Callable[[], None]) -> float:
    """Seconds that others are said to have used meanwhile, without what the rest of the machine was at."""
    with Machine(time.monotonic) as machine:
        work()
        time.sleep(1.2)  # it looks each second
    seen = machine.busy()
    assert all(one.end_s == other.start_s for one, other in pairwise(seen))
    return sum(each.others * (each.end_s - each.start_s) for each in seen) * (os.cpu_count() or 1)


@pytest.mark.parametrize("work", [child, grandchild])
def test_what_this_process_has_started_is_its_own(work: Callable[[], None]) -> None:
    """The machine may be at other work: so it is compared with the same work, done by a stranger."""
    assert min(theirs_s(work) for _ in range(3)) < min(theirs_s(stranger) for _ in range(3)) - BURNT_S / 4


def test_what_a_stranger_does_is_not() -> None:
    """What it used in its last second may be missed."""
    assert theirs_s(stranger) >= 0.4 * BURNT_S


def test_who_works_for_a_trial_may_be_named() -> None:
    """Services that were up before."""
    assert min(seen_beside(child) for _ in range(3)) < min(theirs_s(stranger) for _ in range(3)) - BURNT_S / 4


def seen_beside(work: Callable[[], None]) -> float:
    """What a process beside this one says that others used meanwhile, where this one is named as its root."""
    code = f"""
import sys, time
from harness.services.machine import Machine
with Machine(time.monotonic, roots=[{os.getpid()}]) as machine:
    print("ready", flush=True)
    sys.stdin.read()
print(sum(each.others * (each.end_s - each.start_s) for each in machine.busy()) * {os.cpu_count() or 1})
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout and one.stdout.readline() == "ready\n"
        work()
        time.sleep(1.2)
        told, _ = one.communicate("")
    return float(told)
