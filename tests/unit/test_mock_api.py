"""The unreliable upstream, over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import mock_api
from harness.services.loopback import free_port
from harness.services.ready import http_ready
from harness.services.supervisor import Child, Supervisor
from mock_api.capacity import Capacity
from mock_api.modes import Faults, parse_mode
from mock_api.settings import Settings
from mock_api.tokens import Tokens

ROOT = Path(mock_api.__file__).resolve().parents[1]
DEADLINE_S = 30.0
ADMIN_ROUTES = [("GET", "/admin/mode"), ("PUT", "/admin/mode"), ("GET", "/charges"), ("GET", "/requests")]
ADMIN = {"Authorization": "Bearer open sesame"}
FORM = {"grant_type": "client_credentials", "client_id": "shop", "client_secret": "sesame street"}
SHORT = {"API_FAULT_LATENCY_MIN_S": "0.2", "API_FAULT_LATENCY_MAX_S": "0.3", "API_FAULT_SEED": "7"}


class Upstream:
    """A running mock API and a client for it."""

    def __init__(self, client: httpx.Client, child: Child) -> None:
        self.client = client
        self.child = child

    def token(self) -> str:
        return str(self.client.post("/token", data=FORM).raise_for_status().json()["access_token"])

    def charge(self, key: str | None = "k", *, token: str | None = None, **body: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token() if token is None else token}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        return self.client.post("/charge", json={"order_id": "o-1", "amount_cents": 500, **body}, headers=headers)

    def switch(self, mode: str) -> None:
        assert self.client.put("/admin/mode", json={"mode": mode}, headers=ADMIN).json() == {"mode": mode}

    def requests_logged(self) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.child.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == "request" and line["path"] != "/health"]


@contextmanager
def upstream_running(folder: Path, environment: dict[str, str]) -> Iterator[Upstream]:
    port = free_port()
    with Supervisor() as supervisor:
        child = supervisor.start(
            "mock_api",
            [sys.executable, "-m", "mock_api"],
            env={"PORT": str(port), "API_CLIENT_SECRET": FORM["client_secret"], **environment},
            cwd=ROOT,
            log=folder / "mock_api.log",
            stop_timeout_s=5.0,
        )
        http_ready(f"http://127.0.0.1:{port}/health", timeout_s=DEADLINE_S, child=child)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S, trust_env=False) as client:
            yield Upstream(client, child)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    environment = {"API_ADMIN_TOKEN": "open sesame", **SHORT}
    with upstream_running(tmp_path_factory.mktemp("mock_api"), environment) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(upstream: Upstream) -> Iterator[None]:
    yield
    upstream.switch("healthy")


# --- charges ---


def test_a_charge(upstream: Upstream) -> None:
    answer = upstream.charge("first", order_id="o-7", amount_cents=1999)
    assert answer.status_code == 200
    charge_id = answer.json()["charge_id"]
    assert answer.json() == {
        "charge_id": charge_id,
        "order_id": "o-7",
        "amount_cents": 1999,
        "status": "succeeded",
    }
    assert answer.json() in upstream.client.get("/charges", headers=ADMIN).json()["charges"]


def test_one_key_makes_one_charge_however_many_ask_at_once(upstream: Upstream) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = [future.result() for future in [pool.submit(upstream.charge, "same", order_id=8) for _ in range(64)]]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    charges = upstream.client.get("/charges", headers=ADMIN).json()["charges"]
    assert [charge["order_id"] for charge in charges].count(8) == 1


@pytest.mark.parametrize("change", [{"amount_cents": 501}, {"order_id": "o-2"}])
def test_a_key_is_for_one_order(upstream: Upstream, change: dict[str, object]) -> None:
    assert upstream.charge("reused").status_code == 200
    answer = upstream.charge("reused", **change)
    assert (answer.status_code, answer.json()["error"]) == (409, "idempotency_key_reused")


def test_a_declined_card_is_not_charged(upstream: Upstream) -> None:
    answer = upstream.charge("declined", order_id="o-666", amount_cents=666)
    assert (answer.status_code, answer.json()) == (402, {"error": "card_declined"})
    assert "o-666" not in upstream.client.get("/charges", headers=ADMIN).text


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"amount_cents": "500"}, "amount_cents"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": True}, "amount_cents"),
        ({"amount_cents": 5.5}, "amount_cents"),
        ({"order_id": ""}, "order_id"),
        ({"order_id": None}, "order_id"),
        ({"currency": "EUR"}, "currency"),
    ],
)
def test_a_bad_order_is_told_what_is_wrong(upstream: Upstream, body: dict[str, object], named: str) -> None:
    answer = upstream.charge("bad", **body)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert named in answer.json()["detail"]


def test_other_bad_requests(upstream: Upstream) -> None:
    assert "Idempotency-Key" in upstream.charge(None).json()["detail"]
    assert upstream.charge(None).status_code == upstream.charge("k" * 256).status_code == 400
    headers = {"Idempotency-Key": "k", "Authorization": f"Bearer {upstream.token()}"}
    assert upstream.client.post("/charge", content=b"{", headers=headers).status_code == 400
    missing = upstream.client.get("/nowhere")
    assert (missing.status_code, missing.json()["error"]) == (404, "not_found")
    wrong = upstream.client.get("/charge")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "method_not_allowed")
    assert set(wrong.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


# --- tokens ---


def test_only_who_has_a_token_may_charge(upstream: Upstream) -> None:
    token = upstream.token()
    assert upstream.charge("with", token=token).status_code == upstream.charge("with", token=token).status_code == 200
    for wrong in ("guessed", token[:-1], token + "x", "open sesame"):
        answer = upstream.charge("without", token=wrong, order_id="o-without")
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token"})
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "o-without" not in upstream.client.get("/charges", headers=ADMIN).text
    assert upstream.client.get("/quote").status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "guessed"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": "shöp"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_token_wants_the_right_credentials(
    upstream: Upstream, change: dict[str, str], status: int, error: str
) -> None:
    answer = upstream.client.post("/token", data=FORM | change)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_token_tells_for_how_long_it_is_good(upstream: Upstream) -> None:
    answer = upstream.client.post("/token", data=FORM).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    upstream.switch("expire_tokens")
    assert upstream.client.post("/token", data=FORM).json()["expires_in"] == 3


def test_tokens_end_each_time_the_mode_is_entered(upstream: Upstream) -> None:
    token = upstream.token()
    for key in ("once", "twice"):
        upstream.switch("expire_tokens")
        assert upstream.charge(key, token=token).status_code == 401
        token = upstream.token()
        assert upstream.charge(key, token=token).status_code == 200


def test_a_short_token_ends_by_itself() -> None:
    tokens = Tokens(life_s=3600, short_life_s=0.05)
    long, short = tokens.issue(short=False), tokens.issue(short=True)
    assert (long[1], short[1]) == (3600, 0.05)
    deadline = time.monotonic() + DEADLINE_S
    while tokens.holds(short[0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [tokens.holds(token) for token, _ in (long, short)] == [True, False]


def test_requests_are_counted_whatever_becomes_of_them(upstream: Upstream) -> None:
    before = upstream.client.get("/requests", headers=ADMIN).json()["paths"]
    token = upstream.token()
    upstream.charge("counted", token=token)
    upstream.charge("counted", token="wrong")
    upstream.switch("broken")
    upstream.charge("counted", token=token)
    now = upstream.client.get("/requests", headers=ADMIN).json()
    assert now["keys"]["counted"] == 3
    assert [now["paths"][path] - before[path] for path in ("/token", "/charge")] == [1, 3]


# --- faults ---


def fates(upstream: Upstream, count: int) -> list[str]:
    """What befell requests that were sent all at once, from the log, each checked against its answer."""
    before = len(upstream.requests_logged())
    with ThreadPoolExecutor(50) as pool:
        futures = [pool.submit(upstream.client.get, "/quote") for _ in range(count)]
        statuses = Counter(future.result().status_code for future in futures)
    logged = upstream.requests_logged()[before:]
    drawn = Counter(str(line["fault"]) for line in logged)
    assert statuses[500] == drawn["failed"]
    assert statuses[200] == drawn["late"] + drawn["none"]
    for line in logged:
        late = isinstance(line["duration_ms"], float) and line["duration_ms"] >= 200
        assert late or line["fault"] != "late", "a late answer takes its time; the others may, on a busy machine"
    return sorted(drawn.elements())


def test_with_both_faults_one_draw_decides(upstream: Upstream) -> None:
    upstream.switch("latency,error")
    drawn = Counter(fates(upstream, 400))
    # 4 standard deviations around 240, 120 and 40
    assert abs(drawn["late"] - 240) < 40
    assert abs(drawn["failed"] - 120) < 37
    assert abs(drawn["none"] - 40) < 24


def test_the_mode_can_be_switched_while_it_runs(upstream: Upstream) -> None:
    assert set(fates(upstream, 30)) == {"none"}
    upstream.switch("broken")
    assert set(fates(upstream, 30)) == {"failed"}
    assert upstream.charge().status_code == 500
    assert upstream.client.get("/health").json() == {"status": "ok"}
    upstream.switch("latency")
    assert set(fates(upstream, 60)) == {"late", "none"}
    upstream.switch("error")
    assert set(fates(upstream, 60)) == {"failed", "none"}
    assert upstream.client.get("/admin/mode", headers=ADMIN).json() == {"mode": "error"}


def test_who_gives_up_on_a_late_answer_has_been_charged_all_the_same(tmp_path: Path) -> None:
    environment = {"API_FAULT_MODE": "latency", "API_FAULT_LATENCY_SHARE": "1", "API_FAULT_ERROR_SHARE": "0"}
    environment |= {"API_FAULT_LATENCY_MIN_S": "60", "API_FAULT_LATENCY_MAX_S": "60", "API_ADMIN_TOKEN": "open sesame"}
    with upstream_running(tmp_path, environment) as upstream:
        with pytest.raises(httpx.ReadTimeout):
            upstream.client.post(
                "/charge",
                json={"order_id": 1, "amount_cents": 2},
                headers={"Idempotency-Key": "k", "Authorization": f"Bearer {upstream.token()}"},
                timeout=httpx.Timeout(DEADLINE_S, read=0.5),
            )
        charges = upstream.client.get("/charges", headers=ADMIN).json()["charges"]
        assert [charge["amount_cents"] for charge in charges] == [2]


def test_a_seed_brings_the_same_luck_in_the_order_of_requests(tmp_path: Path) -> None:
    environment = {"API_FAULT_MODE": "latency,error", **SHORT, "API_FAULT_LATENCY_MAX_S": "0.2"}
    environment["API_FAULT_LATENCY_MIN_S"] = "0.001"
    seen = []
    for run in ("one", "two"):
        with upstream_running(tmp_path / run, environment) as upstream:
            for _ in range(20):
                upstream.client.get("/quote")
            seen.append([line["fault"] for line in upstream.requests_logged()])
    assert seen[0] == seen[1]
    assert set(seen[0]) == {"late", "failed", "none"}


def test_luck_does_not_depend_on_the_mode_before() -> None:
    def luck(mode_before: str) -> list[str]:
        faults = made(mode_before, latency_share=0.6, error_share=0.3, seed=3)
        for _ in range(10):
            faults.draw()
        faults.mode = "latency,error"
        return [f"{outcome} {outcome.delay_s}" for outcome in (faults.draw() for _ in range(50))]

    assert luck("healthy") == luck("error") == luck("broken") == luck("overload")


def made(mode: str, *, latency_share: float, error_share: float, seed: int | None = None) -> Faults:
    capacity = Capacity(per_s=5, stumble_s=0, every_s=600)
    shares = {"latency_share": latency_share, "error_share": error_share}
    return Faults(mode=mode, **shares, latency_s=(2, 8), capacity=capacity, busy_s=0.1, seed=seed)


def test_in_an_overload_as_many_are_served_as_it_bears() -> None:
    faults = made("overload", latency_share=1, error_share=0)
    fates = [faults.draw() for _ in range(20)]
    assert [str(fate) for fate in fates] == ["late"] * 5 + ["refused"] * 15
    assert {fate.delay_s for fate in fates} == {0.1}


def test_those_who_ask_again_at_once_keep_everybody_out() -> None:
    """Refused requests count too: above what it bears nobody is served, and after a second of peace all are again."""
    capacity = Capacity(per_s=5, stumble_s=0, every_s=600)
    served, until = Counter[bool](), time.monotonic() + 2.5
    while time.monotonic() < until:
        served[capacity.admits()] += 1
        time.sleep(0.01)
    assert served[True] < 2 * 5 < served[False]  # 5 a second would be 10 and more
    deadline = time.monotonic() + DEADLINE_S
    while not capacity.admits():
        assert time.monotonic() < deadline
        time.sleep(1.1)


def test_a_stumble_refuses_everybody_and_comes_again() -> None:
    capacity = Capacity(per_s=10_000, stumble_s=0.1, every_s=0.3)
    capacity.stumble()
    assert not capacity.admits()
    for expected in (True, False, True):
        deadline = time.monotonic() + DEADLINE_S
        while capacity.admits() is not expected:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_who_is_refused_in_an_overload_is_told_so_and_not_charged(upstream: Upstream) -> None:
    token = upstream.token()
    upstream.switch("overload")
    answer = upstream.charge("refused", token=token, order_id="o-refused")
    assert (answer.status_code, answer.json()) == (503, {"error": "overloaded"})
    assert upstream.requests_logged()[-1]["fault"] == "refused"
    assert "o-refused" not in upstream.client.get("/charges", headers=ADMIN).text
    upstream.switch("healthy")
    assert upstream.charge("refused", token=token, order_id="o-refused").status_code == 200


def test_delays_lie_between_their_bounds() -> None:
    faults = made("latency", latency_share=1, error_share=0)
    delays = [faults.draw().delay_s for _ in range(2000)]
    assert 2 <= min(delays) < 2.5
    assert 7.5 < max(delays) <= 8


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("latency,error", "latency,error"),
        ("error, latency", "latency,error"),
        ("broken", "broken"),
        (" error", "error"),
        ("overload", "overload"),
        ("expire_tokens ", "expire_tokens"),
    ],
)
def test_modes(text: str, mode: str) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["", "slow", "healthy,error", "broken,latency", "latency,", "overload,error"])
def test_a_wrong_mode_is_told_the_words(upstream: Upstream, text: str) -> None:
    answer = upstream.client.put("/admin/mode", json={"mode": text}, headers=ADMIN)
    assert answer.status_code == 400
    assert "healthy, broken, latency, error or latency,error, overload or expire_tokens" in answer.json()["detail"]
    assert upstream.client.get("/admin/mode", headers=ADMIN).json() == {"mode": "healthy"}


# --- admin, settings, logs ---


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}])
def test_admin_routes_want_the_token(upstream: Upstream, headers: dict[str, str]) -> None:
    for method, path in ADMIN_ROUTES:
        answer = upstream.client.request(method, path, headers=headers, json={"mode": "broken"})
        assert answer.status_code == 401
    assert upstream.charge("after").status_code == 200


def test_without_a_token_there_are_no_admin_routes(tmp_path: Path) -> None:
    with upstream_running(tmp_path, {"API_ADMIN_TOKEN": ""}) as upstream:
        for method, path in ADMIN_ROUTES:
            assert upstream.client.request(method, path, headers={"Authorization": "Bearer None"}).status_code == 404
        assert upstream.client.get("/quote").json() == {"ok": True}


def test_each_line_of_output_is_json(upstream: Upstream) -> None:
    upstream.client.get("/quote")
    last = upstream.requests_logged()[-1]
    assert {key: last[key] for key in ("level", "method", "path", "status", "fault")} == {
        "level": "INFO",
        "method": "GET",
        "path": "/quote",
        "status": 200,
        "fault": "none",
    }
    log = upstream.child.log.read_text()
    assert not any(secret in log for secret in ("open sesame", "sesame street", upstream.token()))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"API_FAULT_MODE": "slow"}, "API_FAULT_MODE: Value error, 'slow' is not a fault mode: write healthy"),
        ({"PORT": "http"}, "PORT: Input should be a valid integer"),
        ({"API_FAULT_LATENCY_SHARE": "0.8"}, "add up to more than 1"),
        ({"API_FAULT_LATENCY_MIN_S": "9"}, "API_FAULT_LATENCY_MIN_S is more than"),
    ],
)
def test_a_wrong_environment_is_explained(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_environment(environment)


def test_it_does_not_start_with_a_wrong_environment() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "mock_api"],
        env={**os.environ, "API_FAULT_SEED": "x", "API_FAULT_MODE": "slow"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 1
    assert "API_FAULT_SEED" in ended.stderr
    assert "API_FAULT_MODE" in ended.stderr
    assert "Traceback" not in ended.stderr
