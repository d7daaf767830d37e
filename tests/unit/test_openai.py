"""OpenAIFixer through the real SDK, against the stand-in: formats, failures, keys, and the same ledger as Gemini's."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime

import pytest

from harness.errors import InputError
from harness.fixing import reply
from harness.fixing.openai import OpenAIFixer
from harness.fixing.prices import PRICES, price_on, price_usd
from harness.fixing.prompt import render
from harness.fixing.standins import openai as standin
from harness.fixing.standins.server import Answer, Standin, running
from harness.model.fix import Attempt, Cost, ReplaceText
from tests.consulting import INCIDENT, KEY, REPLY, TREE, Waits, cost_of, failure, propose, silent_port

FENCED = f"<think>{{}}\n```json\n{{}}\n```</think>Sure:\n\n```json\n{json.dumps(REPLY)}\n```\n\nI hope that it helps."


def fixer(
    url: str,
    sleep: Callable[[float], None] | None = None,
    *,
    api_key: str | None = KEY,
    tries: int = 4,
    budget_s: float = 110.0,
    timeout_s: float = 30.0,
) -> OpenAIFixer:
    return OpenAIFixer(
        model="local-7b",
        api_key=api_key,
        base_url=f"{url}/v1",
        tries=tries,
        budget_s=budget_s,
        timeout_s=timeout_s,
        sleep=sleep if sleep is not None else Waits(),
    )


def formats(server: Standin) -> list[str]:
    return [request.body.get("response_format", {}).get("type", "none") for request in server.requests]


def test_an_answer_becomes_a_fix_with_its_cost() -> None:
    with standin.running([standin.answer(REPLY, model="local-7b-q4")]) as server:
        fix = propose(fixer(server.url))
    assert fix.edits == (ReplaceText(path="shop/db.py", search="3", replace="30"),)
    assert (fix.root_cause, fix.confidence, fix.model) == (REPLY["root_cause"], 0.7, "local-7b-q4")
    assert fix.prompt == render(INCIDENT, (), TREE, ()).id
    assert fix.cost.seconds > 0
    assert replace(fix.cost, seconds=0.0) == Cost(tokens_in=1200, tokens_out=450, tokens_thought=150, calls=1)


def test_the_request_is_the_prompt_with_the_schema() -> None:
    attempt = Attempt(number=1, outcome="refused", reason="tests/a.py is protected")
    with standin.running([standin.answer(REPLY)]) as server:
        asked = fixer(server.url)
        announced = asked.prompt(INCIDENT, (), TREE, (attempt,))
        propose(asked, earlier=(attempt,))
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert set(request.body) == {"model", "messages", "response_format"}
    assert announced == "\n".join(message["content"] for message in request.body["messages"])
    assert [message["role"] for message in request.body["messages"]] == ["system", "user"]
    told = request.body["response_format"]
    assert told["json_schema"] == {"name": "fix", "strict": True, "schema": reply.response_schema()}


@pytest.mark.parametrize("code", [400, 422, 501, 500])
def test_a_server_without_schemas_is_asked_for_any_object_and_then_for_text(code: int) -> None:
    answers = [standin.no_format(code), standin.no_format(code), standin.answer(FENCED)]
    with standin.running(answers) as server:
        one = fixer(server.url)
        fix = propose(one)
        assert formats(server) == ["json_schema", "json_object", "none"]
        propose(one)
        assert formats(server)[3:] == ["none"], "what the server takes is remembered"
    assert fix.confidence == 0.7
    assert fix.cost.calls == 3


def test_an_object_is_enough_where_it_is_taken() -> None:
    with standin.running([standin.no_format(), standin.answer(REPLY)]) as server:
        one = fixer(server.url)
        propose(one)
        propose(one)
    assert formats(server) == ["json_schema", "json_object", "json_object"]


def test_a_server_that_refuses_everything_is_a_failed_proposal_and_nothing_is_remembered() -> None:
    with standin.running([standin.error(400, "the context is too small")]) as server:
        one = fixer(server.url)
        error = failure(one)
        failure(one)
    assert "HTTP 400 : the context is too small" in error.message
    assert cost_of(error).calls == 3
    assert formats(server) == ["json_schema", "json_object", "none"] * 2


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (standin.NAMED["broken"](), "breaks the output contract: root_cause"),
        (standin.NAMED["half"](), "broke off: length"),
        (standin.NAMED["blocked"](), "broke off: content_filter"),
        (standin.NAMED["refusal"](), "refused: I cannot help with that."),
        (standin.NAMED["endless"](), "broke off: tool_calls"),
        (standin.NAMED["echo"](), "The key <key> is not valid"),
        (standin.NAMED["spent"](), "HTTP 429 insufficient_quota"),
        (standin.NAMED["page"](), "not in OpenAI's protocol"),
        (standin.answer("I am sorry."), "breaks the output contract"),
        (standin.answer(""), "empty"),
        (standin.answer(f"The key {KEY} is in ```\nmy\n``` answer"), "breaks the output contract"),
        (standin.refusal(f"I refuse {KEY}"), "refused: I refuse <key>"),
        (Answer(body=b""), "not in OpenAI's protocol"),
        (Answer(body=b"[]"), "not in OpenAI's protocol"),
        (Answer(body=b"{}"), "no choice"),
        (Answer(body=b'{"choices": [7]}'), "not in OpenAI's protocol"),
        (Answer(body=b'{"choices": [], "usage": {"prompt_tokens": -1}}'), "not in OpenAI's protocol"),
        (Answer(body=b"[" * 100_000), "not in OpenAI's protocol"),
        (Answer(body=b"\xff\xfe"), "not in OpenAI's protocol"),
        (Answer(body=b"nope", headers={"Content-Encoding": "gzip"}), "not in OpenAI's protocol"),
        (Answer(body=b"\xff", status=404), "HTTP 404"),
        (standin.error(403, "no"), "HTTP 403"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(answer: Answer, named: str) -> None:
    waits = Waits()
    with standin.running([answer]) as server:
        error = failure(fixer(server.url, waits))
    assert named in error.message
    assert len(server.requests) == 1
    assert cost_of(error).calls == 1
    assert not waits


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with standin.running() as elsewhere:
        away = Answer(status=307, headers={"Location": f"{elsewhere.url}/v1/chat/completions"})
        with standin.running([away]) as server:
            assert "HTTP 307" in failure(fixer(server.url)).message
    assert elsewhere.requests == []


@pytest.mark.parametrize("name", ["quota", "failing", "unavailable", "drop", "cut"])
def test_a_passing_setback_is_tried_again_by_our_own_loop(name: str) -> None:
    waits = Waits()
    with standin.running([standin.NAMED[name](), standin.answer(REPLY)]) as server:
        fix = propose(fixer(server.url, waits))
    assert len(server.requests) == 2, "the SDK's own tries are off"
    assert len(waits) == 1
    assert fix.cost.calls == 2


@pytest.mark.parametrize(
    ("headers", "asked_s"),
    [({"Retry-After": "7"}, 7.0), ({"Retry-After": "9", "Retry-After-Ms": "1500"}, 1.5)],
)
def test_the_wait_is_what_the_server_asks(headers: dict[str, str], asked_s: float) -> None:
    waits = Waits()
    with standin.running([standin.error(429, "later", headers=headers), standin.answer(REPLY)]) as server:
        propose(fixer(server.url, waits))
    assert waits == [asked_s]


def test_the_wait_may_be_given_as_a_date() -> None:
    waits = Waits()
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    answers = [standin.error(503, "later", headers={"Retry-After": when}), standin.answer(REPLY)]
    with standin.running(answers) as server:
        propose(fixer(server.url, waits))
    assert 20 < waits[0] <= 50


def test_a_server_that_hangs_is_timed_out() -> None:
    with standin.running([standin.hang()]) as server:
        started_s = time.monotonic()
        error = failure(fixer(server.url, time.sleep, tries=1000, timeout_s=60.0, budget_s=1.0))
        took_s = time.monotonic() - started_s
    assert "ReadTimeout" in error.message or "no time was left" in error.message
    assert took_s < 30, "one try alone would take 60 s"


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


@pytest.mark.parametrize("url", ["http://999.1.1.1", f"http://127.0.0.1/{'x' * 70_000}"])
def test_a_base_url_of_which_no_url_can_be_made_is_a_failed_proposal(url: str) -> None:
    error = failure(fixer(url))
    assert "the base URL is not an address" in error.message
    assert "OPENAI_BASE_URL" in error.cure
    assert cost_of(error).calls == 1


def test_a_refused_connection_is_a_failed_proposal() -> None:
    waits = Waits()
    with silent_port() as port:
        error = failure(fixer(f"http://127.0.0.1:{port}", waits, tries=3))
    assert "gave up after 3 tries or 110 s: ConnectError" in error.message
    assert len(waits) == 2
    assert cost_of(error).calls == 3


# settings and secrets


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_settings_come_from_the_environment_and_a_local_server_needs_no_key(bare: pytest.MonkeyPatch) -> None:
    with silent_port() as port, standin.running([standin.answer(REPLY)]) as server:
        bare.setenv("OPENAI_MODEL", "from-env")
        bare.setenv("OPENAI_BASE_URL", f"{server.url}/v1\n")
        bare.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert propose(OpenAIFixer()).confidence == 0.7
    assert server.requests[0].body["model"] == "from-env"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"OPENAI_API_KEY": KEY}, "OPENAI_MODEL"),
        ({"OPENAI_MODEL": "m"}, "api.openai.com needs an API key"),
        ({"OPENAI_MODEL": "m", "OPENAI_API_KEY": "  "}, "OPENAI_API_KEY"),
        ({"OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://10.0.0.1/v1"}, "10.0.0.1 needs an API key"),
        ({"OPENAI_MODEL": "m", "OPENAI_BASE_URL": "127.0.0.1:8000"}, "not an address"),
        ({"OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://127.0.0.1:99999"}, "not an address"),
        ({"OPENAI_MODEL": "m", "OPENAI_BASE_URL": f"http://me:{KEY}@127.0.0.1/v1"}, "holds a user or a password"),
        ({"OPENAI_MODEL": "m", "OPENAI_BASE_URL": f"me:{KEY}@proxy.local/v1"}, "OPENAI_BASE_URL is not an address"),
        ({"OPENAI_MODEL": "m", "OPENAI_API_KEY": f"{KEY}\n{KEY}"}, "OPENAI_API_KEY holds characters that no key has"),
        ({"OPENAI_MODEL": "m", "OPENAI_API_KEY": f"{KEY}é"}, "OPENAI_API_KEY holds characters that no key has"),
    ],
)
def test_a_wrong_setting_is_the_users_mistake(
    bare: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    for name, value in environment.items():
        bare.setenv(name, value)
    with pytest.raises(InputError) as caught:
        OpenAIFixer()
    assert named in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_without_the_sdk_the_extra_is_named() -> None:
    code = (
        "import importlib.util as u, sys\n"
        "known = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'openai' else known(name, *rest)\n"
        "from harness.errors import InputError\n"
        "from harness.fixing.openai import OpenAIFixer\n"
        "try:\n    OpenAIFixer(model='m', base_url='http://127.0.0.1:1/v1')\n"
        "except InputError as error:\n    sys.exit(\"'.[openai]'\" not in error.cure)\n"
        "sys.exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ}).returncode == 0


def test_the_key_is_in_no_log_and_no_record(caplog: pytest.LogCaptureFixture) -> None:
    echo = standin.error(500, f"header authorization: Bearer {KEY}")
    with caplog.at_level(logging.DEBUG), standin.running([echo, standin.answer(REPLY), echo]) as server:
        one = fixer(server.url)
        propose(one)
        assert "<key>" in failure(one).message
    assert caplog.records, "the SDK logged something that could be searched"
    assert KEY not in caplog.text
    assert KEY not in repr(server.requests)
    assert KEY not in repr(one)


def test_a_key_that_the_model_says_is_in_no_fix() -> None:
    with standin.running([standin.answer({**REPLY, "root_cause": f"your key is {KEY}"})]) as server:
        assert propose(fixer(server.url)).root_cause == "your key is <key>"


def test_importing_the_fixer_does_not_import_the_sdk() -> None:
    code = "import sys, harness.fixing.openai; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_prices_name_their_source_and_their_days_are_in_order() -> None:
    for prices in PRICES.values():
        assert list(prices) == sorted(prices, key=lambda price: price.since)
        assert all(price.source.startswith("https://") and price.usd_out > price.usd_in > 0 for price in prices)
    assert price_on("gpt-5.4", date(2026, 6, 3)) is None, "what was so before the source was read is not known"
    assert price_on("gpt-5.4", date(2026, 6, 4)) is not None


def test_a_server_that_is_not_openais_has_no_prices() -> None:
    with standin.running([standin.answer(REPLY)]) as server:
        elsewhere = OpenAIFixer(model="gpt-5.4", base_url=f"{server.url}/v1")
        assert propose(elsewhere).cost.usd is None
    assert "store" not in server.requests[0].body, "others may refuse a key that they do not know"


def test_openai_itself_has_prices_and_is_told_to_store_nothing(bare: pytest.MonkeyPatch) -> None:
    """Asked by plain HTTP through a proxy, which answers in its place."""
    through_a_proxy = replace(standin.DIALECT, route=re.compile(r"http://api\.openai\.com/v1/chat/completions"))
    with running(through_a_proxy, [standin.no_format(), standin.answer(REPLY)]) as proxy:
        for name in ("NO_PROXY", "no_proxy"):
            bare.delenv(name, raising=False)
        bare.setenv("http_proxy", proxy.url)
        bare.setenv("HTTP_PROXY", proxy.url)
        cost = propose(OpenAIFixer(model="gpt-5.4", api_key=KEY, base_url="http://api.openai.com/v1")).cost
    assert [request.body["store"] for request in proxy.requests] == [False, False]
    assert cost.usd == price_usd("gpt-5.4", cost.tokens_in, cost.tokens_out, on=datetime.now(UTC).date())
    assert cost.usd


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("no fence", "no fence"),
        ("```json\n{1}\n```", "{1}"),
        ("a\n```\n{1}\n```\nb\n```py\nx\n```", "{1}"),
        ("```\n{1}\n```\n```json\n{2}\n```", "{2}"),
        ("```json\n{1}", "```json\n{1}"),
        ("<think>```\n{1}\n```</think>{2}", "{2}"),
        ("<think>no end", ""),
    ],
)
def test_the_last_fenced_object_is_the_answer(text: str, body: str) -> None:
    assert reply.block(text) == body


def test_fences_without_an_end_take_no_time() -> None:
    assert reply.block("```x\n" * 300_000)
