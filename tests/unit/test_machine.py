"""Whose work keeps the machine busy?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from harness.experiment.machine import Since, busy_s, own_s

BURN = "import time\nuntil = time.process_time() + {}\nwhile time.process_time() < until: pass"
BURNT_S = 1.0


def burning(seconds: float) -> list[str]:
    return [sys.executable, "-S", "-c", BURN.format(seconds)]


def grown(what: Callable[[], float], do: Callable[[], object]) -> float:
    before = what()
    do()
    return what() - before


def elsewhere() -> None:
    """A process of somebody else's: who started it is gone."""
    begin = "import subprocess, sys\nprint(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid)"
    command = [sys.executable, "-S", "-c", begin, *burning(BURNT_S)]
    pid = int(subprocess.run(command, capture_output=True, check=True).stdout)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_this_process_has_started_is_its_own_also_when_it_has_ended() -> None:
    assert grown(own_s, lambda: subprocess.run(burning(BURNT_S), check=True)) >= 0.9 * BURNT_S


def test_what_still_runs_is_counted_with_what_it_has_waited_for() -> None:
    code = f"import subprocess, sys\nsubprocess.run({burning(BURNT_S)!r})\nprint(flush=True)\nsys.stdin.read()"
    before = own_s()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        meanwhile = own_s()
    assert meanwhile - before >= 0.9 * BURNT_S


def test_others_work_is_not_its_own() -> None:
    assert grown(own_s, elsewhere) < 0.7 * BURNT_S
    assert grown(busy_s, elsewhere) >= 0.9 * BURNT_S
    since = Since()
    elsewhere()
    assert since.others() * since.seconds() * psutil.cpu_count() >= 0.3 * BURNT_S
