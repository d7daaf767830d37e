"""The pages: what they show, to whom, and what they make of hostile text. The database is a real one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from harness.dashboard import access
from harness.dashboard.app import create_app
from harness.dashboard.feed import Feed, FeedFull
from harness.dashboard.pages import PAGE
from harness.dashboard.settings import DashboardSettings
from harness.dashboard.views import WIDTH, diff_lines, waterfall
from harness.errors import InputError
from harness.incidents.record import IncidentRecord
from harness.settings import secret
from harness.sinks.recorder import Recorder
from tests import events as sample

KEY, TOKEN = "k" * 32, "correct-horse-battery-staple"
LIST = "/developer/incidents"
ONE = f"{LIST}/trial-1/inc-7f3a"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{1337*7331}} javascript:alert(3)"


@pytest.fixture
def settings(database_url: str) -> DashboardSettings:
    return DashboardSettings(
        database_url=database_url,
        redis_url=None,
        secret_key=KEY,
        token=None,
        hosts=("localhost", "127.0.0.1", "::1"),
        target_url=None,
        clients=3,
        cookie_secure=False,
    )


@pytest.fixture
def made(settings: DashboardSettings) -> Iterator[Callable[..., Flask]]:
    apps: list[Flask] = []

    def make(**changed: object) -> Flask:
        apps.append(create_app(replace(settings, **changed)))  # type: ignore[arg-type] # any field of it
        return apps[-1]

    yield make
    for app in apps:
        feed: Feed = app.extensions["feed"]
        feed.close()
        feed.history.database.dispose()


@pytest.fixture
def client(made: Callable[..., Flask]) -> FlaskClient:
    return made().test_client()


def record(url: str, *trials: str, logs: tuple[str, ...] = ()) -> None:
    with Recorder(url) as recorder:
        for trial in trials:
            for event in sample.healed(sample.trial(trial), logs=logs):
                recorder(event)


def change(client: FlaskClient, trial_id: str, **values: object) -> None:
    feed: Feed = client.application.extensions["feed"]
    with Session(feed.history.database) as session, session.begin():
        session.execute(update(IncidentRecord).where(IncidentRecord.trial_id == trial_id).values(**values))


def csrf(client: FlaskClient, path: str = LIST) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def keys(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200
    return re.findall(r'data-key="([^"]+)/inc-7f3a"', answer.text)


class Tags(HTMLParser):
    """All elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


# --- what is shown


def test_an_empty_list_says_how_to_fill_it(client: FlaskClient) -> None:
    answer = client.get("/", follow_redirects=True)
    assert answer.request.path == LIST and "harness run scenarios/pool_exhaustion.yml" in answer.text


def test_the_list_shows_each_incident_and_can_be_narrowed(client: FlaskClient, database_url: str) -> None:
    record(database_url, "trial-1", "trial-2")
    change(client, "trial-2", outcome="NOT_HEALED", state="closed", fixer="noop", scenario="quiet_day")
    assert keys(client.get(LIST)) == ["trial-2", "trial-1"]
    for query, found in (
        ("state=closed", ["trial-2"]),
        ("outcome=HEALED", ["trial-1"]),
        ("fixer=noop", ["trial-2"]),
        ("scenario=pool_exhaustion", ["trial-1"]),
        ("text=TRIAL-1", ["trial-1"]),
        ("text=nobody", []),
        (f"text={'x' * 5000}", []),
    ):
        answer = client.get(f"{LIST}?{query}")
        assert keys(answer) == found, query
        assert 'data-insert="no"' in answer.text and "Show all" in answer.text
    assert '<option value="noop" selected>' in client.get(f"{LIST}?fixer=noop").text


def test_older_incidents_are_one_page_further_with_the_same_filters(client: FlaskClient, database_url: str) -> None:
    names = [f"trial-{number:03}" for number in range(PAGE + 3)]
    record(database_url, *names)
    first = client.get(f"{LIST}?scenario=pool_exhaustion")
    link = re.search(r'<p class="more"><a href="([^"]+)"', first.text)
    assert link and "scenario=pool_exhaustion" in link[1]
    second = client.get(link[1].replace("&amp;", "&"))
    assert keys(first) + keys(second) == sorted(names, reverse=True) and 'class="more"' not in second.text


@pytest.mark.parametrize("place", ["x", "bnVsbA==", "WzEsMiwzXQ==", "WyJub3ciLCAiYSIsICJiIl0=", "é", "W" * 100_000])
def test_a_page_that_was_never_told_is_refused(client: FlaskClient, place: str) -> None:
    answer = client.get(LIST, query_string={"after": place})
    assert answer.status_code in (400, 414)


def test_the_page_of_an_incident_shows_all_that_is_known(client: FlaskClient, database_url: str) -> None:
    record(database_url, "trial-1")
    page = client.get(ONE).text
    for heading in ("Root cause", "Remediation", "Verification", "Attempts", "Phases", "Timeline", "Checks"):
        assert heading in page
    assert 'data-line="added"' in page and 'data-line="removed"' in page
    assert "rolled back</li>" in page and "HEALED" in page and "<rect" in page
    assert client.get(f"{LIST}/trial-1/inc-none").status_code == 404
    assert client.get(f"{LIST}/trial-9/inc-7f3a").status_code == 404


def test_hostile_text_stays_text(client: FlaskClient, database_url: str) -> None:
    record(database_url, "trial-1", logs=(HOSTILE, "\x1b[31m" + HOSTILE))
    everywhere = (
        "symptoms",
        "error_code",
        "root_cause",
        "remediation",
        "diff",
        "rag_query",
        "signal",
        "fixer",
        "model",
    )
    change(
        client,
        "trial-1",
        **dict.fromkeys((*everywhere, "reason", "scenario", "state", "outcome", "commit"), HOSTILE),
        breadcrumbs=[HOSTILE],
        verification=[HOSTILE],
        attempts=[{"number": 1, "outcome": HOSTILE, "reason": HOSTILE}],
        passages=[{"id": HOSTILE, "title": HOSTILE, "text": HOSTILE, "score": 0.5}],
        checks=[{"name": HOSTILE, "passed": False, "evidence": HOSTILE}],
        phases=[{"name": HOSTILE, "start_s": 0.0, "end_s": 1.0}],
    )
    for path in (LIST, ONE, f"{LIST}?text={HOSTILE}"):
        page = client.get(path).text
        tags = Tags(page).found
        assert [tag for tag, _ in tags].count("script") == 1 and "9801547" not in page
        for tag, attributes in tags:
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
            assert "style" not in attributes, "the policy forbids it"
            assert not any((value or "").startswith("javascript:") for value in attributes.values())
            assert tag != "img" or (attributes["src"] or "").startswith("/static/")


def test_a_page_lets_nothing_run_but_what_is_ours(client: FlaskClient) -> None:
    headers = client.get(LIST).headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_assets_are_kept_for_ever_under_a_name_that_tells_their_content(client: FlaskClient) -> None:
    (script,) = [values["src"] for tag, values in Tags(client.get(LIST).text).found if tag == "script"]
    assert re.fullmatch(r"/static/app-[A-Z0-9]{8}\.js", str(script))
    with client.get(str(script)) as answer:
        assert answer.status_code == 200 and "max-age=31536000" in answer.headers["Cache-Control"]


# --- who may look


def test_on_this_machine_nobody_is_asked_but_other_names_are_refused(client: FlaskClient) -> None:
    """A page elsewhere whose name was made to point to this machine must not read ours."""
    for host, code in (("localhost:5002", 200), ("127.0.0.1", 200), ("[::1]:5002", 200), ("evil.example", 400)):
        assert client.get(LIST, headers={"Host": host}).status_code == code, host


def test_without_a_token_another_machine_sees_nothing_whatever_name_it_calls(client: FlaskClient) -> None:
    for address, code in (("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 403)):
        answer = client.get(LIST, headers={"Host": "localhost"}, environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == code, address


def test_with_a_token_nothing_is_shown_before_the_login(made: Callable[..., Flask]) -> None:
    client = made(token=TOKEN, hosts=()).test_client()
    answer = client.get(f"{LIST}?state=closed", headers={"Accept": "text/html"})
    assert answer.status_code == 302 and answer.location == f"/login?next={LIST}?state%3Dclosed"
    for path in (f"{LIST}/events", ONE):
        assert client.get(path, headers={"Accept": "text/event-stream"}).status_code == 401
    assert client.get("/health/live").status_code == 200


def test_the_token_opens_and_logging_out_closes(made: Callable[..., Flask]) -> None:
    client = made(token=TOKEN, hosts=()).test_client()
    html = {"Accept": "text/html"}
    for token in ("", "wrong", "é" * 30):
        sent = {"token": token, "csrf_token": csrf(client, "/login"), "next": LIST}
        assert client.post("/login", data=sent).status_code == 403
    assert client.get(LIST, headers=html).status_code == 302
    sent = {"token": TOKEN, "csrf_token": csrf(client, "/login"), "next": LIST}
    assert client.post("/login", data=sent).location == LIST
    assert client.get(LIST, headers=html).status_code == 200
    client.post("/logout", data={"csrf_token": csrf(client)})
    assert client.get(LIST, headers=html).status_code == 302


def test_another_token_ends_the_sessions_of_the_one_before(made: Callable[..., Flask]) -> None:
    client = made(token=TOKEN, hosts=()).test_client()
    client.post("/login", data={"token": TOKEN, "csrf_token": csrf(client, "/login")})
    cookie = client.get_cookie("creamandonion")
    assert cookie and cookie.http_only and cookie.same_site == "Strict"
    for app, code in ((made(token=TOKEN, hosts=()), 200), (made(token=TOKEN + "2", hosts=()), 302)):
        other = app.test_client()
        other.set_cookie("creamandonion", cookie.value)
        assert other.get(LIST, headers={"Accept": "text/html"}).status_code == code


def test_who_guesses_is_slowed_down(made: Callable[..., Flask]) -> None:
    client = made(token=TOKEN, hosts=()).test_client()
    codes = []
    for _ in range(access._TRIES + 1):
        codes.append(client.post("/login", data={"token": "x", "csrf_token": csrf(client, "/login")}).status_code)
    assert codes == [*[403] * access._TRIES, 429]


@pytest.mark.parametrize("after", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_a_login_sends_nobody_elsewhere(made: Callable[..., Flask], after: str) -> None:
    client = made(token=TOKEN, hosts=()).test_client()
    sent = {"token": TOKEN, "csrf_token": csrf(client, "/login"), "next": after}
    assert client.post("/login", data=sent).location == LIST


@pytest.mark.parametrize("path", ["/login", "/logout", "/developer/faults/sql"])
def test_each_post_needs_a_form_of_ours(client: FlaskClient, path: str) -> None:
    csrf(client)
    for sent in ({}, {"csrf_token": ""}, {"csrf_token": "x" * 43}, {"csrf_token": "é"}):
        assert client.post(path, data=sent).status_code == 403


def test_the_form_of_one_session_is_none_of_another(made: Callable[..., Flask]) -> None:
    app = made()
    one, other = app.test_client(), app.test_client()
    csrf(other)
    assert other.post("/logout", data={"csrf_token": csrf(one)}).status_code == 403


def test_programs_may_bring_the_token_with_each_request(made: Callable[..., Flask]) -> None:
    client = made(token=TOKEN, hosts=()).test_client()
    for token, code in ((TOKEN, 200), ("wrong", 401), ("", 401)):
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}", "Accept": "text/plain"})
        assert answer.status_code == code


def test_metrics_tell_of_the_incidents_as_they_stand(client: FlaskClient, database_url: str) -> None:
    record(database_url, "trial-1", "trial-2")
    change(client, "trial-1", usd=None)
    change(client, "trial-2", outcome=None, state="deployed", usd=0.5)
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'creamandonion_incidents{outcome="HEALED",state="resolved"} 1.0',
        'creamandonion_incidents{outcome="",state="deployed"} 1.0',
        'creamandonion_incident_changes_total{kind="rolled_back"} 2.0',
        'creamandonion_incident_changes_total{kind="refused"} 0.0',
        "creamandonion_fixer_usd_total 0.5",
    ):
        assert line in lines
    (age,) = (line for line in lines if line.startswith("creamandonion_oldest_open_incident_seconds "))
    assert float(age.split()[1]) > 3600, "the sample is of another day"


# --- faults


class App(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - of this test module alone
    code = 500

    def do_POST(self) -> None:
        App.asked.append(self.path)
        self.send_response(App.code)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def app_url() -> Iterator[str]:
    App.asked, App.code = [], 500
    with HTTPServer(("127.0.0.1", 0), App) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_faults_are_off_unless_they_are_switched_on(client: FlaskClient) -> None:
    page = client.get(LIST).text
    buttons = [values for tag, values in Tags(page[page.index('id="faults"') :]).found if tag == "button"]
    assert len(buttons) == 3 and all("disabled" in values for values in buttons)
    assert client.post("/developer/faults/sql", data={"csrf_token": csrf(client)}).status_code == 403


def test_a_fault_is_triggered_in_the_app_and_what_came_of_it_is_told(made: Callable[..., Flask], app_url: str) -> None:
    client = made(target_url=app_url).test_client()
    for name, path, marker in (
        ("sql", "/test-fault/run", "FAULT_SQL_INJECTION_TEST"),
        ("upstream", "/test-fault/external-api", "FAULT_EXTERNAL_API_LATENCY"),
        ("pool", "/test-fault/db-timeout", "FAULT_DB_TIMEOUT"),
    ):
        sent = {"csrf_token": csrf(client)}
        answer = client.post(f"/developer/faults/{name}", data=sent, follow_redirects=True)
        assert App.asked[-1] == path and f"Look for {marker}." in answer.text and "answered 500" in answer.text
    App.code = 404
    answer = client.post("/developer/faults/sql", data={"csrf_token": csrf(client)}, follow_redirects=True)
    assert "ENABLE_FAULT_INJECTION is off there" in answer.text
    assert client.post("/developer/faults/none", data={"csrf_token": csrf(client)}).status_code == 404
    assert len(App.asked) == 4


def test_an_app_that_is_away_is_told(made: Callable[..., Flask]) -> None:
    client = made(target_url="http://127.0.0.1:1").test_client()
    answer = client.post("/developer/faults/sql", data={"csrf_token": csrf(client)}, follow_redirects=True)
    assert "the app did not answer" in answer.text


# --- without a database, and without room


def test_a_database_that_went_away_is_told_and_not_shown(
    made: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = made()
    feed: Feed = app.extensions["feed"]
    feed.history.database.dispose()
    feed.history.database = create_engine_to_nowhere()
    client = app.test_client()
    for path in (LIST, "/health/live"):
        answer = client.get(path)
        assert answer.status_code == 503 and "The database does not answer." in answer.text
        assert "127.0.0.1" not in answer.text, "what the driver says stays in the log"
    assert client.get(f"{LIST}/events").status_code == 503


def create_engine_to_nowhere() -> object:
    from harness.incidents.database import engine

    return engine("postgresql://nobody:hidden@127.0.0.1:1/none")


def test_only_so_many_look_at_once(client: FlaskClient) -> None:
    feed: Feed = client.application.extensions["feed"]
    open_ones = [client.get(f"{LIST}/events", buffered=False) for _ in range(3)]
    answer = client.get(f"{LIST}/events")
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    for one in open_ones:
        one.close()
    assert len(feed) == 0
    client.get(f"{LIST}/events", buffered=False).close()


@pytest.mark.parametrize("number", ["-1", "x", "1e3", "9" * 30, "\u0661"])
def test_a_number_that_is_none_is_refused_and_takes_no_room(client: FlaskClient, number: str) -> None:
    feed: Feed = client.application.extensions["feed"]
    for _ in range(5):
        assert client.get(f"{LIST}/events", query_string={"after": number}).status_code == 400
    assert len(feed) == 0


def test_a_page_of_another_database_is_told_to_begin_anew(client: FlaskClient, database_url: str) -> None:
    record(database_url, "trial-1")
    feed: Feed = client.application.extensions["feed"]
    for query, anew in (("after=3", False), ("after=11", True), ("after=3&feed=another", True)):
        answer = client.get(f"{LIST}/events?{query}", buffered=False)
        first = b"".join(next(answer.response) for _ in range(2))  # type: ignore[call-overload] # an iterator
        answer.close()
        assert (b"event: reset" in first) is anew, query
    assert f'data-feed="{feed.history.name()}"' in client.get(LIST).text


# --- what it is told


def environ(**changed: str) -> dict[str, str]:
    return {"DATABASE_URL": "postgresql://x/y", "SECRET_KEY": KEY, "DASHBOARD_TOKEN": TOKEN, **changed}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"DASHBOARD_TOKEN": ""}, "DASHBOARD_TOKEN is not set"),
        ({"DASHBOARD_TOKEN": "", "DASHBOARD_HOSTS": "localhost dash.example"}, "names another machine"),
        ({"DASHBOARD_TOKEN": "short"}, "DASHBOARD_TOKEN has 5 characters"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY has 5 characters"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"DASHBOARD_CLIENTS": "many"}, "DASHBOARD_CLIENTS='many'"),
        ({"SECRET_KEY": "", "SECRET_KEY_FILE": "/nowhere/key"}, "SECRET_KEY_FILE: /nowhere/key cannot be read"),
    ],
)
def test_an_environment_that_lacks_something_is_told(changed: Mapping[str, str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        DashboardSettings.read(environ(**changed))
    assert "correct-horse" not in str(caught.value) and KEY not in str(caught.value)


def test_faults_need_both_the_switch_and_an_app() -> None:
    url = "http://app:8000/"
    assert DashboardSettings.read(environ(TARGET_URL=url)).target_url is None
    assert DashboardSettings.read(environ(ENABLE_FAULT_INJECTION="1")).target_url is None
    told = DashboardSettings.read(environ(ENABLE_FAULT_INJECTION="true", TARGET_URL=url))
    assert told.target_url == "http://app:8000"


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert secret({"SECRET_KEY_FILE": str(tmp_path / "key")}, "SECRET_KEY") == KEY
    assert secret({}, "SECRET_KEY") is None


# --- worked out


def test_a_waterfall_has_a_bar_for_each_phase_within_its_width() -> None:
    phases = [{"name": "a", "start_s": 0, "end_s": 10}, {"name": "b", "start_s": 10, "end_s": 39.999}]
    phases += [{"name": "c", "start_s": 39.999, "end_s": 40}]
    one, two, three = waterfall(phases)
    assert (one.x, one.width, two.x, two.width) == (0, 250, 250, 750)
    assert three.width == 3 and three.x + three.width == WIDTH
    assert waterfall([]) == [] and waterfall([{"name": "a", "start_s": 0, "end_s": 0}]) == []


def test_a_diff_is_told_line_by_line_and_cut_where_it_is_long() -> None:
    lines = diff_lines("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same\n")
    assert [line.kind for line in lines] == ["file", "file", "place", "removed", "added", "same"]
    assert diff_lines("+x\n" * 5000)[-1].text == "... and 3000 lines more" and diff_lines("") == []


def test_who_is_too_slow_is_cut_off_and_costs_the_others_nothing() -> None:
    from harness.dashboard import feed as module
    from harness.incidents.changes import Change

    class Nothing:
        def newest(self) -> int:
            return 0

        def after(self, number: int, limit: int) -> list[Change]:
            return []

    feed = Feed(Nothing(), [], clients=2)  # type: ignore[arg-type] # as much of it as is asked
    slow, fast = feed.join(), feed.join()
    with pytest.raises(FeedFull):
        feed.join()
    for number in range(1, module._WAITING + 2):
        change = Change(id=number, trial_id="t", incident_id="i", kind="created", at="", summary={})
        feed._hand_out(change)
        assert fast.next(1.0)
    assert slow.lost and not fast.lost
    feed.close()
