"""What every implementation of ports.Check promises, and how a folder of pytest files is judged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

from harness.checks.folder import FolderCheck
from harness.checks.memory import ScriptedCheck
from harness.errors import MeasurementError
from harness.model.source import Endpoints, Upstream
from harness.model.verdict import CheckResult, Moment
from harness.ports import Check
from harness.services.supervisor import Supervisor

HEAD = """\
import os, urllib.request


def get(path):
    return urllib.request.urlopen(os.environ["CHECK_URL"] + path).read()


"""
GOOD = HEAD + "def test_words_come():\n    assert get('/words') == b'words'\n"
BAD = HEAD + "def test_orders_are_stored_once():\n    assert get('/words') == b'orders', 'no orders'\n"


@pytest.fixture(scope="module")
def endpoints() -> Iterator[Endpoints]:
    app = Flask(__name__)

    @app.get("/words")
    def words() -> ResponseReturnValue:
        return "words"

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    upstreams = {"payments": Upstream(url="http://127.0.0.1:1", admin_token="token")}
    yield Endpoints(url=f"http://127.0.0.1:{server.port}", upstreams=upstreams)
    server.shutdown()
    thread.join()
    server.server_close()


SUPERVISOR = Supervisor()


@pytest.fixture(scope="module", autouse=True)
def supervised() -> Iterator[None]:
    with SUPERVISOR:
        yield


def folder_check(tmp_path: Path, timeout_s: float = 60.0, /, **files: str) -> FolderCheck:
    folder = tmp_path / "checks"
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    return FolderCheck(
        folder, supervisor=SUPERVISOR, log=tmp_path / "checks.log", memory=tmp_path / "memory", timeout_s=timeout_s
    )


def passed(results: Sequence[CheckResult]) -> dict[str, bool]:
    return {result.name: result.passed for result in results}


# --- every check ---


@pytest.fixture(params=["scripted", "folder"])
def check(request: pytest.FixtureRequest, tmp_path: Path) -> Check:
    if request.param == "folder":
        return folder_check(tmp_path, test_good=GOOD, test_bad=BAD)
    return ScriptedCheck(
        CheckResult(name="words come", passed=True, evidence="holds"),
        CheckResult(name="orders are stored once", passed=False, evidence="no orders"),
    )


def test_it_gives_one_result_a_statement_with_evidence(check: Check, endpoints: Endpoints) -> None:
    results = check.run(endpoints, 7, "after")
    assert check.name
    assert passed(results) == {"words come": True, "orders are stored once": False}
    assert all(result.evidence for result in results)
    assert "no orders" in next(result.evidence for result in results if not result.passed)


def test_it_can_be_run_again(check: Check, endpoints: Endpoints) -> None:
    assert passed(check.run(endpoints, 7, "after")) == passed(check.run(endpoints, 8, "after"))


# --- a folder of pytest files ---

ODD = {
    "test_xfail": "import pytest\n\n@pytest.mark.xfail\ndef test_expected_to_fail():\n    assert False\n",
    "test_error": "import pytest\n\n@pytest.fixture\ndef words():\n    raise OSError\n\ndef test_words(words): ...\n",
    "test_sizes": "import pytest\n\n@pytest.mark.parametrize('n', [1, 2])\ndef test_size(n):\n    assert n == 1\n",
}

BROKEN = {
    "cannot be collected": {"test_import": "import nowhere\n\ndef test_it(): ...\n", "test_good": GOOD},
    "no test": {"test_words": "WORDS = 1\n"},
    "ends the process": {"test_end": "import os\n\ndef test_it(): ...\n\ndef test_more():\n    os._exit(0)\n"},
    "breaks off": {"test_off": "import pytest\n\ndef test_it():\n    pytest.exit('enough', returncode=0)\n"},
    "skips": {"test_skipped": "import pytest\n\ndef test_skipped():\n    pytest.skip('not today')\n"},
}


def test_only_what_was_seen_to_hold_has_passed(tmp_path: Path, endpoints: Endpoints) -> None:
    results = folder_check(tmp_path, **ODD).run(endpoints, 7, "after")
    assert passed(results) == {"expected to fail": False, "words": False, "size[1]": True, "size[2]": False}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN.keys())
def test_broken_checks_are_nobodys_failure(tmp_path: Path, endpoints: Endpoints, files: dict[str, str]) -> None:
    with pytest.raises(MeasurementError, match="cannot be run") as raised:
        folder_check(tmp_path, **files).run(endpoints, 7, "after")
    assert str(tmp_path / "checks.log") in raised.value.cure


def test_an_empty_folder_and_one_that_is_gone_are_told(tmp_path: Path, endpoints: Endpoints) -> None:
    check = folder_check(tmp_path)
    with pytest.raises(MeasurementError, match="no test was found"):
        check.run(endpoints, 7, "after")
    (tmp_path / "checks").rmdir()
    with pytest.raises(MeasurementError, match="cannot be run"):
        check.run(endpoints, 7, "after")


def test_what_does_not_end_in_time_fails(tmp_path: Path, endpoints: Endpoints) -> None:
    stuck = "import time\n\n\ndef test_it(): ...\n\n\ndef test_stuck():\n    time.sleep(600)\n"
    (result,) = folder_check(tmp_path, 1.0, test_stuck=stuck).run(endpoints, 7, "after")
    assert not result.passed and "did not end within 1 s" in result.evidence


LOOK = """\
import json, os, pathlib

def test_look():
    pathlib.Path({path!r}).write_text(json.dumps(dict(os.environ)))
"""


def test_the_tests_are_told_where_and_with_which_seed_and_nothing_else(
    tmp_path: Path, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    seen = tmp_path / "seen.json"
    results = folder_check(tmp_path, test_look=LOOK.format(path=str(seen))).run(endpoints, 7, "after")
    assert passed(results) == {"look": True}
    env = json.loads(seen.read_text())
    assert (env["CHECK_URL"], env["CHECK_SEED"]) == (endpoints.url, "7")
    assert (env["CHECK_UPSTREAM_PAYMENTS_URL"], env["CHECK_UPSTREAM_PAYMENTS_TOKEN"]) == ("http://127.0.0.1:1", "token")
    assert not {name for name in env if "KEY" in name or "ADDOPTS" in name}


def test_settings_and_modules_around_the_folder_have_no_part_in_it(tmp_path: Path, endpoints: Endpoints) -> None:
    (tmp_path / "conftest.py").write_text("raise RuntimeError('the conftest above was read')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    check = folder_check(tmp_path, test_good=GOOD, conftest="import pytest\n", json="raise RuntimeError('shadowed')\n")
    assert passed(check.run(endpoints, 7, "after")) == {"words come": True}
    assert not list((tmp_path / "checks").glob("**/__pycache__")) and not list(tmp_path.rglob(".pytest_cache"))


def test_evidence_is_bounded(tmp_path: Path, endpoints: Endpoints) -> None:
    loud = "def test_loud():\n    assert False, 'x' * 100_000\n"
    (result,) = folder_check(tmp_path, test_loud=loud).run(endpoints, 7, "after")
    assert not result.passed and len(result.evidence) <= 300


MOMENTS = (
    HEAD
    + """
import pathlib, pytest

NOTES = pathlib.Path(os.environ["CHECK_MEMORY"], "notes")


@pytest.mark.before
@pytest.mark.during
def test_it_is_noted():
    with NOTES.open("a") as file:
        file.write(os.environ["CHECK_MOMENT"] + " ")


def test_it_is_remembered():
    assert NOTES.read_text() == "before during "
"""
)


def test_each_moment_has_its_tests_and_all_share_a_memory(tmp_path: Path, endpoints: Endpoints) -> None:
    check = folder_check(tmp_path, test_moments=MOMENTS)
    moments: tuple[Moment, ...] = ("before", "during", "after")
    names = [[result.name for result in check.run(endpoints, 7, moment)] for moment in moments]
    assert names == [["it is noted"], ["it is noted"], ["it is remembered"]]
    assert passed(check.run(endpoints, 7, "after")) == {"it is remembered": True}


def test_a_folder_may_have_nothing_to_do_before_and_during(tmp_path: Path, endpoints: Endpoints) -> None:
    assert list(folder_check(tmp_path, test_good=GOOD).run(endpoints, 7, "before")) == []
