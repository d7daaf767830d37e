"""Retrieval by a service: the promises of test_retriever.py hold for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ports import Retriever
from harness.retrieval.backboard import standin as backboard_standin
from harness.retrieval.backboard.calls import Account, Limits
from harness.retrieval.backboard.retriever import BackboardRetriever
from tests.contract import test_retriever as suite

# the SDK's models configure pydantic in the way of its version 1
pytestmark = pytest.mark.filterwarnings("ignore:Support for class-based:DeprecationWarning")


@pytest.fixture(params=["backboard"])
def retriever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Retriever]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # the SDK asks the environment for a way to this machine too
    with backboard_standin.running() as server:
        account = Account(key="any", base_url=server.url)
        limits = Limits(poll_s=0.01)
        yield BackboardRetriever(suite.DOCUMENTS, learned=tmp_path / "learned", account=account, limits=limits)


test_it_has_the_name_by_which_it_is_chosen = suite.test_it_has_the_name_by_which_it_is_chosen
test_at_most_limit_passages_each_once_best_first = suite.test_at_most_limit_passages_each_once_best_first
test_the_same_question_has_the_same_answer = suite.test_the_same_question_has_the_same_answer
test_what_was_learnt_is_found_or_no_id_is_claimed = suite.test_what_was_learnt_is_found_or_no_id_is_claimed
test_learning_again_keeps_one_document = suite.test_learning_again_keeps_one_document
test_an_empty_incident_is_no_error = suite.test_an_empty_incident_is_no_error


def test_every_promise_is_held_against_it() -> None:
    assert {name for name in vars(suite) if name.startswith("test_")} <= set(globals())
