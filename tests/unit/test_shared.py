"""Services that stay up between trials: who finds them, and what becomes of them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from harness.errors import ServiceUnavailable
from harness.experiment.resume import resume
from harness.services.pgdata import locked
from harness.services.shared import await_trial, shared_running, shared_services, trial_postgres, trial_uses
from harness.services.supervisor import Supervisor
from harness.settings import Settings
from harness.sinks.journal import Journal
from tests import events as sample

OWN = Settings(database_url=None, redis_url=None, has_gemini_key=False)


def test_a_trial_uses_what_is_up_and_its_own_where_nothing_is(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "postgres.log"
    log.parent.mkdir()
    assert shared_services(tmp_path) is None
    with Supervisor() as supervisor:
        with (
            trial_postgres(supervisor, tmp_path, log, OWN) as postgres,
            psycopg.connect(postgres.url("harness")) as one,
        ):
            one.execute("CREATE TABLE kept (x int)")
        with shared_running(supervisor, tmp_path, log.parent, OWN) as shared:
            assert shared_services(tmp_path) == shared and len(shared.processes) == 2
            assert stat.S_IMODE((tmp_path / "services.json").stat().st_mode) == 0o600
            with trial_postgres(supervisor, tmp_path, log, OWN) as postgres:
                assert postgres.server is None and postgres.url(postgres.home) == shared.database_url
                with psycopg.connect(shared.database_url) as one:
                    one.execute("SELECT x FROM kept")
                other = trial_postgres(supervisor, tmp_path, log, OWN)
                with pytest.raises(ServiceUnavailable, match="another trial runs"), other:
                    pass
            with (
                pytest.raises(ServiceUnavailable, match="another dashboard"),
                shared_running(supervisor, tmp_path, log.parent, OWN),
            ):
                pass
        assert shared_services(tmp_path) is None and not (tmp_path / "services.json").exists()


def test_what_was_killed_is_not_believed_to_be_up(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from harness.services import shared
folder = Path({str(tmp_path)!r})
with shared._alone(folder), shared._told(folder, shared.Shared(database_url="x", redis_url=None, processes=())):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert json.loads((tmp_path / "services.json").read_text())["database_url"] == "x"
    assert shared_services(tmp_path) is None


def test_a_dashboard_waits_for_a_trial_with_a_server_of_its_own(tmp_path: Path) -> None:
    with locked(tmp_path / "postgres"):
        told: list[str] = []
        waiting = threading.Thread(target=await_trial, args=(tmp_path, told.append))
        waiting.start()
        waiting.join(1.5)
        assert waiting.is_alive() and len(told) == 1
    waiting.join(10.0)
    assert not waiting.is_alive()


def test_with_a_server_elsewhere_neither_is_in_the_way_of_the_other(tmp_path: Path, database_url: str) -> None:
    elsewhere = Settings(database_url=database_url, redis_url=None, has_gemini_key=False)
    log = tmp_path / "log"
    with (
        Supervisor() as supervisor,
        shared_running(supervisor, tmp_path, tmp_path, elsewhere) as shared,
        trial_postgres(supervisor, tmp_path, log, elsewhere) as postgres,
    ):
        assert postgres.server is None and shared.database_url == postgres.url(postgres.home)
        assert shared_services(tmp_path) is None, "a trial without DATABASE_URL would take it for one of ours"
        assert trial_uses(tmp_path)
    assert not trial_uses(tmp_path)


def test_a_killed_trial_is_recorded_where_the_services_are_up(tmp_path: Path) -> None:
    story = sample.healed(sample.trial("killed"))
    with Journal(tmp_path / "killed") as journal:
        for event in story:
            journal(event)
    (tmp_path / "dash").mkdir()
    with Supervisor() as supervisor, shared_running(supervisor, tmp_path, tmp_path / "dash", OWN) as shared:
        (resumed,) = resume([tmp_path / "killed"], OWN, track=False)
        assert resumed.verdict
        with psycopg.connect(shared.database_url) as one:
            assert one.execute("SELECT trial_id, state FROM incident").fetchall() == [("killed", "resolved")]
