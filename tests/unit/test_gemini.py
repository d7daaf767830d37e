"""GeminiFixer through the real SDK, against the stand-in: all ways in which a model, a quota or a network fails."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError, ProposalFailed
from harness.fixing import gemini, reply
from harness.fixing.gemini import GeminiFixer
from harness.fixing.prices import PRICES, price_usd
from harness.fixing.prompt import render
from harness.fixing.standins import __main__ as program
from harness.fixing.standins import gemini as standin
from harness.fixing.standins.server import Answer, Standin
from harness.model.fix import Attempt, Cost, Fix, ReplaceText
from tests.consulting import INCIDENT, KEY, REPLY, TREE, Waits, cost_of, failure, propose, silent_port


def fixer(
    url: str,
    sleep: Callable[[float], None] | None = None,
    *,
    model: str | None = None,
    api_key: str = KEY,
    tries: int = 4,
    budget_s: float = 110.0,
    timeout_s: float = 30.0,
    backoff_s: float = 1.0,
) -> GeminiFixer:
    return GeminiFixer(
        model=model,
        api_key=api_key,
        base_url=url,
        tries=tries,
        budget_s=budget_s,
        timeout_s=timeout_s,
        backoff_s=backoff_s,
        sleep=sleep if sleep is not None else Waits(),
    )


# a good answer, and what is sent for it


def test_an_answer_becomes_a_fix_with_its_cost() -> None:
    with standin.running([standin.answer(REPLY, model="gemini-3.8-flash-0902")]) as server:
        fix = propose(fixer(server.url, model="gemini-3.8-flash"))
    assert fix.root_cause == REPLY["root_cause"]
    assert fix.edits == (ReplaceText(path="shop/db.py", search="3", replace="30"),)
    assert (fix.remediation, fix.verification, fix.confidence) == ("a larger one", ("watch p95",), 0.7)
    assert fix.model == "gemini-3.8-flash-0902"
    assert fix.cost.tokens_in == standin.TOKENS["promptTokenCount"]
    assert fix.cost.tokens_out == standin.TOKENS["candidatesTokenCount"] + standin.TOKENS["thoughtsTokenCount"]
    today = datetime.now(UTC).date()
    assert fix.cost.usd == price_usd("gemini-3.8-flash", fix.cost.tokens_in, fix.cost.tokens_out, on=today)
    assert fix.cost.seconds > 0
    assert (fix.cost.tokens_thought, fix.cost.calls) == (standin.TOKENS["thoughtsTokenCount"], 1)
    assert fix.prompt == render(INCIDENT, (), TREE, ()).id


def test_the_request_is_the_prompt_with_the_schema_and_is_not_stored() -> None:
    attempt = Attempt(number=1, outcome="refused", reason="tests/a.py is protected")
    with standin.running([standin.answer(REPLY)]) as server:
        asked = fixer(server.url, model="gemini-x")
        announced = asked.prompt(INCIDENT, (), TREE, (attempt,))
        propose(asked, earlier=(attempt,))
    (request,) = server.requests
    prompt = render(INCIDENT, (), TREE, (attempt,))
    assert request.path == "/v1beta/models/gemini-x:generateContent"
    assert request.body["systemInstruction"]["parts"] == [{"text": prompt.system}]
    assert request.body["contents"] == [{"role": "user", "parts": [{"text": prompt.user}]}]
    assert "tests/a.py is protected" in prompt.user
    sent = [request.body["systemInstruction"]["parts"][0]["text"], request.body["contents"][0]["parts"][0]["text"]]
    assert announced == "\n".join(sent), "what is looked through beforehand is what is sent"
    assert request.body["store"] is False
    assert request.body["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": reply.response_schema(),
    }


def test_an_abstention_is_a_fix_without_edits() -> None:
    with standin.running() as server:
        assert propose(fixer(server.url)).abstains


def test_a_model_without_a_known_price_has_none() -> None:
    with standin.running([standin.answer(REPLY)]) as server:
        cost = propose(fixer(server.url, model="gemini-unheard-of")).cost
    assert cost.usd is None
    assert cost.tokens_in


def test_prices_change_on_their_day() -> None:
    before, after = date(2026, 12, 31), date(2027, 1, 1)
    assert price_usd("gemini-3.8-flash", 200_000, 2_000_000, on=before) == pytest.approx(0.2 * 0.75 + 2 * 3.75)
    assert price_usd("models/gemini-3.8-flash", 200_000, 2_000_000, on=after) == pytest.approx(0.2 * 1.5 + 2 * 7.5)
    assert price_usd("gemini-3.8", 1, 1, on=after) is None
    assert price_usd(gemini.DEFAULT_MODEL, 1, 1, on=after) is not None


def test_a_request_longer_than_its_price_is_for_has_none() -> None:
    on = date(2027, 1, 1)
    for model, prices in PRICES.items():
        most = prices[-1].most_tokens_in
        assert price_usd(model, most, 1, on=on) is not None
        assert price_usd(model, most + 1, 1, on=on) is None


def test_money_that_earlier_attempts_have_cost_is_not_spent_again() -> None:
    fixes = Attempt(number=1, outcome="not_recovered", reason="", fix=Fix(root_cause="x", cost=Cost(usd=0.005)))
    lost = Attempt(number=2, outcome="failed", reason="", lost=Cost(usd=0.004))
    unknown = Attempt(number=3, outcome="failed", reason="")
    with standin.running([standin.NAMED["endless"]()]) as server:
        asked = GeminiFixer(model="gemini-3.8-flash", api_key=KEY, base_url=server.url, tools=True, max_usd=0.01)
        with pytest.raises(ProposalFailed, match=r"no proposal within 0\.01 US dollars, 0\.009 of them spent before"):
            propose(asked, earlier=(fixes, lost, unknown))
        assert len(server.requests) == 1, "one more costs at least 0.0025"


# answers that cannot be used: one request, a clear failure


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (standin.NAMED["broken"](), "breaks the output contract: root_cause"),
        (standin.answer("I am sorry."), "breaks the output contract"),
        (standin.answer(json.dumps(REPLY)[:-9], finish="MAX_TOKENS"), "broke its answer off: MAX_TOKENS"),
        (standin.answer(REPLY, finish="SAFETY"), "broke its answer off: SAFETY"),
        (standin.answer(""), "empty"),
        (standin.answer({**REPLY, "edits": []}), "no edits"),
        (standin.answer({**REPLY, "confidence": 7}), "confidence"),
        (standin.blocked(), "blocked the prompt: PROHIBITED_CONTENT"),
        (standin.page(), "not in Gemini's protocol"),
        (Answer(body=b"{}"), "no candidate"),
        (Answer(body=b"[]"), "no candidate"),
        (standin.NAMED["half"](), "broke its answer off: MAX_TOKENS"),
        (standin.NAMED["refusal"](), "broke its answer off: SAFETY"),
        (standin.NAMED["echo"](), "The key <key> is not valid"),
        (standin.NAMED["endless"](), "empty"),
        (Answer(body=b'{"usageMetadata": {"promptTokenCount": 1e300}, "candidates": []}'), "not in Gemini's protocol"),
        (Answer(body=b'{"usageMetadata": {"promptTokenCount": -5}, "candidates": []}'), "not in Gemini's protocol"),
        (Answer(body=b'{"candidates": 1}'), "not in Gemini's protocol"),
        (Answer(body=b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}'), "not in Gemini's protocol"),
        (Answer(body=b"[" * 100_000), "not in Gemini's protocol"),
        (Answer(body=b"\xff\xfe"), "not in Gemini's protocol"),
        (Answer(body=b"nope", headers={"Content-Encoding": "gzip"}), "not in Gemini's protocol"),
        (standin.page(302), "HTTP 302"),
        (standin.error(400, "INVALID_ARGUMENT", f"API key {KEY} is not valid"), "API key <key> is not valid"),
        (standin.error(403, "PERMISSION_DENIED", "no"), "HTTP 403"),
        (standin.error(404, "NOT_FOUND", "models/x is not found"), "HTTP 404 NOT_FOUND: models/x is not found"),
        (Answer(body=b"[" * 9, status=400), "HTTP 400"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(answer: Answer, named: str) -> None:
    waits = Waits()
    with standin.running([answer]) as server:
        error = failure(fixer(server.url, waits))
    assert named in error.message
    assert len(server.requests) == 1
    assert not waits


def test_a_lost_answer_still_tells_what_it_cost() -> None:
    with standin.running([standin.quota(0), standin.NAMED["broken"]()]) as server:
        error = failure(fixer(server.url, model="gemini-3.8-flash"))
    assert "(1200 tokens in, 450 out)" in error.message
    cost = cost_of(error)
    assert replace(cost, seconds=0.0, usd=None) == Cost(tokens_in=1200, tokens_out=450, tokens_thought=150, calls=2)
    assert cost.usd
    assert cost.seconds > 0


def test_tries_that_got_no_answer_are_counted_as_calls() -> None:
    with standin.running([standin.NAMED["failing"]()]) as server:
        cost = cost_of(failure(fixer(server.url, tries=3)))
    assert replace(cost, seconds=0.0) == Cost(calls=3)


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with standin.running() as elsewhere:
        away = Answer(status=307, headers={"Location": f"{elsewhere.url}/v1beta/models/x:generateContent"})
        with standin.running([away]) as server:
            assert "HTTP 307" in failure(fixer(server.url)).message
    assert elsewhere.requests == []


# setbacks: tried again, within bounds


@pytest.mark.parametrize("name", ["quota", "unavailable", "drop", "cut"])
def test_a_passing_setback_is_tried_again(name: str) -> None:
    waits = Waits()
    with standin.running([standin.NAMED[name](), standin.answer(REPLY)]) as server:
        fix = propose(fixer(server.url, waits))
    assert fix.confidence == 0.7
    assert len(server.requests) == 2
    assert len(waits) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_each_passing_error_is_tried_so_often_and_no_more(code: int) -> None:
    waits = Waits()
    with standin.running([standin.error(code, "X", "later")]) as server:
        error = failure(fixer(server.url, waits, tries=3))
    assert f"gave up after 3 tries or 110 s: HTTP {code}" in error.message
    assert len(server.requests) == 3
    assert len(waits) == 2


def test_the_waits_grow() -> None:
    waits = Waits()
    with standin.running([standin.NAMED["unavailable"]()]) as server:
        failure(fixer(server.url, waits, tries=8, backoff_s=1.0, budget_s=1000))
    assert len(waits) == 7
    for number, wait_s in enumerate(waits):
        due_s = min(30.0, 2.0**number)
        assert due_s / 2 <= wait_s <= due_s


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}


@pytest.mark.parametrize(
    ("answer", "asked_s"),
    [
        (standin.quota(7), 7.0),
        (standin.quota(0), 0.0),
        (standin.error(503, "UNAVAILABLE", "later", headers={"Retry-After": "9"}), 9.0),
        (standin.error(429, "X", "later", details=[{"other": 1}, RETRY_INFO]), 7.5),
        (standin.error(429, "X", "later", details=[RETRY_INFO], headers={"Retry-After": "2"}), 2.0),
        (standin.error(429, "X", "later", headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), 0.0),
    ],
)
def test_the_wait_is_what_the_server_asks(answer: Answer, asked_s: float) -> None:
    waits = Waits()
    with standin.running([answer, standin.answer(REPLY)]) as server:
        propose(fixer(server.url, waits))
    assert waits == [asked_s]


def test_the_wait_may_be_given_as_a_date() -> None:
    waits = Waits()
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    with standin.running(
        [standin.error(429, "X", "x", headers={"Retry-After": when}), standin.answer(REPLY)]
    ) as server:
        propose(fixer(server.url, waits))
    assert 30 < waits[0] <= 50


@pytest.mark.parametrize("header", ["soon", "-5", "nan", "1e400", "Thu, 01 Jan 1970 00:00:00"])
def test_a_wait_that_cannot_be_read_is_our_own(header: str) -> None:
    waits = Waits()
    answers = [standin.error(429, "X", "later", headers={"Retry-After": header}), standin.answer(REPLY)]
    with standin.running(answers) as server:
        propose(fixer(server.url, waits, backoff_s=4.0))
    assert 2.0 <= waits[0] <= 4.0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b'{"error": 7}', b'{"error": {"details": {}}}', b'{"error": {"details": [7]}}']
)
def test_an_error_of_any_shape_is_a_setback(body: bytes) -> None:
    with standin.running([Answer(status=500, body=body), standin.answer(REPLY)]) as server:
        assert propose(fixer(server.url)).confidence == 0.7


def test_a_wait_beyond_the_budget_ends_the_proposal_at_once() -> None:
    waits = Waits()
    with standin.running([standin.quota(3600)]) as server:
        error = failure(fixer(server.url, waits, budget_s=30))
    assert "a wait of 3600.0 s is due" in error.message
    assert (len(server.requests), waits) == (1, [])


def test_the_budget_may_be_set_before_a_proposal() -> None:
    waits = Waits()
    with standin.running([standin.quota(30), standin.answer(REPLY)] * 2) as server:
        asked = fixer(server.url, waits)
        assert asked.budget_s == 110
        propose(asked)
        asked.budget_s = 20.0
        error = failure(asked)
    assert waits == [30.0]
    assert "a wait of 30.0 s is due" in error.message


def test_a_server_that_hangs_is_timed_out_and_tried_again() -> None:
    with standin.running([standin.hang(), standin.answer(REPLY)]) as server:
        assert propose(fixer(server.url, timeout_s=1.0)).confidence == 0.7
    assert len(server.requests) == 2


def test_the_budget_ends_what_the_tries_would_not() -> None:
    with standin.running([standin.hang()]) as server:
        started_s = time.monotonic()
        error = failure(fixer(server.url, time.sleep, tries=1000, timeout_s=60.0, budget_s=1.0))
        took_s = time.monotonic() - started_s
    assert "ReadTimeout" in error.message or "no time was left" in error.message
    assert took_s < 30, "one try alone would take 60 s"
    assert len(server.requests) < 5


def test_a_refused_connection_is_a_failed_proposal() -> None:
    waits = Waits()
    with silent_port() as port:
        error = failure(fixer(f"http://127.0.0.1:{port}", waits, tries=3))
    assert "ConnectError" in error.message
    assert len(waits) == 2


# settings and secrets


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GEMINI_MODEL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_a_key_nothing_starts(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("GEMINI_API_KEY", "  ")
    with pytest.raises(InputError, match="GEMINI_API_KEY"):
        GeminiFixer()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:80",
        "ftp://127.0.0.1",
        "http://",
        "https:///path",
        "nonsense",
        "http://[",
        "http://127.0.0.1/a\nb",
        "me:hunter2@127.0.0.1:80",
        "http://me:hunter2@127.0.0.1",
    ],
)
def test_an_address_that_is_none_is_the_users_mistake(url: str) -> None:
    with pytest.raises(InputError, match="GOOGLE_GEMINI_BASE_URL") as caught:
        GeminiFixer(api_key=KEY, base_url=url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("inside", ["\n", "\r\n", "\0", "\x7f", "\u200b", "é"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(inside: str) -> None:
    with pytest.raises(InputError, match="GEMINI_API_KEY") as caught:
        GeminiFixer(api_key=f"{KEY}{inside}{KEY}")
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.cure


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_settings_come_from_the_environment(bare: pytest.MonkeyPatch, name: str) -> None:
    with standin.running([standin.answer(REPLY)]) as server:
        bare.setenv(name, f" {KEY}\n")
        bare.setenv("GEMINI_MODEL", " gemini-from-env\n")
        bare.setenv("GOOGLE_GEMINI_BASE_URL", f"{server.url}\n")
        one = GeminiFixer()
        assert one.model == "gemini-from-env"
        assert propose(one).confidence == 0.7
    assert server.requests[0].path.endswith("/gemini-from-env:generateContent")


@pytest.mark.parametrize("model", ["a\nb", "a\0b"])
def test_a_model_of_which_no_url_can_be_made_is_a_failed_proposal(model: str) -> None:
    with standin.running([standin.answer(REPLY)]) as server:
        error = failure(fixer(server.url, model=model))
        assert not server.requests
    assert "make no address" in error.message
    assert "GEMINI_MODEL" in error.cure
    assert cost_of(error).calls == 1


def test_a_setting_for_another_google_service_changes_nothing(bare: pytest.MonkeyPatch) -> None:
    """These would turn the SDK's client to Vertex AI, another version of the API, or a proxy."""
    with silent_port() as port, standin.running([standin.answer(REPLY)]) as server:
        bare.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
        bare.setenv("GOOGLE_GENAI_API_VERSION", "v1")
        bare.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert propose(fixer(server.url)).confidence == 0.7


def test_the_default_model_has_a_name_and_the_key_no_face(bare: pytest.MonkeyPatch) -> None:
    one = GeminiFixer(api_key=KEY)
    assert one.model == gemini.DEFAULT_MODEL
    assert KEY not in repr(one)


def test_the_key_is_in_no_log_and_no_record(caplog: pytest.LogCaptureFixture) -> None:
    echo = standin.error(500, "INTERNAL", f"header x-goog-api-key: {KEY}")
    with caplog.at_level(logging.DEBUG), standin.running([echo, standin.answer(REPLY), echo]) as server:
        propose(fixer(server.url))
        assert "<key>" in failure(fixer(server.url)).message
    assert caplog.records, "the SDK logged something that could be searched"
    assert KEY not in caplog.text
    assert KEY not in repr(server.requests)


def test_importing_the_fixer_does_not_import_the_sdk() -> None:
    code = "import sys, harness.fixing.gemini; sys.exit('google.genai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# the stand-in itself


def _ask(server: Standin, method: str, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/v1beta/models/m:generateContent", b"", {}, 404),
        ("POST", "/v1beta/models/m:streamGenerateContent", b"{}", {"x-goog-api-key": "k"}, 404),
        ("POST", "/v1beta/models/../m:generateContent", b"{}", {"x-goog-api-key": "k"}, 404),
        ("POST", "/v1beta/models/m:generateContent", b'{"contents": [1]}', {}, 403),
        ("POST", "/v1beta/models/m:generateContent", b"{", {"x-goog-api-key": "k"}, 400),
        ("POST", "/v1beta/models/m:generateContent", b"[]", {"x-goog-api-key": "k"}, 400),
        ("POST", "/v1beta/models/m:generateContent", b"{}", {"x-goog-api-key": "k"}, 400),
    ],
)
def test_the_standin_refuses_what_google_refuses(
    method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    with standin.running() as server:
        got, error = _ask(server, method, path, body, **headers)
        assert (got, error["error"]["code"]) == (status, status)
        assert server.requests == []


def test_the_standin_gives_each_answer_once_and_repeats_the_last() -> None:
    answers = [standin.quota(), standin.answer(REPLY)]
    with standin.running(answers) as server:
        asked = [
            _ask(server, "POST", "/v1beta/models/m:generateContent", b'{"contents": [1]}', **{"X-Goog-Api-Key": KEY})[0]
            for _ in range(4)
        ]
    assert asked == [429, 200, 200, 200]
    assert len(server.requests) == 4
    assert all("x-goog-api-key" not in request.headers for request in server.requests)


def test_the_standin_ends_while_a_client_hangs() -> None:
    with standin.running([standin.hang()]) as server:
        client = socket.create_connection(("127.0.0.1", server.server_address[1]))
        body = b'{"contents": [1]}'
        client.sendall(
            b"POST /v1beta/models/m:generateContent HTTP/1.1\r\nHost: x\r\nx-goog-api-key: k\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        deadline_s = time.monotonic() + 30
        while not server.requests and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert server.requests
    with client:
        client.settimeout(30)
        assert client.recv(1) == b""


def test_the_standin_runs_as_a_program(tmp_path: Path) -> None:
    answer = tmp_path / "fix.json"
    answer.write_text(json.dumps(REPLY))
    command = [
        sys.executable,
        "-m",
        "harness.fixing.standins",
        "gemini",
        "--port",
        "0",
        "--answer",
        "quota",
        "--answer",
        str(answer),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}) as process:
        try:
            assert process.stdout is not None
            settings = dict(word.split("=", 1) for word in process.stdout.readline().split())
            one = fixer(settings["GOOGLE_GEMINI_BASE_URL"], api_key=settings["GEMINI_API_KEY"])
            assert propose(one).root_cause == REPLY["root_cause"]
        finally:
            process.terminate()


def test_the_program_names_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(["gemini", "--answer", str(tmp_path / "gone.json")])
    assert caught.value.code == 2
    assert "gone.json" in capsys.readouterr().err
