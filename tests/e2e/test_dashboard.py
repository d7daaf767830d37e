"""`harness dashboard` as it is used: two processes of gunicorn, PostgreSQL, Valkey, and a real Chromium."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update
from sqlalchemy.orm import Session

from harness.incidents import changes
from harness.incidents.database import engine
from harness.incidents.record import IncidentRecord
from harness.services.loopback import free_port
from harness.services.shared import Shared, shared_services
from harness.services.supervisor import Supervisor
from harness.services.valkey import valkey_binary
from harness.sinks.recorder import Recorder
from harness.sinks.stream import Stream
from tests import events as sample
from tests.e2e.browser import watched

DEADLINE_S = 60.0
LIST = "/developer/incidents"
expect.set_options(timeout=1000 * DEADLINE_S)
HOSTILE = "<img src=x onerror=window.stolen=1><script>window.stolen=1</script>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    url: str
    results: Path
    process: subprocess.Popen[bytes]

    @property
    def shared(self) -> Shared:
        found = shared_services(self.results)
        assert found
        return found

    def record(self, *trials: str, logs: tuple[str, ...] = ()) -> None:
        """As trials do."""
        shared = self.shared
        places = (shared.database_url, shared.redis_url or "")
        with Recorder(shared.database_url) as recorder, Stream(lambda: places) as stream:
            for trial in trials:
                for event in sample.healed(sample.trial(trial), logs=logs):
                    recorder(event)
                    stream(event)

    def numbers(self) -> list[int]:
        database = engine(self.shared.database_url)
        with Session(database) as session:
            found = [change.id for change in changes.after(session, 0, 100_000)]
        database.dispose()
        return found


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    with started(tmp_path) as made:
        yield made


@pytest.fixture
def listening(dashboard: Dashboard) -> Iterator[ExitStack]:
    """Ends who listens, also where a test fails: they would go on trying for ever."""
    with ExitStack() as stack:
        yield stack


class started:
    """A context manager: the command, until it answers."""

    def __init__(self, folder: Path, *options: str, **env: str) -> None:
        self.folder, self.options, self.env = folder, options, env

    def __enter__(self) -> Dashboard:
        port = free_port()
        command = [sys.executable, "-m", "harness", "dashboard", "--results", str(self.folder / "results")]
        command += ["--port", str(port), *self.options]
        inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(command, env=inherited | self.env, stdout=self.log, stderr=self.log)
        made = Dashboard(url=f"http://127.0.0.1:{port}", results=self.folder / "results", process=self.process)
        until(lambda: "incidents at" in (self.folder / "log").read_text(), lambda: (self.folder / "log").read_text())
        return made

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(DEADLINE_S) == 130
        self.log.close()


def until(done: Callable[[], object], why: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


@dataclass
class Listener:
    """A live page without a browser: it comes again where it was cut off, and says where it was."""

    url: str
    drops: random.Random | None = None  # when it hangs up by itself
    numbers: list[int] = field(default_factory=list)
    source: str = ""
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.after = 0
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """The thread hears of it with the next line."""
        self.over.set()

    def _listen(self) -> None:
        while not self.over.is_set():
            try:
                with httpx.stream(
                    "GET", f"{self.url}{LIST}/events", headers=self._headers(), timeout=3 * DEADLINE_S
                ) as answer:
                    self.connections += 1
                    for line in answer.iter_lines():
                        self._take(line)
                        if self.over.is_set() or (self.drops and line.startswith("id:") and self.drops.random() < 0.05):
                            break
            except httpx.HTTPError:
                time.sleep(0.05)

    def _headers(self) -> dict[str, str]:
        return {"Last-Event-ID": str(self.after)}

    def _take(self, line: str) -> None:
        if line.startswith("id:"):
            self.after = int(line[3:])
            self.numbers.append(self.after)
        elif line.startswith(": ") and line != ": still here":
            self.source = line[2:]


def test_every_page_hears_of_every_change_once_and_in_order(dashboard: Dashboard, listening: ExitStack) -> None:
    drops = [random.Random(n) if n % 2 else None for n in range(12)]
    listeners = [listening.enter_context(closing(Listener(dashboard.url, drops=each))) for each in drops]
    dashboard.record(*(f"trial-{number}" for number in range(20)))
    wanted = dashboard.numbers()
    assert len(wanted) == 200
    for each in listeners:
        until(lambda each=each: each.after == wanted[-1], lambda each=each: f"{len(each.numbers)} of 200 came")
        assert each.numbers == wanted
        assert each.connections == 1 or each.drops, "it was told by the table, and not live"


def test_a_redis_that_dies_and_comes_back_loses_nothing(
    dashboard: Dashboard, listening: ExitStack, tmp_path: Path
) -> None:
    shared = dashboard.shared
    assert shared.redis_url
    port = shared.redis_url.rpartition(":")[2].partition("/")[0]
    listeners = [listening.enter_context(closing(Listener(dashboard.url))) for _ in range(6)]
    dashboard.record("before")
    (valkey,) = (pid for pid in shared.processes if "valkey" in " ".join(psutil.Process(pid).cmdline()))
    os.kill(valkey, signal.SIGKILL)
    dashboard.record("without-1", "without-2")
    for each in listeners:
        until(
            lambda each=each: len(each.numbers) == 30, lambda each=each: f"{len(each.numbers)} of 30 came without Redis"
        )
    command = [str(valkey_binary()), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with Supervisor() as supervisor:
        supervisor.start("valkey", command, env={}, cwd=tmp_path, log=tmp_path / "valkey.log")
        until(lambda: followed(dashboard) == {"redis"}, lambda: followed(dashboard))
        dashboard.record("after")
        for each in listeners:
            until(lambda each=each: len(each.numbers) == 40, lambda each=each: f"{len(each.numbers)} of 40 came")
            assert each.numbers == dashboard.numbers() and each.connections == 1


def followed(dashboard: Dashboard) -> set[str]:
    """What the processes say they follow, of some connections."""
    found = set()
    for _ in range(6):
        with httpx.stream("GET", f"{dashboard.url}{LIST}/events", timeout=10.0) as answer:
            found.add(next(line[2:] for line in answer.iter_lines() if line.startswith(": ")))
    return found


def test_who_leaves_takes_no_room(tmp_path: Path) -> None:
    with started(tmp_path, "--workers", "1", DASHBOARD_CLIENTS="2") as dashboard:
        for _ in range(5):
            with httpx.stream("GET", f"{dashboard.url}{LIST}/events", timeout=10.0) as answer:
                assert answer.status_code == 200
            # noticed when the next change, or a heartbeat, cannot be written
            dashboard.record(f"trial-{time.monotonic_ns()}")
            until(lambda: free(dashboard), lambda: "the place is still taken")


def free(dashboard: Dashboard) -> bool:
    dashboard.record(f"trial-{time.monotonic_ns()}")
    with httpx.stream("GET", f"{dashboard.url}{LIST}/events", timeout=10.0) as answer:
        return answer.status_code == 200


def test_beyond_this_machine_it_wants_a_token_and_tells_it_to_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "dashboard", "--results", str(tmp_path / "r"), "--host", "0.0.0.0"]
    env = {name: value for name, value in os.environ.items() if name != "DASHBOARD_TOKEN"}
    refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert refused.returncode == 2 and "DASHBOARD_TOKEN is not set" in refused.stderr
    weak = [*command[:-1], "127.0.0.1", "--port", str(free_port())]
    told = subprocess.run(
        weak, env=env | {"SECRET_KEY": "short"}, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert told.returncode == 2 and "SECRET_KEY has 5 characters" in told.stderr and "Traceback" not in told.stderr
    token = "a-token-that-nobody-may-see"
    with started(tmp_path, DASHBOARD_TOKEN=token) as dashboard:
        with httpx.Client(base_url=dashboard.url, follow_redirects=True, headers={"Accept": "text/html"}) as browser:
            page = browser.get(LIST)
            assert page.url.path == "/login"
            form = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
            assert form
            answers = [
                browser.post("/login", data={"csrf_token": form[1], "token": sent, "next": LIST}, headers={}).text
                for sent in ("wrong", token)
            ]
        assert "That is not the token." in answers[0] and "<h1>Incidents</h1>" in answers[1]
        assert all(token not in text for text in (page.text, *answers))
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*.log")) + (tmp_path / "log").read_bytes()
    assert token.encode() not in written


# --- in a browser


def test_a_page_keeps_itself_up_to_date(dashboard: Dashboard, page: Page, tmp_path: Path) -> None:
    wrong = watched(page)
    dashboard.record("old")
    page.goto(f"{dashboard.url}{LIST}")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.evaluate("document.body.dataset.loaded = 'once'")
    dashboard.record("new")
    expect(page.locator("#rows tr")).to_have_count(2)
    first = page.locator('[data-key="new/inc-7f3a"]')
    expect(first.locator("[data-field=state]")).to_have_text("resolved")
    expect(first.locator("[data-field=outcome]")).to_have_text("HEALED")
    expect(page.locator("#said")).to_contain_text("closed")
    assert page.evaluate("document.body.dataset.loaded") == "once", "the page was loaded again"
    first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Root cause")).to_be_visible()
    assert page.url.endswith(f"{LIST}/new/inc-7f3a")
    assert wrong == []


def test_the_page_of_an_incident_goes_on_while_it_is_read(dashboard: Dashboard, page: Page) -> None:
    wrong = watched(page)
    shared = dashboard.shared
    story = sample.healed(sample.trial("one"))
    with (
        Recorder(shared.database_url) as recorder,
        Stream(lambda: (shared.database_url, shared.redis_url or "")) as stream,
    ):
        for event in story[:-3]:
            recorder(event)
            stream(event)
        page.goto(f"{dashboard.url}{LIST}/one/inc-7f3a")
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        page.locator("#passage-1 summary").click()
        page.evaluate("document.body.dataset.loaded = 'once'")
        for event in story[-3:]:
            recorder(event)
            stream(event)
        expect(page.locator("h1 [data-field=outcome]")).to_have_text("HEALED")
        expect(page.get_by_role("heading", name="Phases")).to_be_visible()
        expect(page.locator("#passage-1")).to_have_attribute("open", "")
        assert page.evaluate("document.body.dataset.loaded") == "once"
    assert wrong == []


def test_hostile_text_does_nothing(dashboard: Dashboard, page: Page) -> None:
    wrong = watched(page)
    page.goto(f"{dashboard.url}{LIST}")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    dashboard.record("hostile", logs=(HOSTILE,))
    database = engine(dashboard.shared.database_url)
    with Session(database) as session, session.begin():
        texts = ("error_code", "symptoms", "root_cause", "remediation", "diff", "reason", "fixer", "scenario")
        session.execute(update(IncidentRecord).values(dict.fromkeys(texts, HOSTILE)))
        changes.publish(session, "hostile", "inc-7f3a", "refused")  # so that the open page puts it in
    database.dispose()
    expect(page.locator("#rows [data-field=symptoms]")).to_have_text(HOSTILE)
    page.goto(f"{dashboard.url}{LIST}/hostile/inc-7f3a")
    page.locator("#log summary").click()
    expect(page.locator("#log pre")).to_contain_text("onerror")
    assert page.evaluate("window.stolen") is None and page.locator("img[src=x]").count() == 0
    assert wrong == []


def test_it_is_used_by_the_keyboard_alone(dashboard: Dashboard, page: Page) -> None:
    dashboard.record("one", "two")
    page.goto(f"{dashboard.url}{LIST}")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_attribute("name", "text")
    page.keyboard.type("TWO")
    page.keyboard.press("Enter")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.locator("#rows a").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_at_any_width(
    dashboard: Dashboard, page: Page, width: int, scheme: str, tmp_path: Path
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    dashboard.record("one", "two")
    for name, path in (("list", LIST), ("one", f"{LIST}/one/inc-7f3a"), ("none", f"{LIST}/none/none")):
        page.goto(f"{dashboard.url}{path}")
        if name != "none":
            expect(page.locator("#live")).to_have_attribute("data-state", "live")
        page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_the_assets_in_the_repository_are_those_that_their_sources_make(tmp_path: Path) -> None:
    static = Path(__file__).parents[2] / "harness" / "dashboard" / "static"
    sources = Path(__file__).parents[2] / "harness" / "dashboard" / "assets"
    if shutil.which("npm") is None:
        assert not os.environ.get("CI"), "CI has Node, see .ci/run"
        pytest.skip("no npm: install Node 20 or later")
    copy = tmp_path / "dashboard" / "assets"
    shutil.copytree(sources, copy, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(static.parent / "templates", copy.parent / "templates")
    for words in (["ci", "--no-audit", "--no-fund", "--silent"], ["run", "build", "--silent"]):
        subprocess.run(["npm", *words], cwd=copy, check=True, capture_output=True, timeout=600)
    made = {file.name: file.read_bytes() for file in (copy.parent / "static").iterdir()}
    assert made == {file.name: file.read_bytes() for file in static.iterdir()}, "run make assets"
