"""BackboardRetriever through the real SDK, against the stand-in: what is stored and found, and all that can fail."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from harness.cli import kb, kb_analyse
from harness.errors import HarnessError, InputError, ServiceUnavailable
from harness.model.event import Event
from harness.model.fix import Fix
from harness.model.incident import Incident
from harness.retrieval.backboard import seeding as backboard_seeding
from harness.retrieval.backboard.analysis import Analysis
from harness.retrieval.backboard.calls import Account, Limits
from harness.retrieval.backboard.misdeeds import Misdeed, lost, page, quota
from harness.retrieval.backboard.retriever import BackboardRetriever, instructions
from harness.retrieval.backboard.seeding import Sent, State
from harness.retrieval.backboard.standin import Standin, running
from harness.retrieval.backboard.store import Store, alike
from harness.retrieval.corpus import Document, load_corpus
from harness.sinks.journal import Journal
from tests import events

# the SDK's models configure pydantic in the way of its version 1
pytestmark = pytest.mark.filterwarnings("ignore:Support for class-based:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
KEY = "bb-not-a-real-key-0123"
DOCUMENTS = load_corpus(ROOT / "kb")
FEW = DOCUMENTS[:4]
QUICK = Limits(tries=3, request_s=5.0, backoff_s=0.01, poll_s=0.01)
INCIDENT = Incident(
    id="inc-7",
    error_code="FAULT_DB_TIMEOUT",
    symptoms="browse: 40 of 40 requests failed",
    breadcrumbs=("20:15:01 p95 over 300 ms",),
    logs=("FAULT_DB_TIMEOUT QueuePool limit of size 3 overflow 0 reached, connection timed out",),
    window=None,
    detected_at="2026-11-23T20:15:10+00:00",
)
ACCOUNT = ("BACKBOARD_API_KEY", "BACKBOARD_BASE_URL", "BACKBOARD_ASSISTANT")
FIX = Fix(root_cause="No limit on statements.", remediation="Set one.", verification=("browse is fast",))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # the SDK asks the environment for a way to this machine too


@pytest.fixture
def server() -> Iterator[Standin]:
    with running(key=KEY) as standin:
        yield standin


def retriever(
    server: Standin,
    tmp_path: Path,
    documents: tuple[Document, ...] = FEW,
    *,
    limits: Limits = QUICK,
    frozen: bool = False,
    key: str = KEY,
    url: str = "",
) -> BackboardRetriever:
    account = Account(key=key, base_url=url or server.url)
    return BackboardRetriever(documents, learned=tmp_path / "learned", frozen=frozen, account=account, limits=limits)


def seeded(one: BackboardRetriever) -> dict[str, State]:
    told: list[tuple[str, State]] = []
    changes = one.seed(lambda document, state: told.append((document, state)))
    assert dict(told) == changes
    assert len(told) == len(changes)
    return changes


def failure(work: Callable[[], object], kind: type[HarnessError] = ServiceUnavailable) -> HarnessError:
    """The failure, after the check that neither it nor its traceback tells the key."""
    with pytest.raises(kind) as caught:
        work()
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.cure
    assert "\n" not in caught.value.message
    return caught.value


def stored(store: Store) -> tuple[list[str], list[str]]:
    """Ids of the memories and of the documents, sorted, as often as they are there."""
    memories = [
        str(one["metadata"][backboard_seeding.ID]) for every in store.memories.values() for one in every.values()
    ]
    documents = [str(backboard_seeding.document_id(one["filename"])) for one in store.documents.values()]
    return sorted(memories), sorted(documents)


def each_once(documents: tuple[Document, ...]) -> tuple[list[str], list[str]]:
    ids = sorted(document.id for document in documents)
    return ids, ids


def written(server: Standin) -> list[str]:
    """What was sent that changes something."""
    reads = re.compile(r"GET|POST \S+/search")
    lines = [f"{request.method} {request.path}" for request in server.requests]
    return [line for line in lines if not reads.match(line)]


# seeding


def test_seeding_stores_each_incident_once_as_a_memory_and_as_an_indexed_document(
    server: Standin, tmp_path: Path
) -> None:
    assert set(seeded(retriever(server, tmp_path, DOCUMENTS)).values()) == {"new"}
    assert stored(server.store) == each_once(DOCUMENTS)
    assert {one["status"] for one in server.store.documents.values()} == {"indexed"}
    [assistant] = server.store.assistants.values()
    assert assistant["name"] == "creamandonion"
    assert assistant["system_prompt"] == instructions()


def test_seeding_again_changes_nothing(server: Standin, tmp_path: Path) -> None:
    seeded(retriever(server, tmp_path))
    before = len(written(server))
    assert seeded(retriever(server, tmp_path)) == {document.id: "kept" for document in FEW}
    assert len(written(server)) == before


def test_what_changed_is_replaced_and_the_rest_kept(server: Standin, tmp_path: Path) -> None:
    seeded(retriever(server, tmp_path))
    changed = replace(FEW[1], body=FEW[1].body + "\nA later insight about zebras.\n")
    changes = seeded(retriever(server, tmp_path, (FEW[0], changed, *FEW[2:])))
    assert changes == {document.id: "kept" for document in FEW} | {changed.id: "changed"}
    assert stored(server.store) == each_once(FEW)
    assert sum("zebras" in one["content"] for one in server.store.documents.values()) == 1
    [memories] = server.store.memories.values()
    assert sum("zebras" in one["content"] for one in memories.values()) == 1


def test_what_others_put_there_is_left_alone(server: Standin, tmp_path: Path) -> None:
    seeded(retriever(server, tmp_path))
    [assistant] = server.store.assistants
    server.store.add_memory(assistant, {"content": "the owner likes tea"})
    server.store.upload(assistant, "holidays.md", "closed")
    seeded(retriever(server, tmp_path, (replace(FEW[0], title="Another"),)))
    assert "the owner likes tea" in {one["content"] for one in server.store.memories[assistant].values()}
    assert "holidays.md" in {one["filename"] for one in server.store.documents.values()}


def test_more_memories_than_a_page_holds_are_all_known(server: Standin, tmp_path: Path) -> None:
    many = tuple(replace(FEW[0], id=f"many-{number}", title=f"number {number}") for number in range(120))
    retriever(server, tmp_path, many).prepare()
    before = len(written(server))
    retriever(server, tmp_path, many).prepare()
    assert len(written(server)) == before
    assert len(stored(server.store)[0]) == 120


@pytest.mark.parametrize("path", ["memories$", "documents$", "^/assistants$"])
def test_a_write_whose_answer_got_lost_is_not_done_twice(tmp_path: Path, path: str) -> None:
    with running([lost(method="POST", path=path, after=1 if path[0] != "^" else 0)], key=KEY) as server:
        seeded(retriever(server, tmp_path))
        assert server.misdeeds[0].times == 0
        assert stored(server.store) == each_once(FEW)
        assert len(server.store.assistants) == 1


@pytest.mark.parametrize("after", range(0, 21, 4))
def test_a_server_that_dies_in_the_middle_leaves_what_the_next_seeding_completes(tmp_path: Path, after: int) -> None:
    store = Store()
    with running([Misdeed(manner="drop", after=after, times=None)], store=store, key=KEY) as server:
        failure(lambda: seeded(retriever(server, tmp_path)))
    with running(store=store, key=KEY) as server:
        seeded(retriever(server, tmp_path))
    assert stored(store) == each_once(FEW)


def test_a_seeding_that_is_killed_is_taken_up_again(tmp_path: Path) -> None:
    with running([Misdeed(manner="hang", method="POST", path="documents$", after=3)], key=KEY) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "kb", "seed", "--kb", str(ROOT / "kb")],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment(server)},
            stdout=subprocess.PIPE,
        )
        deadline_s = time.monotonic() + 60
        while server.misdeeds[0].times and time.monotonic() < deadline_s:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=30)
        assert output.count(b" new ") == len(DOCUMENTS)  # their memories
        assert len(stored(server.store)[1]) == 3
        changes = seeded(retriever(server, tmp_path, DOCUMENTS))
        assert stored(server.store) == each_once(DOCUMENTS)
        assert sorted(set(changes.values())) == ["kept", "new"]


def test_doubles_of_a_memory_and_a_document_are_removed(server: Standin, tmp_path: Path) -> None:
    seeded(retriever(server, tmp_path))
    [assistant] = server.store.assistants
    twin = next(iter(server.store.memories[assistant].values()))
    server.store.add_memory(assistant, twin)
    server.store.upload(assistant, Sent.of(FEW[0]).file_name, "the same")
    seeded(retriever(server, tmp_path))
    assert stored(server.store) == each_once(FEW)


def test_a_document_that_cannot_be_indexed_is_named_and_tried_anew_next_time(server: Standin, tmp_path: Path) -> None:
    server.store.unreadable = {FEW[2].id}
    error = failure(lambda: seeded(retriever(server, tmp_path)))
    assert FEW[2].id in error.message
    assert "could not be parsed" in error.message
    assert sum(one["status"] == "indexed" for one in server.store.documents.values()) == len(FEW) - 1
    server.store.unreadable = set()
    seeded(retriever(server, tmp_path))
    assert stored(server.store) == each_once(FEW)
    assert {one["status"] for one in server.store.documents.values()} == {"indexed"}


def test_documents_that_never_get_ready_are_not_waited_for_for_ever(server: Standin, tmp_path: Path) -> None:
    pending = b'{"document_id": "%s", "filename": "a.md", "status": "processing", "created_at": "2026-11-23T20:15:10Z"}'
    body = pending % b"12345678-1234-1234-1234-123456789012"
    server.misdeeds.append(Misdeed(status=200, body=body, path="/status$", times=None))
    limits = replace(QUICK, indexing_s=0.2)
    assert "not indexed yet" in failure(lambda: seeded(retriever(server, tmp_path, limits=limits))).message


def test_a_changed_text_of_the_instructions_has_a_new_version() -> None:
    """What was analysed under different instructions is not comparable: raise the version, then the hash here."""
    digest = hashlib.sha256(instructions().encode()).hexdigest()[:12]
    assert (instructions().split()[1], digest) == ("1", "5d5efdde5e7c")


def test_the_shipped_incidents_hold_nothing_that_is_taken_out() -> None:
    assert not [document.id for document in DOCUMENTS if "[redacted" in Sent.of(document).text]


def test_new_instructions_replace_those_of_an_older_version(server: Standin, tmp_path: Path) -> None:
    server.store.create_assistant({"name": "creamandonion", "system_prompt": "You are an older version."})
    server.store.create_assistant({"name": "another", "system_prompt": "You are somebody else."})
    retriever(server, tmp_path).prepare()
    prompts = {one["name"]: one["system_prompt"] for one in server.store.assistants.values()}
    assert prompts == {"creamandonion": instructions(), "another": "You are somebody else."}


def test_of_two_assistants_of_the_name_the_older_is_taken(server: Standin, tmp_path: Path) -> None:
    younger = server.store.create_assistant({"name": "creamandonion"})
    older = server.store.create_assistant({"name": "creamandonion"})
    older["created_at"] = "2026-01-01T00:00:00Z"
    retriever(server, tmp_path).prepare()
    assert len(server.store.memories[older["assistant_id"]]) == len(FEW)
    assert not server.store.memories[younger["assistant_id"]]


# searching


def test_passages_come_in_the_order_of_backboards_scores(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path, DOCUMENTS)
    one.prepare()
    found = one.retrieve(INCIDENT, 5)
    texts = {document.id: Sent.of(document).text for document in DOCUMENTS}
    scores = {name: alike(one.query(INCIDENT), text) for name, text in texts.items()}
    expected = sorted(scores, key=lambda name: (-scores[name], name))[:5]
    assert [passage.id for passage in found] == expected
    assert [passage.score for passage in found] == pytest.approx([scores[name] for name in expected])
    by_id = {document.id: document for document in DOCUMENTS}
    assert all(passage == by_id[passage.id].passage(passage.score) for passage in found)


def test_only_the_given_documents_are_passages_however_many_others_are_nearer(server: Standin, tmp_path: Path) -> None:
    lessons = tuple(replace(FEW[0], id=f"learned-{number}", body=INCIDENT.logs[0]) for number in range(20))
    retriever(server, tmp_path, (*DOCUMENTS, *lessons)).prepare()
    found = retriever(server, tmp_path, DOCUMENTS).retrieve(INCIDENT, 3)
    assert len(found) == 3
    assert {passage.id for passage in found} <= {document.id for document in DOCUMENTS}


def test_a_search_without_preparation_prepares(server: Standin, tmp_path: Path) -> None:
    assert retriever(server, tmp_path, DOCUMENTS).retrieve(INCIDENT, 3)


def test_a_question_without_end_is_cut(server: Standin, tmp_path: Path) -> None:
    endless = replace(INCIDENT, symptoms="slow answers " * 10_000, logs=("waiting " * 10_000,) * 500)
    one = retriever(server, tmp_path)
    one.retrieve(endless, 3)
    one.analyse(endless)
    assert len(one.query(endless)) <= 8_000
    assert all(len(str(request.body)) < 60_000 for request in server.requests)


def test_what_is_searched_for_is_what_the_record_says(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path)
    one.retrieve(INCIDENT, 3)
    [request] = [request for request in server.requests if request.path.endswith("/search")]
    assert request.body == {"query": one.query(INCIDENT), "limit": 3}


@pytest.mark.parametrize("score", ["NaN", '"near"', "[]", "null"])
def test_scores_that_are_no_numbers_are_told(server: Standin, tmp_path: Path, score: str) -> None:
    one = retriever(server, tmp_path)
    one.prepare()
    body = f'{{"memories": [{{"id": "1", "content": "", "metadata": {{}}, "score": {score}}}], "total_count": 1}}'
    server.misdeeds.append(Misdeed(status=200, body=body.encode(), path="/search"))
    assert "not in Backboard's protocol" in failure(lambda: one.retrieve(INCIDENT, 3)).message


@pytest.mark.parametrize("body", ["[]", "7", "{}", '{"memories": {"a": 1}}', '{"memories": [7]}', "null", ""])
def test_answers_of_another_shape_are_told(server: Standin, tmp_path: Path, body: str) -> None:
    one = retriever(server, tmp_path)
    one.prepare()
    server.misdeeds.append(Misdeed(status=200, body=body.encode(), path="/search"))
    failure(lambda: one.retrieve(INCIDENT, 3))
    server.misdeeds.append(Misdeed(status=200, body=body.encode(), path="/memories$"))
    failure(one.prepare)


def test_it_works_where_an_event_loop_runs_already(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path)

    async def notebook() -> int:
        return len(one.retrieve(INCIDENT, 2))

    assert asyncio.run(notebook()) == 2


# learning


def test_what_is_learnt_is_a_memory_a_document_and_a_file(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path)
    one.prepare()
    name = one.learn(INCIDENT, FIX)
    assert stored(server.store) == (sorted([*(document.id for document in FEW), name]), [name])
    [learnt] = load_corpus(tmp_path / "learned")
    assert learnt.id == name
    assert name in {passage.id for passage in one.retrieve(INCIDENT, 50)}
    assert one.learn(INCIDENT, FIX) == name
    assert stored(server.store)[1] == [name]


def test_what_did_not_help_is_learnt_as_such(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path)
    name = one.learn(INCIDENT, FIX, failed="still 40 of 40")
    [passage] = [passage for passage in one.retrieve(INCIDENT, 50) if passage.id == name]
    assert not passage.helped
    assert "Do not do this again" in server.store.documents[next(iter(server.store.documents))]["content"]


def test_a_frozen_knowledge_base_sends_nothing_of_what_is_learnt(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path, frozen=True)
    one.prepare()
    before = len(server.requests)
    assert one.learn(INCIDENT, FIX)
    assert len(server.requests) == before
    assert load_corpus(tmp_path / "learned")


def test_an_index_is_not_waited_for_when_something_is_learnt(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path)
    name = one.learn(INCIDENT, FIX)
    assert not [request for request in server.requests if request.path.endswith("/status")]
    assert {one["status"] for one in server.store.documents.values()} == {"pending"}
    assert name in {passage.id for passage in one.retrieve(INCIDENT, 50)}


def test_an_older_text_of_a_lesson_stays_until_the_new_one_is_indexed_and_no_longer(
    server: Standin, tmp_path: Path
) -> None:
    one = retriever(server, tmp_path)
    for number in range(4):
        one.learn(replace(INCIDENT, id=f"inc-{number}"), FIX)
        newest = list(server.store.documents)[-1]
        assert len(server.store.documents) <= 2
        if number != 1:  # the second is never indexed
            for _ in range(2):
                server.store.document_status(newest)
        assert "indexed" in {document["status"] for document in server.store.documents.values()}
    documents = (*FEW, *load_corpus(tmp_path / "learned"))
    seeded(retriever(server, tmp_path, documents))
    assert stored(server.store) == each_once(documents)


@pytest.mark.parametrize(
    "misdeed",
    [
        Misdeed(manner="drop", times=None),
        Misdeed(manner="hang", times=None),
        Misdeed(manner="hang", path="documents$", times=None),
        Misdeed(status=500, times=None),
        Misdeed(status=402, body=b'{"detail": "No credits left"}', path="memories$", times=None),
        Misdeed(status=401, body=b'{"detail": "The key %s is not valid"}' % KEY.encode(), times=None),
        quota("3600", times=None),
        page(times=None),
    ],
    ids=["dropped", "hanging", "an upload that hangs", "500", "402", "401", "429", "HTML"],
)
def test_what_could_not_be_sent_is_warned_of_and_sent_the_next_time(
    tmp_path: Path, misdeed: Misdeed, caplog: pytest.LogCaptureFixture
) -> None:
    with running(key=KEY) as server:
        one = retriever(server, tmp_path, limits=replace(QUICK, learn_s=1.0))
        one.prepare()
        server.misdeeds.append(misdeed)
        started_s = time.monotonic()
        name = one.learn(INCIDENT, FIX)
        assert time.monotonic() - started_s < 5
        [warning] = caplog.messages
        assert warning.startswith(f"{name} is kept in {tmp_path / 'learned'}, and not sent: Backboard: ")
        assert KEY not in warning
        server.misdeeds.clear()
        documents = (*FEW, *load_corpus(tmp_path / "learned"))
        assert documents[-1].id == name
        retriever(server, tmp_path, documents).prepare()
        assert stored(server.store)[0] == each_once(documents)[0]
        seeded(retriever(server, tmp_path, documents))
        assert stored(server.store) == each_once(documents)


def test_a_lesson_whose_upload_hangs_is_found_all_the_same(server: Standin, tmp_path: Path) -> None:
    server.misdeeds.append(Misdeed(manner="hang", path="documents$", times=None))
    one = retriever(server, tmp_path, limits=replace(QUICK, learn_s=1.0))
    name = one.learn(INCIDENT, FIX)
    assert name in {passage.id for passage in one.retrieve(INCIDENT, 50)}


def test_secrets_do_not_leave(server: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_TOKEN", "the-shops-own-secret-word")
    line = "FAULT_DB_TIMEOUT mail jane.doe@example.org the-shops-own-secret-word postgresql://shop:hunter2pass@db/shop"
    told = replace(INCIDENT, logs=(line,), symptoms=line)
    mine = replace(FEW[0], body=f"{FEW[0].body}\n{line}\n")
    one = retriever(server, tmp_path, (mine,))
    seeded(one)
    one.retrieve(told, 3)
    one.learn(told, replace(FIX, root_cause=line))
    one.analyse(told)
    sent = repr(server.requests)
    assert "FAULT_DB_TIMEOUT mail" in sent
    for secret in ("jane.doe", "the-shops-own-secret-word", "hunter2pass"):
        assert secret not in sent
        assert secret not in one.query(told)


# the assistant's own analysis


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "by polling"])
def test_the_assistant_answers_from_the_documents(server: Standin, tmp_path: Path, slow: bool) -> None:
    server.store.slow_answers = slow
    one = retriever(server, tmp_path, DOCUMENTS)
    seeded(one)
    analysis = one.analyse(INCIDENT)
    assert [line for line in analysis.text.splitlines() if line.startswith("## ")] == [
        "## Root cause",
        "## Remediation",
        "## Verification",
    ]
    assert analysis.documents
    assert set(analysis.documents) <= {document.id for document in DOCUMENTS}
    assert analysis.model == "stand-in-001"
    assert not server.store.threads  # what was asked does not stay
    [request] = [request for request in server.requests if request.path == "/threads/messages"]
    assert request.body["memory"] == "off"


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "REQUIRES_ACTION", "COMPLETED"])
def test_an_analysis_without_an_answer_is_told(server: Standin, tmp_path: Path, status: str) -> None:
    body = f'{{"messages": [{{"status": "{status}", "content": null}}]}}'
    server.misdeeds.append(Misdeed(status=200, body=body.encode(), path="/threads/messages"))
    assert status in failure(lambda: retriever(server, tmp_path).analyse(INCIDENT)).message
    assert not server.store.threads


def test_an_analysis_is_paid_for_once(server: Standin, tmp_path: Path) -> None:
    server.misdeeds.append(lost(path="/threads/messages"))
    failure(lambda: retriever(server, tmp_path).analyse(INCIDENT))
    assert sum(request.path == "/threads/messages" for request in server.requests) == 1


def test_an_analysis_that_never_gets_ready_ends_in_time(server: Standin, tmp_path: Path) -> None:
    server.misdeeds.append(Misdeed(manner="hang", path="/threads/messages"))
    one = retriever(server, tmp_path, limits=replace(QUICK, analysis_s=1.0))
    failure(lambda: one.analyse(INCIDENT))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("## Root cause\nthe pool\n## Remediation\nraise it\n", "the pool"),
        ("Well.\n\n### ROOT CAUSE:\n\nthe pool\nis small\n\n## Verification\n", "the pool\nis small"),
        ("## **Root cause**\nthe pool\n" + "## :" * 5_000, "the pool"),
        ("the pool", ""),
        ("", ""),
    ],
)
def test_an_analysis_is_read_by_its_headings(text: str, cause: str) -> None:
    assert Analysis(text=text, documents=(), model="").section("Root cause") == cause


# failures


def test_a_wrong_key_is_the_users_mistake_when_seeding_and_nobodys_in_a_trial(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path, key=KEY + "x")
    error = failure(lambda: seeded(one), InputError)
    assert "401" in error.message
    assert "BACKBOARD_API_KEY" in error.cure
    assert len(server.requests) == 0
    failure(one.prepare)
    failure(lambda: one.retrieve(INCIDENT, 3))


def test_an_assistant_that_is_gone_is_told_and_made_anew_at_the_next_search(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path)
    one.prepare()
    server.store.delete_assistant(next(iter(server.store.assistants)))
    assert "404" in failure(lambda: one.retrieve(INCIDENT, 3)).message
    assert one.retrieve(INCIDENT, 3)


@pytest.mark.parametrize(
    "misdeed",
    [
        quota("0"),
        quota(format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)),
        quota("soon"),
        Misdeed(status=500),
        Misdeed(status=503, body=b""),
        page(502),
        Misdeed(manner="drop"),
    ],
    ids=["429", "429 until a date", "429 without sense", "500", "503", "an HTML 502", "dropped"],
)
@pytest.mark.parametrize("path", ["^/assistants$", "memories$", "/search$"])
def test_what_passes_is_tried_again(tmp_path: Path, misdeed: Misdeed, path: str) -> None:
    with running([replace(misdeed, path=path)], key=KEY) as server:
        assert retriever(server, tmp_path).retrieve(INCIDENT, 3)
        assert server.misdeeds[0].times == 0
        assert stored(server.store) == (each_once(FEW)[0], [])


@pytest.mark.parametrize(
    ("misdeed", "said"),
    [
        (Misdeed(status=500, times=None), "HTTP 500: Internal Server Error"),
        (quota("0", times=None), "HTTP 429: Rate limit exceeded"),
        (Misdeed(manner="drop", times=None), "gave up after 3 tries"),
        (Misdeed(status=422, body=b'{"detail": [{"msg": "too long"}]}', times=None), "too long"),
        (Misdeed(status=402, body=b'{"detail": "No credits left"}', times=None), "No credits left"),
        (page(times=None), "not in Backboard's protocol"),
        (Misdeed(status=302, headers={"Location": "http://127.0.0.1:9/"}, body=b"", times=None), "protocol"),
        (Misdeed(status=500, body=b'{"detail": "%s\\nx\\u001b[2J"}' % KEY.encode(), times=None), "<key> x"),
    ],
    ids=["500", "429", "dropped", "422", "402", "HTML", "a redirect", "an echo of the key"],
)
def test_what_does_not_pass_is_told_in_one_line(tmp_path: Path, misdeed: Misdeed, said: str) -> None:
    with running(key=KEY) as server:
        one = retriever(server, tmp_path)
        one.prepare()
        server.misdeeds.append(misdeed)
        for work in (lambda: one.retrieve(INCIDENT, 3), one.prepare):
            assert said in failure(work).message


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with running([quota("1", path="/search$")], key=KEY) as server:
        one = retriever(server, tmp_path)
        one.prepare()
        started_s = time.monotonic()
        assert one.retrieve(INCIDENT, 3)
        assert time.monotonic() - started_s >= 1.0


def test_a_longer_wait_than_there_is_time_for_is_not_begun(tmp_path: Path) -> None:
    with running([quota("3600", path="/search$")], key=KEY) as server:
        assert "a wait of 3600.0 s is due" in failure(lambda: retriever(server, tmp_path).retrieve(INCIDENT, 3)).message


def test_a_server_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    with running([Misdeed(manner="hang", times=None)], key=KEY) as server:
        one = retriever(server, tmp_path, limits=replace(QUICK, request_s=0.2, search_s=0.5))
        failure(lambda: one.retrieve(INCIDENT, 3))


def test_a_server_that_is_not_there_is_told(server: Standin, tmp_path: Path) -> None:
    one = retriever(server, tmp_path, url="http://127.0.0.1:1/api")
    assert "Connection error" in failure(lambda: one.retrieve(INCIDENT, 3)).message


# the account


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "API key"),
        ({"BACKBOARD_API_KEY": " "}, "API key"),
        ({"BACKBOARD_API_KEY": f"{KEY}\nX-Other: 1"}, "BACKBOARD_API_KEY"),
        ({"BACKBOARD_API_KEY": KEY, "BACKBOARD_BASE_URL": "backboard.io"}, "BACKBOARD_BASE_URL"),
        ({"BACKBOARD_API_KEY": KEY, "BACKBOARD_BASE_URL": "http://[::1"}, "BACKBOARD_BASE_URL"),
        ({"BACKBOARD_API_KEY": KEY, "BACKBOARD_BASE_URL": "http://a:99999"}, "BACKBOARD_BASE_URL"),
        ({"BACKBOARD_API_KEY": KEY, "BACKBOARD_ASSISTANT": "x" * 256}, "BACKBOARD_ASSISTANT"),
    ],
)
def test_an_account_that_is_not_whole_is_the_users_mistake(environ: dict[str, str], named: str) -> None:
    assert named in failure(lambda: Account.read(environ), InputError).message


def test_the_account_is_the_environments() -> None:
    account = Account.read({"BACKBOARD_API_KEY": f" {KEY}\n", "BACKBOARD_ASSISTANT": "mine"})
    assert account == Account(key=KEY, base_url="https://app.backboard.io/api", assistant="mine")
    assert KEY not in repr(account)


# the commands


def environment(server: Standin) -> dict[str, str]:
    return {"BACKBOARD_API_KEY": KEY, "BACKBOARD_BASE_URL": server.url}


def run_command(command: click.Command, *words: str, env: dict[str, str]) -> tuple[int, str]:
    result = CliRunner().invoke(command, words, env={**dict.fromkeys(ACCOUNT), **env})
    assert KEY not in result.output
    return result.exit_code, result.output


def test_kb_seed_tells_what_it_did(server: Standin) -> None:
    words = ("seed", "--kb", str(ROOT / "kb"))
    code, output = run_command(kb.command, *words, env=environment(server))
    lines = output.splitlines()
    assert code == 0
    assert lines[0].split() == [f"1/{len(DOCUMENTS)}", "new", DOCUMENTS[0].id]
    assert lines[-1] == f"{len(DOCUMENTS)} incidents: {len(DOCUMENTS)} new, 0 changed, 0 kept; all are indexed"
    code, output = run_command(kb.command, *words, env=environment(server))
    assert output.splitlines()[-1].endswith(f"0 new, 0 changed, {len(DOCUMENTS)} kept; all are indexed")


def test_kb_seed_ends_with_the_code_of_its_failure(server: Standin) -> None:
    words = ("seed", "--kb", str(ROOT / "kb"))
    code, output = run_command(kb.command, *words, env={})
    assert (code, "set BACKBOARD_API_KEY" in output) == (2, True)
    code, output = run_command(kb.command, *words, env={**environment(server), "BACKBOARD_API_KEY": "wrong"})
    assert (code, "check BACKBOARD_API_KEY" in output) == (2, True)
    server.misdeeds.append(Misdeed(status=402, body=b'{"detail": "No credits left"}', times=None))
    code, output = run_command(kb.command, *words, env=environment(server))
    assert (code, "No credits left" in output) == (3, True)


def journal(folder: Path, told: Iterable[Event]) -> Path:
    with Journal(folder) as sink:
        for event in told:
            sink(event)
    return folder


def test_kb_analyse_tells_what_the_assistant_makes_of_a_trials_incident(server: Standin, tmp_path: Path) -> None:
    folder = journal(tmp_path / "trial", events.healed())
    seeded(retriever(server, tmp_path, DOCUMENTS))
    code, output = run_command(kb_analyse.command, str(folder), env=environment(server))
    assert code == 0
    for heading in ("## Root cause", "## Remediation", "## Verification"):
        assert f"\n{heading}\n" in output
    code, printed = run_command(kb_analyse.command, "--json", str(folder), env=environment(server))
    told = json.loads(printed)
    assert (code, told["incident"]) == (0, events.incident().id)
    assert all(told[part] for part in ("root_cause", "remediation", "verification"))
    assert told["documents"] and set(told["documents"]) <= {document.id for document in DOCUMENTS}
    assert f"retrieved: {', '.join(told['documents'])}\nanswered by: stand-in-001\n" in output


def test_kb_analyse_says_what_is_missing(server: Standin, tmp_path: Path) -> None:
    folder = journal(tmp_path / "trial", events.healed())
    calm = journal(tmp_path / "calm", [events.started()])

    def failed(words: Path, env: dict[str, str]) -> str:
        result = CliRunner().invoke(kb_analyse.command, [str(words)], env={**dict.fromkeys(ACCOUNT), **env})
        assert isinstance(result.exception, InputError)
        return str(result.exception)

    assert "BACKBOARD_API_KEY" in failed(folder, {})
    assert "check BACKBOARD_API_KEY" in failed(folder, {**environment(server), "BACKBOARD_API_KEY": "wrong"})
    assert "holds no incident" in failed(calm, environment(server))
    assert "holds no events.jsonl" in failed(tmp_path, environment(server))
    code, output = run_command(kb_analyse.command, str(folder), env=environment(server))
    assert (code, "retrieved: nothing; harness kb seed" in output) == (0, True)


def test_what_the_assistant_says_cannot_play_with_the_terminal(server: Standin, tmp_path: Path) -> None:
    folder = journal(tmp_path / "trial", events.healed())
    body = {"messages": [{"status": "COMPLETED", "content": events.HOSTILE, "retrieved_files": ["\x1b[2Ja.md"]}]}
    server.misdeeds.append(Misdeed(status=200, body=json.dumps(body).encode(), path="/threads/messages"))
    code, output = run_command(kb_analyse.command, str(folder), env=environment(server))
    assert (code, "\x1b" in output, "retrieved: a.md" in output) == (0, False, True)


def test_flask_runs_it_as_a_command_of_its_own(
    server: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flask finds commands by entry points of installed distributions: a folder on the path with metadata is one."""
    metadata = tmp_path / "seedable-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: seedable\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[flask.commands]\nseed-kb = harness.cli.kb:seed\n")
    monkeypatch.syspath_prepend(tmp_path)
    group = FlaskGroup()
    code, output = run_command(group, "seed-kb", "--kb", str(ROOT / "kb"), env=environment(server))
    assert (code, output.splitlines()[-1].endswith("all are indexed")) == (0, True)
    code, output = run_command(group, "seed-kb", "--kb", str(ROOT / "kb"), env={})
    assert (code, "error: Backboard needs an API key" in output) == (2, True)


def test_the_sdk_is_imported_where_it_is_used() -> None:
    code = "import sys, harness.cli.kb, harness.retrieval.backboard.retriever; print('backboard' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_missing_sdk_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['backboard'] = None\n"
        "from pathlib import Path; from harness.retrieval.backboard.retriever import BackboardRetriever\n"
        "BackboardRetriever((), learned=Path('x'))"
    )
    env = {"PATH": os.environ["PATH"], "BACKBOARD_API_KEY": KEY}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert "pip install -e '.[backboard]'" in done.stderr


def test_the_stand_in_can_be_started_by_hand() -> None:
    command = [sys.executable, "-m", "harness.retrieval.backboard.standin", "--misdeed", "quota"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert re.fullmatch(r"BACKBOARD_BASE_URL=http://127\.0\.0\.1:\d+/api BACKBOARD_API_KEY=any\n", line)
    assert process.returncode == 0
