"""What every implementation of ports.Target promises, and what the one with processes promises besides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import yaml

from harness.errors import FixRefused, InputError, TargetNotReady
from harness.model.app import AppManifest
from harness.model.source import SourceTree
from harness.ports import Target
from harness.services.supervisor import Supervisor
from harness.target.memory import MemoryTarget
from harness.target.process import AppFiles, ProcessTarget
from harness.target.surroundings import Surroundings

DEADLINE_S = 20.0
APP = """\
import os
from flask import Flask
from words import WORD

app = Flask(__name__)


@app.get("/")
def word():
    return WORD


@app.get("/environment")
def environment():
    return sorted(os.environ)


@app.get("/health")
def health():
    return "well"
"""
FILES = {
    "app.py": APP,
    "words.py": 'WORD = "one"\n',
    "gunicorn.conf.py": """\
import os
import flask  # in the master, so that workers boot faster

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class, workers, threads = "gthread", 2, 4
graceful_timeout = 5
control_socket_disable = True
""",
    "worker.py": """\
import time
from words import WORD

print(f"worker {WORD}", flush=True)
time.sleep(600)
""",
}
UNSEEN = {"templates/page.html": "<p>", "tests/test_app.py": "def test_it(): ...\n", "README.md": "# How to break it\n"}
MANIFEST = """\
name: words
source: ["**/*.py"]
editable: ["**/*.py", templates]
protected: [worker.py]
web: {command: [python, -m, gunicorn, "app:app"]}
workers: [{name: worker, command: [python, worker.py]}]
health: /health
"""


def no_database() -> NoReturn:
    raise AssertionError("this app asks for no database")


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as running:
        yield running


def process_target(
    supervisor: Supervisor,
    folder: Path,
    *,
    defect: Path | None = None,
    ready_timeout_s: float = DEADLINE_S,
    **modules: str,
) -> ProcessTarget:
    """A target of its own: an app written to ``folder``, with some of its files changed."""
    app, logs = folder / "app", folder / "logs"
    files = {**FILES, **UNSEEN, "app.yml": MANIFEST, **{f"{name}.py": code for name, code in modules.items()}}
    for name, content in files.items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(content)
    manifest = AppManifest.model_validate(yaml.safe_load((app / "app.yml").read_text()))
    surroundings = Surroundings(supervisor=supervisor, databases=no_database, redis_url=None, logs=logs, seed=1)
    return ProcessTarget(
        AppFiles(folder=app, manifest=manifest, defect=defect, env={"GREETING": "hello"}),
        supervisor=supervisor,
        surroundings=surroundings,
        logs=logs,
        ready_timeout_s=ready_timeout_s,
    )


@pytest.fixture(params=["memory", "process"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "memory":
        manifest = AppManifest.model_validate(yaml.safe_load(MANIFEST))
        yield MemoryTarget(SourceTree(files=FILES, editable=manifest.editable, protected=manifest.protected))
        return
    yield process_target(request.getfixturevalue("supervisor"), tmp_path)


def changed(tree: SourceTree, **modules: str) -> SourceTree:
    return tree.with_files({**tree.files, **{f"{name}.py": content for name, content in modules.items()}})


def saying(tree: SourceTree, word: str) -> SourceTree:
    return changed(tree, words=f'WORD = "{word}"\n')


# --- every target ---


def test_a_fixer_reads_what_runs_and_what_it_may_touch(target: Target) -> None:
    with target.running() as endpoints:
        assert endpoints.url and endpoints.upstreams == {}
        tree = target.source()
    assert dict(tree.files) == FILES
    assert tree.commit
    assert (tree.editable, tree.protected) == (("**/*.py", "templates"), ("worker.py",))


def test_deployments_go_forward_and_a_rollback_restores_the_last_release(target: Target) -> None:
    with target.running():
        first = target.source()
        commits, numbers = {first.commit}, []
        for word in ("two", "three"):
            files = {name: text for name, text in saying(first, word).files.items() if name != "gunicorn.conf.py"}
            files["more/settings.py"] = "LIMIT = 3\n"
            deployment = target.redeploy(
                first.with_files({**files, "gunicorn.conf.py": FILES["gunicorn.conf.py"]}), word
            )
            assert target.source().files == {
                **FILES,
                "words.py": f'WORD = "{word}"\n',
                "more/settings.py": "LIMIT = 3\n",
            }
            assert deployment.commit == target.source().commit and "words.py" in deployment.diff
            back = target.rollback()
            assert (target.source().files, target.source().commit) == (first.files, back.commit)
            commits |= {deployment.commit, back.commit}
            numbers += [deployment.number, back.number]
        assert len(commits) == 5 and numbers == [1, 2, 3, 4]


def test_a_release_is_what_a_rollback_goes_back_to(target: Target) -> None:
    with target.running():
        first = target.source()
        released = target.release(saying(first, "spoilt"))
        base = target.source()
        assert base.files == saying(first, "spoilt").files and base.commit == released.commit != first.commit
        assert (base.editable, base.protected) == (first.editable, first.protected)
        target.redeploy(saying(base, "mended"), "mend")
        target.rollback()
        assert target.source().files == base.files


def test_each_line_of_the_log_comes_once(target: Target) -> None:
    with target.running():
        if isinstance(target, MemoryTarget):
            for word in ("one", "two"):
                target.say(f"worker {word}")
            lines = [*target.logs(), *target.logs()]
        else:
            lines = list(logged(target, "worker one"))
            target.redeploy(saying(target.source(), "two"), "two")
            lines += logged(target, "worker two")
        assert [line for line in lines if line.startswith("worker")] == ["worker one", "worker two"]
        assert not [line for line in target.logs() if line.startswith("worker")]


def logged(target: Target, wanted: str) -> list[str]:
    lines: list[str] = []
    deadline = time.monotonic() + DEADLINE_S
    while wanted not in lines:
        assert time.monotonic() < deadline, f"{wanted!r} was not logged: {lines}"
        lines += target.logs()
        time.sleep(0.02)
    return lines


# --- the one with processes ---


@contextmanager
def users(url: str) -> Iterator[list[str]]:
    """Four users who ask for the word again and again; what they were answered, or what went wrong."""
    answers: list[str] = []
    leaving = threading.Event()

    def user() -> None:
        while not leaving.wait(0.05):
            try:
                answers.append(httpx.get(url, timeout=DEADLINE_S, trust_env=False).raise_for_status().text)
            except httpx.HTTPError as error:
                answers.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=user) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        leaving.set()
        for thread in threads:
            thread.join()


def asked(url: str, count: int = 10) -> set[str]:
    return {httpx.get(url, timeout=DEADLINE_S, trust_env=False).raise_for_status().text for _ in range(count)}


def test_new_code_is_served_without_losing_a_request(supervisor: Supervisor, tmp_path: Path) -> None:
    target = process_target(supervisor, tmp_path)
    deploy: list[tuple[str, Callable[[SourceTree], object]]] = [
        ("two", lambda tree: target.redeploy(fewer_workers(saying(tree, "two")), "two")),
        ("one", lambda tree: target.rollback()),
        ("three", lambda tree: target.release(saying(tree, "three"))),
    ]
    with target.running() as endpoints, users(endpoints.url) as answers:
        for word, step in deploy:
            step(target.source())
            assert asked(endpoints.url) == {word}, "the new release serves all once it is told to be live"
    assert set(answers) == {"one", "two", "three"}
    assert len(answers) > 30


def fewer_workers(tree: SourceTree) -> SourceTree:
    config = tree.files["gunicorn.conf.py"].replace('"gthread", 2, 4', '"gthread", 1, 8')
    return tree.with_files({**tree.files, "gunicorn.conf.py": config})


BROKEN = {
    "import": ({"words": "from nowhere import WORD\n"}, "No module named 'nowhere'"),
    "health": ({"app": APP.replace('return "well"', 'return "ill", 500')}, "it answers 500"),
}


def test_a_canary_keeps_what_is_broken_from_the_users(supervisor: Supervisor, tmp_path: Path) -> None:
    target = process_target(supervisor, tmp_path, ready_timeout_s=3.0)
    with target.running() as endpoints:
        before = target.source()
        for modules, told in BROKEN.values():
            with pytest.raises(FixRefused, match="the canary did not get healthy") as refused:
                target.redeploy(changed(before, **modules), "break it")
            assert refused.value.rule == "canary" and told in str(refused.value)
            assert (target.source(), asked(endpoints.url, 3)) == (before, {"one"})
        target.redeploy(saying(before, "two"), "mend it")
        assert asked(endpoints.url, 3) == {"two"}


def test_what_a_fixer_cannot_see_stands_in_no_ones_way(supervisor: Supervisor, tmp_path: Path) -> None:
    target = process_target(supervisor, tmp_path)
    with target.running() as endpoints:
        before = target.source()
        for taken in ("templates", "templates/page.html/x.py"):
            with pytest.raises(FixRefused) as refused:
                target.redeploy(before.with_files({**before.files, taken: "X = 1\n"}), "take a name")
            assert refused.value.rule == "path" and str(tmp_path) not in str(refused.value)
        folder = {name: text for name, text in before.files.items() if name != "words.py"}
        target.redeploy(before.with_files({**folder, "words/__init__.py": 'WORD = "two"\n'}), "a folder for a file")
        assert asked(endpoints.url, 3) == {"two"}
        target.redeploy(saying(before, "three"), "a file for a folder")
        assert asked(endpoints.url, 3) == {"three"}


LIVE_ONLY = 'import pathlib\nWORD = "two"\nif pathlib.Path.cwd().name == "workspace":\n    '


@pytest.mark.parametrize(
    "death", ['raise RuntimeError("halts the server")', "raise SystemExit(9)  # workers come and go"]
)
def test_who_dies_only_when_live_is_rolled_back_into_life(supervisor: Supervisor, tmp_path: Path, death: str) -> None:
    target = process_target(supervisor, tmp_path)
    with target.running() as endpoints:
        before = target.source()
        try:
            target.redeploy(changed(before, words=f"{LIVE_ONLY}{death}\n"), "die")
        except FixRefused as refused:  # it died at once, and has been rolled back
            assert refused.rule == "live"
        else:
            if "halts" in death:
                gone(endpoints.url)
            target.rollback()
        assert target.source().files == before.files
        until(lambda: not refuses(endpoints.url))  # a server that had died is started anew, and not waited for
        assert asked(endpoints.url, 3) == {"one"}


def refuses(url: str) -> bool:
    try:
        httpx.get(url, timeout=0.5, trust_env=False)
    except httpx.HTTPError as error:
        return isinstance(error, httpx.ConnectError)
    return False


def gone(url: str) -> None:
    until(lambda: refuses(url))


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, "still not so after the deadline"
        time.sleep(0.05)


def test_the_app_sees_only_what_its_manifest_says(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    with process_target(supervisor, tmp_path).running() as endpoints:
        names: list[str] = httpx.get(f"{endpoints.url}/environment", trust_env=False).json()
    assert "GREETING" in names
    assert not {name for name in names if "KEY" in name or "HARNESS" in name or "PYTEST" in name}


def test_nothing_runs_on_after_the_block_also_when_it_raised(supervisor: Supervisor, tmp_path: Path) -> None:
    target = process_target(supervisor, tmp_path)
    with pytest.raises(ZeroDivisionError), target.running() as endpoints:
        raise ZeroDivisionError
    gone(endpoints.url)
    assert not list(Path(tmp_path).glob("app-*"))


def test_an_app_that_never_gets_healthy_tells_the_end_of_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    target = process_target(supervisor, tmp_path, words='raise RuntimeError("no words")\n')
    with pytest.raises(TargetNotReady, match="no words"), target.running():
        pass


def test_a_defect_is_there_from_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    patch = tmp_path / "defect.patch"
    patch.write_text('--- a/words.py\n+++ b/words.py\n@@ -1 +1 @@\n-WORD = "one"\n+WORD = "weak"\n')
    target = process_target(supervisor, tmp_path, defect=patch)
    with target.running() as endpoints:
        assert asked(endpoints.url, 3) == {"weak"}
    patch.write_text(patch.read_text().replace('-WORD = "one"', '-WORD = "five"'))
    with pytest.raises(InputError, match=r"defect\.patch does not apply"), target.running():
        pass
