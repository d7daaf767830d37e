"""Children end with their parent, whichever way it goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.errors import ServiceUnavailable, TargetNotReady
from harness.services import reaper
from harness.services.loopback import free_port
from harness.services.ready import NotYet, http_ready, tcp_ready, wait_until
from harness.services.reaper import alive, identify
from harness.services.supervisor import Child, Supervisor

ROOT = Path(harness.__file__).resolve().parents[1]
PYTHON = [sys.executable, "-I", "-S", "-c"]
DEADLINE_S = 20.0
DEAF = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", os.getpid(), flush=True)
time.sleep(600)
"""


def until(predicate: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < deadline, "still not so after the deadline"
        time.sleep(0.02)


@contextmanager
def spawned(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:  # noqa: ANN401 - those of Popen
    """A process outside any supervisor, killed in the end."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def start(supervisor: Supervisor, folder: Path, name: str, code: str, **options: float) -> Child:
    """A Python child that runs ``code`` and has printed something."""
    log = folder / f"{name}.log"
    child = supervisor.start(
        name, [*PYTHON, code], env={}, cwd=folder, log=log, stop_timeout_s=options.get("stop_timeout_s", 10.0)
    )
    until(child.tail)
    return child


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as running:
        yield running


# --- one child ---


def test_a_child_gets_exactly_the_environment_given_and_leads_its_own_session(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    env = shutil.which("env")
    assert env
    child = supervisor.start("env", [env], env={"ONLY": "this"}, cwd=tmp_path, log=tmp_path / "logs" / "env.log")
    assert child.wait(DEADLINE_S) == 0
    assert child.tail() == "ONLY=this"

    leader = start(supervisor, tmp_path, "leader", "import os, time; print(os.getcwd(), flush=True); time.sleep(600)")
    assert leader.tail() == str(tmp_path)
    assert os.getsid(leader.pid) == os.getpgid(leader.pid) == leader.pid != os.getsid(0)


def test_output_is_appended_and_tail_gives_the_last_lines(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("of an earlier child\n")
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr)"
    child = supervisor.start("child", [*PYTHON, code], env={}, cwd=tmp_path, log=log)
    child.wait(DEADLINE_S)
    assert child.tail(2) == "one\ntwo"
    assert child.tail() == "of an earlier child\none\ntwo"


def test_the_return_code_is_known_before_and_after_the_stop(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start("three", [*PYTHON, "raise SystemExit(3)"], env={}, cwd=tmp_path, log=tmp_path / "log")
    assert child.wait(DEADLINE_S) == child.returncode == 3
    child.signal(signal.SIGTERM)  # too late, and harmless
    child.stop()
    child.stop()
    assert child.returncode == 3


def test_who_does_not_obey_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    child = start(supervisor, tmp_path, "deaf", DEAF, stop_timeout_s=0.3)
    child.stop()
    assert child.returncode == -signal.SIGKILL
    assert not child.running()


def test_a_stopped_process_is_woken_to_obey(supervisor: Supervisor, tmp_path: Path) -> None:
    child = start(supervisor, tmp_path, "paused", "import time; print('up', flush=True); time.sleep(600)")
    child.signal(signal.SIGSTOP)
    child.stop()
    assert child.returncode == -signal.SIGTERM


FAMILY = f"""
import os, subprocess, sys, time
deaf = {DEAF!r}
command = [sys.executable, "-I", "-S", "-c", deaf]
subprocess.Popen(command)
subprocess.Popen(command, start_new_session=True)
time.sleep(600)
"""


def deaf_pids(log: Path) -> list[int]:
    return [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("deaf")]


@pytest.mark.parametrize("how", ["stopped", "crashed"])
def test_what_it_forked_ends_with_it(supervisor: Supervisor, tmp_path: Path, how: str) -> None:
    child = start(supervisor, tmp_path, "family", FAMILY)
    until(lambda: len(deaf_pids(child.log)) == 2)
    # of a leader that crashed, the group can still be told, the grandchild that left it can't
    kin = [identify(pid) for pid in deaf_pids(child.log) if how == "stopped" or os.getpgid(pid) == child.pid]
    others = [identify(pid) for pid in deaf_pids(child.log) if pid not in {process.pid for process in kin}]
    if how == "crashed":
        child.signal(signal.SIGKILL)
        child.wait(DEADLINE_S)
        assert all(alive(process) for process in kin)
    child.stop()
    until(lambda: not any(alive(process) for process in kin))
    for process in others:
        os.kill(process.pid, signal.SIGKILL)


def test_a_program_that_is_not_there_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"ghost: can't run /no/such/program: No such file"):
        supervisor.start("ghost", ["/no/such/program"], env={}, cwd=tmp_path, log=tmp_path / "log")


def test_without_its_block_a_supervisor_starts_nothing(tmp_path: Path) -> None:
    supervisor = Supervisor()
    with pytest.raises(ServiceUnavailable, match="not running"):
        supervisor.start("sleep", [*PYTHON, "1"], env={}, cwd=tmp_path, log=tmp_path / "log")
    assert not (tmp_path / "log").read_text()


# --- the block ---


def test_children_are_stopped_in_reverse_order_also_after_an_exception(tmp_path: Path) -> None:
    code = """
import pathlib, signal, sys, time
def leave(*_):
    with open("order", "a") as file:
        file.write({name!r})
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(600)
"""
    children = []
    with pytest.raises(KeyboardInterrupt), Supervisor() as supervisor:
        children += [start(supervisor, tmp_path, name, code.format(name=name)) for name in "abc"]
        raise KeyboardInterrupt
    assert (tmp_path / "order").read_text() == "cba"
    assert [child.returncode for child in children] == [0, 0, 0]


PARENT = """
import os, sys, time
from pathlib import Path
from harness.services.supervisor import Supervisor
folder = Path(sys.argv[1])
def start(supervisor, name, code, **options):
    command = [sys.executable, "-I", "-S", "-c", code]
    return supervisor.start(name, command, env={}, cwd=folder, log=folder / f"{name}.log", **options)
"""


@contextmanager
def parent(folder: Path, code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs `PARENT` and ``code``."""
    script = PARENT + textwrap.dedent(code)
    with spawned([sys.executable, "-c", script, str(folder)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) as process:
        yield process


def test_a_second_ctrl_c_during_clean_up_leaves_nobody(tmp_path: Path) -> None:
    code = f"""
    with Supervisor() as supervisor:
        deaf = start(supervisor, "deaf", {DEAF!r}, stop_timeout_s=600)
        meek = start(supervisor, "meek", "import os, time; print(os.getpid(), flush=True); time.sleep(600)")
        time.sleep(600)
    """
    with parent(tmp_path, code) as process:
        log = tmp_path / "meek.log"
        until(lambda: log.exists() and log.read_text() and deaf_pids(tmp_path / "deaf.log"))
        meek, deaf = identify(int(log.read_text())), identify(*deaf_pids(tmp_path / "deaf.log"))
        process.send_signal(signal.SIGINT)
        until(lambda: not alive(meek))  # then the clean-up is under way
        assert process.poll() is None
        assert alive(deaf)
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)
        assert not alive(deaf)


# --- the parent is killed ---


def test_after_kill_9_of_the_parent_nobody_is_left(tmp_path: Path) -> None:
    code = f"""
    with Supervisor() as supervisor:
        start(supervisor, "family", {FAMILY!r})
        if not os.fork():
            time.sleep(600)  # a copy of the parent, which holds the pipe open
        start(supervisor, "late", {DEAF!r})
        time.sleep(600)
    """
    logs = [tmp_path / f"{name}.log" for name in ("family", "late")]
    with parent(tmp_path, code) as process:
        until(lambda: all(log.exists() for log in logs) and sum(len(deaf_pids(log)) for log in logs) == 3)
        everybody = reaper.descendants(process.pid)
        forked = [each for each in everybody if os.getpgid(each.pid) == os.getpgid(0)]
        children = [each for each in everybody if each not in forked]
        assert len(children) == 5, "two children, two grandchildren and the reaper"
        process.kill()
        process.wait()
        try:
            until(lambda: not any(alive(each) for each in children))
        finally:
            for each in forked:
                os.kill(each.pid, signal.SIGKILL)


def test_a_child_that_was_born_but_not_yet_announced_is_found_by_its_log(tmp_path: Path) -> None:
    read, write = os.pipe()
    with (
        (tmp_path / "log").open("ab") as log,
        spawned([*PYTHON, DEAF], stdout=log, start_new_session=True) as child,
        spawned([sys.executable, "-I", "-S", reaper.__file__, str(os.getpid())], stdin=read) as reaping,
    ):
        os.close(read)
        os.write(write, f"?{reaper.file_key(os.fstat(log.fileno()))}\n".encode())
        until(lambda: deaf_pids(tmp_path / "log"))
        os.close(write)
        assert reaping.wait(DEADLINE_S) == 0
        assert child.wait(DEADLINE_S) == -signal.SIGKILL


def test_a_stranger_with_a_pid_of_ours_is_spared() -> None:
    echo = [*PYTHON, "print(input())"]
    with spawned(echo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as stranger:
        now = identify(stranger.pid)
        assert now.born is not None
        earlier = now._replace(born=now.born - 1)
        reaper.end_group(earlier, signal.SIGTERM, 0.0, gone=lambda: not alive(earlier))
        assert not alive(earlier)
        assert alive(now)
        assert stranger.communicate(b"still here", timeout=DEADLINE_S)[0] == b"still here\n"


# --- ports and readiness ---


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(1024 < port < 32768 for port in ports)


def test_a_dead_child_ends_the_wait_at_once_and_its_log_is_shown(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start(
        "app", [*PYTHON, "raise SystemExit('no module named shop')"], env={}, cwd=tmp_path, log=tmp_path / "app.log"
    )
    with pytest.raises(TargetNotReady, match="ended with code 1 before it was ready") as caught:
        http_ready(f"http://127.0.0.1:{free_port()}/health", timeout_s=3600, child=child)
    assert "no module named shop" in caught.value.message
    assert "app.log" in caught.value.cure


def test_what_was_awaited_last_is_told_when_time_runs_out() -> None:
    def refuse() -> bool:
        raise NotYet("the moon is not full")

    with pytest.raises(ServiceUnavailable, match=r"the tide was not ready within 0 s: the moon is not full"):
        wait_until(refuse, timeout_s=0, what="the tide")


def test_ready_is_a_2xx_answer_and_not_an_open_port(supervisor: Supervisor, tmp_path: Path) -> None:
    code = """
import http.server, sys
class Answers(http.server.BaseHTTPRequestHandler):
    left = 2
    def do_GET(self):
        Answers.left -= 1
        self.send_response(200 if Answers.left < 0 and self.path == "/ready?x=1" else 503)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""
    port = free_port()
    child = supervisor.start("web", [*PYTHON, code, str(port)], env={}, cwd=tmp_path, log=tmp_path / "web.log")
    tcp_ready("127.0.0.1", port, timeout_s=DEADLINE_S, child=child)
    with pytest.raises(TargetNotReady, match="it answers 503"):
        http_ready(f"http://127.0.0.1:{port}/", timeout_s=0, child=child)
    http_ready(f"http://127.0.0.1:{port}/ready?x=1", timeout_s=DEADLINE_S, child=child)
    assert child.tail().count("GET /ready") == 2
    with pytest.raises(ServiceUnavailable, match="refused"):
        tcp_ready("127.0.0.1", free_port(), timeout_s=0)
