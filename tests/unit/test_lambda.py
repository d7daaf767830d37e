"""LambdaFixer through boto3, and the handler under AWS's own runtime client, against the stand-in of Lambda."""

from __future__ import annotations

import ast
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.aws import lambda_handler, package, standin
from harness.aws.standin import Refusal, Standin
from harness.errors import InputError, ProposalFailed
from harness.fixing.errand import Answer, Errand, read_answer
from harness.fixing.lambda_fixer import MAX_EVENT_BYTES, MAX_REQUEST_BYTES, LambdaFixer
from harness.fixing.playbook import PlaybookFixer
from harness.fixing.standins import gemini
from harness.model.fix import Attempt, Cost, DeleteFile, Fix, Flag, ReplaceText, WriteFile
from harness.model.incident import Incident, Passage, Remedy
from harness.model.source import Deployment, SourceTree
from harness.model.window import RouteWindow, Window

KEY_ID, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "not-a-real-secret-key-0123456789abcdef"
TREE = SourceTree(
    files={"shop/db.py": 'from sqlalchemy import create_engine\n\nengine = create_engine("postgresql:///shop")\n'},
    commit="c0ffee",
    editable=("shop/**",),
    protected=("shop/health.py",),
)
INCIDENT = Incident(
    id="inc-1",
    error_code="FAULT_DB_TIMEOUT",
    symptoms="27 of 30 requests failed \ud800",
    breadcrumbs=("burn rate 40",),
    logs=("ERROR größe \0",),
    window=Window(index=9, start_s=9.0, end_s=10.0, routes={"browse": RouteWindow(failed=27, ok=3, p95_ms=3000.0)}),
    detected_at="2026-11-05T10:00:00Z",
)
PASSAGE = Passage(
    id="db-001",
    title="No limit",
    text="## Root cause\n\nFAULT_DB_TIMEOUT\n",
    score=3.0,
    remedies=(Remedy(name="statement_timeout", parameters={"ms": 500, "hard": True, "share": 0.5, "of": "all"}),),
)
FIX = Fix(
    root_cause="pool",
    edits=(WriteFile(path="a", content="b"), ReplaceText(path="a", search="b", replace="c"), DeleteFile(path="d")),
    verification=("look",),
    confidence=0.5,
    cost=Cost(seconds=1.5, tokens_in=3, usd=0.01),
    model="m",
)
EARLIER = (
    Attempt(
        number=1,
        outcome="not_recovered",
        reason="still slow",
        passages=(PASSAGE,),
        fix=FIX,
        flags=(Flag(rule="r", severity="warning", path="a", line=1, message="m"),),
        deployment=Deployment(number=1, commit="c", diff="+"),
        proposed_s=3.0,
    ),
)
MISBEHAVING = {
    "crash": "raise RuntimeError('out of luck')",
    "hang": "import time; time.sleep(600)",
    "exit": "import os; os._exit(7)",
    "other": "return {'statusCode': 200}",
    "large": "return 'x' * 6_400_000",
    "broken_fix": "return {'fix': {'root_cause': 7}}",
    "refuse": "return {'refused': 'no quota', 'cure': 'Wait.', 'cost': {'tokens_in': 9, 'usd': 0.5}}",
}

Serve = Callable[..., AbstractContextManager[Standin]]


class Waits(list[float]):
    """Stands where time.sleep stands, so that tests see the waits and need not sit them out."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture(autouse=True)
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that open nothing, and none from files or from a machine's role."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "LAMBDA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("LAMBDA_FUNCTION", standin.FUNCTION)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    (tmp_path / "misbehaving.py").write_text(
        "".join(f"def {name}(event, context):\n    {body}\n\n" for name, body in MISBEHAVING.items())
    )
    (tmp_path / "unimportable.py").write_text("import nothing_of_this_name\n")

    @contextmanager
    def running(
        handler: str = standin.HANDLER,
        *,
        fixer: str = "playbook",
        cwd: Path = tmp_path,
        timeout_s: float = 30.0,
        refusals: Sequence[Refusal] = (),
        **more: str,
    ) -> Iterator[Standin]:
        env = {"PATH": os.environ["PATH"], "FIXER": fixer, **more}
        log = tmp_path / "function.log"
        with standin.running(
            env=env, log=log, handler=handler, cwd=cwd, timeout_s=timeout_s, refusals=refusals
        ) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
            yield server

    return running


def proposed(fixer: LambdaFixer) -> Fix:
    return fixer.propose(INCIDENT, (PASSAGE,), TREE, EARLIER)


def failure(fixer: LambdaFixer) -> ProposalFailed:
    with pytest.raises(ProposalFailed) as caught:
        proposed(fixer)
    assert caught.value.cure
    assert SECRET_KEY not in str(caught.value)
    assert KEY_ID not in str(caught.value)
    return caught.value


# what is asked and answered


def test_an_errand_and_an_answer_come_back_as_they_were() -> None:
    errand = Errand(incident=INCIDENT, passages=(PASSAGE,), tree=TREE, earlier=EARLIER, budget_s=7)
    payload = errand.payload()
    back = Errand.model_validate_json(payload)
    assert back == errand.model_copy(update={"incident": replace(INCIDENT, symptoms="27 of 30 requests failed ?")})
    assert back.payload() == payload
    assert read_answer(Answer(fix=FIX).payload()) == FIX
    with pytest.raises(ProposalFailed, match="no quota") as caught:
        failed = ProposalFailed("no quota", cure="Wait.", cost=Cost(tokens_in=9))
        read_answer(Answer.of_failure(failed).payload())
    assert caught.value.cost == Cost(tokens_in=9)
    assert caught.value.cure == "Wait."


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"null", b"[]", b'{"fix": {}}', b'{"more": 1}', b'{"refused": 1}', b"\xff"]
)
def test_what_is_no_answer_is_a_failed_proposal(payload: bytes) -> None:
    with pytest.raises(ProposalFailed) as caught:
        read_answer(payload)
    assert caught.value.message


def test_a_function_proposes_what_its_fixer_would_here(serve: Serve) -> None:
    with serve() as server:
        fixer = LambdaFixer()
        fix = proposed(fixer)
        again = proposed(fixer)
    here = PlaybookFixer().propose(replace(INCIDENT, symptoms=""), (PASSAGE,), TREE, EARLIER)
    assert replace(fix, cost=Cost()) == replace(again, cost=Cost()) == replace(here, cost=Cost())
    assert "statement_timeout=500" in str(fix.edits)
    assert fix.cost.seconds > 0
    sent = json.loads(server.invocations[0].payload)
    announced = json.loads(fixer.prompt(INCIDENT, (PASSAGE,), TREE, EARLIER))
    assert 100 < sent.pop("budget_s") < announced.pop("budget_s") < 110
    assert sent == announced


def test_a_function_is_named_by_its_arn_too(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    with serve():
        arn = f"arn:aws:lambda:eu-central-1:000000000000:function:{standin.FUNCTION}"
        assert proposed(LambdaFixer(arn)).edits


@pytest.mark.parametrize(
    ("fixer", "named"),
    [("gemini", "Gemini needs an API key"), ("oracle", "FIXER: no fixer 'oracle'"), ("openai", "OPENAI_")],
)
def test_a_function_whose_environment_is_wrong_says_so(serve: Serve, fixer: str, named: str) -> None:
    with serve(fixer=fixer):
        assert named in str(failure(LambdaFixer()))


def test_a_function_stops_in_time_by_itself(serve: Serve) -> None:
    with serve(timeout_s=lambda_handler.MARGIN_S - 1):
        assert "no time left" in failure(LambdaFixer()).message


def test_a_model_that_hangs_is_given_up_before_the_functions_time_is_over(serve: Serve) -> None:
    with gemini.running([gemini.NAMED["hang"]()]) as model:
        env = {"GOOGLE_GEMINI_BASE_URL": model.url, "GEMINI_API_KEY": "any"}
        with serve(fixer="gemini", timeout_s=lambda_handler.MARGIN_S + 4, **env) as server:
            error = failure(LambdaFixer())
    assert "Gemini" in error.message
    assert not server.invocations[0].failed
    assert isinstance(error.cost, Cost)


@pytest.mark.parametrize(
    ("handler", "named"),
    [
        ("misbehaving.crash", "the function failed: RuntimeError: out of luck"),
        ("misbehaving.exit", "the function failed: Runtime.ExitError: RequestId"),
        ("misbehaving.other", "the answer cannot be read: statusCode"),
        ("misbehaving.broken_fix", "the answer cannot be read: fix.root_cause"),
        ("misbehaving.large", "the answer has more than 6291456 bytes"),
        ("misbehaving.refuse", "no quota"),
        ("unimportable.handler", "the function failed: Runtime.ImportModuleError: Unable to import module"),
    ],
)
def test_a_function_that_misbehaves_is_a_failed_proposal(serve: Serve, handler: str, named: str) -> None:
    with serve(handler):
        error = failure(LambdaFixer())
    assert error.message.startswith(f"Lambda ({standin.FUNCTION}): ")
    assert named in error.message
    assert error.cost == (Cost(tokens_in=9, usd=0.5) if handler.endswith("refuse") else None)


def test_a_function_that_times_out_is_killed_and_the_next_invocation_has_a_new_one(serve: Serve) -> None:
    with serve("misbehaving.hang", timeout_s=1.0):
        for _ in range(2):
            error = failure(LambdaFixer())
            assert "the function timed out: RequestId" in error.message
            assert "timeout" in error.cure


def test_no_answer_is_waited_for_longer_than_the_budget(serve: Serve) -> None:
    fixer = LambdaFixer()
    fixer.budget_s = 1.0  # as a trial tells what is left
    with serve("misbehaving.hang"):
        started_s = time.monotonic()
        error = failure(fixer)
        assert time.monotonic() - started_s < 5
    assert error.message.endswith("no answer within 1 s")


def test_each_try_tells_the_function_what_is_left_less_the_way_there_and_back(serve: Serve) -> None:
    def wait(seconds: float) -> None:
        time.sleep(2.0)

    fixer = LambdaFixer(sleep=wait)
    fixer.budget_s = 60.0
    with serve(refusals=[Refusal(status=500, code="ServiceException")]) as server:
        proposed(fixer)
    (told,) = server.invocations
    assert 40 < json.loads(told.payload)["budget_s"] <= 60 - 2 - 5


def test_a_function_that_is_not_waited_for_has_all_of_the_time(serve: Serve) -> None:
    fixer = LambdaFixer()
    fixer.budget_s = 60.0
    with serve() as server:
        fixer.invoke_async(INCIDENT, (PASSAGE,), TREE, ())
        assert server.invocations[0].ended.wait(30)
    assert json.loads(server.invocations[0].payload)["budget_s"] == 60


# by event


@contextmanager
def mailbox(status: int = 200) -> Iterator[tuple[str, list[bytes], threading.Event]]:
    """An address that takes one PUT."""
    got: list[bytes] = []
    arrived = threading.Event()

    class Exchange(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            arrived.set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Exchange) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/box?signature=s3cr3t", got, arrived
        server.shutdown()
        thread.join()


def test_who_does_not_wait_gets_the_answer_put_somewhere(serve: Serve) -> None:
    with serve() as server, mailbox() as (url, got, arrived):
        number = LambdaFixer().invoke_async(INCIDENT, (PASSAGE,), TREE, (), answer_url=url)
        assert arrived.wait(30)
        assert number == server.invocations[0].id
        assert server.invocations[0].ended.wait(30)
    assert "statement_timeout=500" in str(read_answer(got[0]).edits)
    assert read_answer(server.invocations[0].result) == read_answer(got[0]), "returned too: for a destination"


def test_an_answer_that_cannot_be_delivered_is_an_error_of_the_function(serve: Serve) -> None:
    """So that Lambda tries again; the address, which may be signed, is not told."""
    with serve() as server, mailbox(302) as (url, got, arrived):
        LambdaFixer().invoke_async(INCIDENT, (), TREE, (), answer_url=url)
        assert server.invocations[0].ended.wait(30)
    assert arrived.is_set()
    assert len(got) == 1
    assert server.invocations[0].failed
    said = json.loads(server.invocations[0].result)
    assert said["errorType"] == "HandInFailed"
    assert said["errorMessage"].endswith("HTTP 302")
    assert "s3cr3t" not in str(said)


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "https://", "http://[", "//host/x", "x"]
)
def test_an_answer_goes_over_https_or_stays_here(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIXER", "playbook")
    event = json.loads(Errand(incident=INCIDENT, tree=TREE, answer_url=url).payload())
    assert "no address to send code to" in lambda_handler.handler(event, Context())["refused"]


@pytest.mark.parametrize(
    ("event", "named"),
    [({}, "incident: Field required"), ({"Records": []}, "incident"), ({"detail": {"alarm": 1}}, "incident")],
)
def test_an_event_that_is_no_errand_is_refused_and_not_run_again(event: dict[str, Any], named: str) -> None:
    answer = lambda_handler.handler(event, Context())
    assert named in answer["refused"]
    assert answer["fix"] is None


# what AWS says


def test_throttling_is_tried_again_as_late_as_lambda_asks(serve: Serve) -> None:
    waits = Waits()
    refusals = [
        Refusal(status=429, code="TooManyRequestsException", retry_after_s=3),
        Refusal(status=500, code="ServiceException"),
    ]
    with serve(refusals=refusals) as server:
        assert proposed(LambdaFixer(sleep=waits)).edits
    assert waits[0] == 3
    assert 1 <= waits[1] <= 2
    assert len(waits) == 2
    assert len(server.invocations) == 1, "boto3 tries nothing again by itself"


def test_throttling_without_an_end_is_given_up(serve: Serve) -> None:
    waits = Waits()
    with serve(refusals=[Refusal(status=429, code="TooManyRequestsException")] * 3) as server:
        message = failure(LambdaFixer(sleep=waits, tries=3)).message
    assert "gave up after 3 tries" in message
    assert "HTTP 429 TooManyRequestsException: told to refuse" in message
    assert len(waits) == 2
    assert not server.invocations
    with serve(refusals=[Refusal(status=429, code="TooManyRequestsException", retry_after_s=60)]):
        assert "a wait of 60.0 s is due" in failure(LambdaFixer(budget_s=5)).message


@pytest.mark.parametrize(
    ("status", "code", "cure"),
    [
        (403, "AccessDeniedException", "lambda:InvokeFunction"),
        (403, "ExpiredTokenException", "new credentials"),
        (403, "UnrecognizedClientException", "credentials"),
        (404, "ResourceNotFoundException", "LAMBDA_FUNCTION"),
        (400, "InvalidRequestContentException", "CloudWatch"),
    ],
)
def test_a_refusal_that_would_come_again_is_final(serve: Serve, status: int, code: str, cure: str) -> None:
    refusals = [Refusal(status=status, code=code, message=f"not for {SECRET_KEY} of {KEY_ID}")]
    with serve(refusals=refusals):
        error = failure(LambdaFixer())
    assert f"HTTP {status} {code}" in error.message
    assert cure in error.cure


def test_an_unknown_function_is_told(serve: Serve) -> None:
    with serve():
        assert "Function not found: nobody" in failure(LambdaFixer("nobody")).message


def test_a_question_that_is_too_large_is_not_sent(serve: Serve) -> None:
    large = replace(TREE, files={"a": "x" * MAX_EVENT_BYTES})
    with serve() as server:
        with pytest.raises(ProposalFailed, match=f"Lambda takes {MAX_EVENT_BYTES}"):
            LambdaFixer().invoke_async(INCIDENT, (), large, ())
        larger = replace(TREE, files={"a": "x" * MAX_REQUEST_BYTES})
        with pytest.raises(ProposalFailed, match=f"Lambda takes {MAX_REQUEST_BYTES}"):
            LambdaFixer().propose(INCIDENT, (), larger, ())
        assert not server.invocations


def test_a_service_that_is_not_there_is_a_failed_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{taken.getsockname()[1]}")
        message = failure(LambdaFixer(tries=2, sleep=Waits())).message
    assert "gave up after 2 tries" in message
    assert "EndpointConnectionError" in message


def test_an_answer_that_breaks_off_is_a_failed_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve_once(listener: socket.socket) -> None:
        for body in (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", b"nonsense\r\n\r\n"):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_once, args=(listener,), daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{listener.getsockname()[1]}")
        fixer = LambdaFixer(tries=1)
        assert "the answer broke off" in failure(fixer).message
        assert failure(fixer).message
        thread.join()


# what the user has not set


@pytest.mark.parametrize(
    ("unset", "named"),
    [
        (("LAMBDA_FUNCTION",), "no Lambda function is named"),
        (("AWS_REGION",), "no AWS region is set"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "no AWS credentials are found"),
        (("AWS_SECRET_ACCESS_KEY",), "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_what_is_missing_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, unset: tuple[str, ...], named: str
) -> None:
    for name in unset:
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match=named) as caught:
        LambdaFixer()
    assert caught.value.cure


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "nobody"),
        ("AWS_ENDPOINT_URL_LAMBDA", "not an address"),
        ("AWS_ENDPOINT_URL_LAMBDA", "me:hunter2@proxy.local"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="AWS cannot be used as configured") as caught:
        LambdaFixer()
    assert "hunter2" not in str(caught.value)


STS_REFUSAL = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>You may not assume arn:aws:iam::000000000000:role/healer</Message></Error>
<RequestId>1</RequestId></ErrorResponse>"""
PROFILES = """[profile healer]
role_arn = arn:aws:iam::000000000000:role/healer
source_profile = me
[profile me]
aws_access_key_id = {key_id}
aws_secret_access_key = {secret_key}
"""


def test_a_role_that_is_refused_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sts(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403)
            self.send_header("Content-Length", str(len(STS_REFUSAL)))
            self.end_headers()
            self.wfile.write(STS_REFUSAL)

        def log_message(self, format: str, *args: object) -> None:
            pass

    (tmp_path / "config").write_text(PROFILES.format(key_id=KEY_ID, secret_key=SECRET_KEY))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "healer")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with ThreadingHTTPServer(("127.0.0.1", 0), Sts) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(InputError, match="You may not assume") as caught:
            LambdaFixer()
        server.shutdown()
        thread.join()
    assert "AWS_PROFILE" in caught.value.cure
    assert SECRET_KEY not in str(caught.value)


# how it is packed


def test_the_same_files_make_the_same_zip(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "pkg" / "__pycache__").mkdir(parents=True)
    (site / "pkg" / "b.py").write_text("b = 1\n")
    (site / "pkg" / "__pycache__" / "b.pyc").write_bytes(b"1")
    one = package.pack(tmp_path / "one.zip", site=site).read_bytes()
    os.utime(site / "pkg" / "b.py", (1, 1))
    (site / "pkg" / "b.py").chmod(0o600)
    assert package.pack(tmp_path / "two.zip", site=site).read_bytes() == one
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        names = archive.namelist()
        assert stat.S_IMODE(archive.getinfo("pkg/b.py").external_attr >> 16) == 0o644
        assert archive.read("requirements.txt").decode().split() == list(package.requirements())
    assert names[1:] == sorted(names[1:])
    assert {
        "pkg/b.py",
        "harness/aws/lambda_handler.py",
        "harness/fixing/prompts/fix.md.jinja",
        "kb/db-002-report-query.md",
    } <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_what_is_packed_runs_as_the_function(serve: Serve, tmp_path: Path) -> None:
    unpacked = tmp_path / "task"
    done = subprocess.run(
        [sys.executable, "-m", "harness.aws.package", str(tmp_path / "function.zip")], capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == str(tmp_path / "function.zip")
    with zipfile.ZipFile(tmp_path / "function.zip") as archive:
        archive.extractall(unpacked)
    with serve(cwd=unpacked):
        assert proposed(LambdaFixer()).edits


def test_what_cannot_be_packed_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        package.pack(tmp_path / "a.zip", site=tmp_path / "none")
    (tmp_path / "site" / "harness").mkdir(parents=True)
    (tmp_path / "site" / "harness" / "__init__.py").touch()
    with pytest.raises(InputError, match=r"holds harness/__init__\.py"):
        package.pack(tmp_path / "a.zip", site=tmp_path / "site")


def test_the_handler_imports_none_of_the_heavy_libraries() -> None:
    code = "import sys, harness.aws.lambda_handler; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"google.genai", "openai", "libcst", "jinja2", "boto3", "httpx2", "locust", "mlflow"} & set(loaded)


OURS = """
import sys
import harness.aws.alarm, harness.aws.lambda_handler
import harness.fixing.gemini, harness.fixing.openai, harness.fixing.playbook
import harness.fixing.remedies
print(*(module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "harness"), sep="\\n")
"""


def test_the_requirements_bring_all_that_the_function_imports() -> None:
    done = subprocess.run([sys.executable, "-c", OURS], capture_output=True, text=True, check=True)
    imported = {name for file in done.stdout.splitlines() for name in imports(Path(file))} - sys.stdlib_module_names
    assert {"pydantic", "google", "libcst"} <= imported, "this test sees imports within functions too"
    brought, pending = set[str](), [Requirement(line).name for line in package.requirements()]
    while pending:
        name = canonicalize_name(pending.pop())
        if name not in brought:
            brought.add(name)
            needs = [Requirement(need) for need in metadata.requires(name) or ()]
            pending += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    homes = metadata.packages_distributions()
    lacking = {name for name in imported if not {canonicalize_name(home) for home in homes.get(name, [name])} & brought}
    assert lacking == {"harness", "boto3", "botocore"}, "Lambda has AWS's client"


def imports(file: Path) -> set[str]:
    """The first names of all modules that it imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name.partition(".")[0] for name in names}
    return found


def test_the_stand_in_wants_a_signature(serve: Serve) -> None:
    with serve() as server:
        connection = http.client.HTTPConnection(server.address, timeout=30)
        connection.request("POST", f"/2015-03-31/functions/{standin.FUNCTION}/invocations", body=b"{}")
        assert connection.getresponse().status == 403
        connection.close()
