"""The fixer that does what the knowledge base says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.fixing.guard import apply
from harness.fixing.playbook import PlaybookFixer
from harness.model.fix import Attempt, AttemptOutcome, Fix, WriteFile
from harness.model.incident import Incident, Passage, Remedy
from harness.model.source import SourceTree
from harness.retrieval.corpus import load_corpus
from harness.retrieval.learning import learnt_document
from harness.retrieval.lexical import LexicalRetriever

KB = Path(__file__).parents[2] / "kb"
ENGINE = "from sqlalchemy import create_engine\n\nengine = create_engine(URL)\n"
CALL = "import httpx\n\n\ndef ask(url):\n    return httpx.get(url, timeout=None)\n"
TREE = SourceTree(files={"app/__init__.py": "", "app/db.py": ENGINE, "app/ask.py": CALL, "README.md": "text"})
INCIDENT = Incident(
    id="inc-1",
    error_code="FAULT_DB_TIMEOUT",
    symptoms="browse: 40 of 40 requests failed",
    breadcrumbs=(),
    logs=(),
    window=None,
    detected_at="2026-11-23T20:15:10+00:00",
)
STATEMENT = Remedy(name="statement_timeout", parameters={"ms": 500})
UPSTREAM = Remedy(name="bound_upstream_calls", parameters={"timeout_s": 1.0, "failures": 3, "cooldown_s": 30})
UNKNOWN = Remedy(name="reboot_the_universe", parameters={})
SELECT = Remedy(name="select_columns", parameters={})
BODY = """{code} in somewhere

## Symptoms

Slow.

## Breadcrumbs

- none

## Root cause

No limit.

## Remediation

1. Set a limit.

## Verification

1. Ask `SHOW statement_timeout`,
   twice.
2. Reads are fast.
"""


def passage(number: int, *remedies: Remedy, code: str = "FAULT_DB_TIMEOUT") -> Passage:
    return Passage(id=f"p{number}", title=f"Title {number}", text=BODY.format(code=code), score=1.0, remedies=remedies)


def propose(*passages: Passage, earlier: tuple[Attempt, ...] = (), tree: SourceTree = TREE) -> Fix:
    fix = PlaybookFixer().propose(INCIDENT, passages, tree, earlier)
    assert fix == PlaybookFixer().propose(INCIDENT, passages, tree, earlier)
    assert fix.model == "playbook-1"
    return fix


def attempt(fix: Fix, outcome: AttemptOutcome = "not_recovered") -> Attempt:
    return Attempt(number=1, outcome=outcome, reason="", fix=fix)


def test_the_best_passage_with_a_remedy_that_changes_something_wins() -> None:
    fix = propose(passage(1), passage(2, UNKNOWN), passage(3, SELECT), passage(4, STATEMENT), passage(5, UPSTREAM))
    assert [edit.path for edit in fix.edits] == ["app/db.py"]
    assert "statement_timeout=500" in apply(TREE, fix).files["app/db.py"]
    assert fix.root_cause == "As in p4: No limit."
    assert fix.verification == ("Ask `SHOW statement_timeout`, twice.", "Reads are fast.")
    assert fix.remediation.splitlines()[0] == "Remedy applied: statement_timeout ms=500"
    assert "As in p4: Title 4" in fix.remediation
    assert "1. Set a limit." in fix.remediation


def test_all_remedies_of_one_passage_are_applied_together() -> None:
    fix = propose(passage(1, STATEMENT, SELECT, UPSTREAM))
    assert [edit.path for edit in fix.edits] == ["app/ask.py", "app/db.py", "app/upstream_guard.py"]
    assert "select_columns" not in fix.remediation  # it changed nothing
    assert set(apply(TREE, fix).files) == {*TREE.files, "app/upstream_guard.py"}


def test_remedies_build_on_each_other_in_one_file() -> None:
    tree = SourceTree(files={"app.py": ENGINE + CALL})
    (edit, _guard) = propose(passage(1, STATEMENT, UPSTREAM), tree=tree).edits
    assert isinstance(edit, WriteFile)
    assert "statement_timeout=500" in edit.content
    assert "guarded(" in edit.content


def test_what_failed_before_is_not_tried_again() -> None:
    passages = (passage(1, STATEMENT), passage(2, STATEMENT), passage(3, UPSTREAM))
    first = propose(*passages)
    second = propose(*passages, earlier=(attempt(first),))
    assert "bound_upstream_calls" in second.remediation
    third = propose(*passages, earlier=(attempt(first), attempt(second, "canary_failed")))
    assert third.abstains
    assert "tried before without recovery" in third.root_cause


def test_other_parameters_are_another_try() -> None:
    milder = Remedy(name="statement_timeout", parameters={"ms": 250})
    first = propose(passage(1, STATEMENT), passage(2, milder))
    assert "ms=250" in propose(passage(1, STATEMENT), passage(2, milder), earlier=(attempt(first),)).remediation


@pytest.mark.parametrize(
    ("passages", "reason"),
    [
        ((), "No past incident resembles"),
        ((passage(1), passage(2)), "None of the 2 past incidents found has an automatic remedy"),
        ((passage(1, SELECT), passage(2, UNKNOWN)), "reboot_the_universe, select_columns: nothing in the code matches"),
    ],
)
def test_it_abstains_with_the_reason(passages: tuple[Passage, ...], reason: str) -> None:
    fix = propose(*passages)
    assert fix.abstains
    assert reason in fix.root_cause
    assert fix.confidence is None


def test_protected_code_is_not_touched() -> None:
    assert propose(passage(1, STATEMENT), tree=SourceTree(files=TREE.files, protected=("app/**",))).abstains


def test_confidence_rises_with_agreement_and_the_code_and_falls_with_failures() -> None:
    def confidence(*passages: Passage, earlier: tuple[Attempt, ...] = ()) -> float:
        value = propose(*passages, earlier=earlier).confidence
        assert value is not None
        assert 0 <= value <= 1
        return value

    alone, other = passage(1, STATEMENT), passage(2, UPSTREAM)
    stranger = passage(1, STATEMENT, code="FAULT_OTHER")
    assert confidence(alone) == pytest.approx(0.9)
    assert confidence(alone, passage(2)) == pytest.approx(0.9)  # it advises nothing
    assert confidence(alone, other) == pytest.approx(0.75)
    assert confidence(stranger) == pytest.approx(0.5)
    failed = attempt(Fix(root_cause="another fixer's", edits=(WriteFile(path="x", content=""),)))
    assert confidence(alone, earlier=(failed,)) == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [("FAULT_DB_TIMEOUT", "statement_timeout"), ("FAULT_EXTERNAL_API_LATENCY", "bound_upstream_calls")],
)
def test_the_shipped_knowledge_base_leads_to_a_change(tmp_path: Path, code: str, remedy: str) -> None:
    retriever = LexicalRetriever(load_corpus(KB), learned=tmp_path)
    incident = Incident(
        id="i", error_code=code, symptoms="slow", breadcrumbs=(), logs=(), window=None, detected_at=INCIDENT.detected_at
    )
    fix = PlaybookFixer().propose(incident, retriever.retrieve(incident, 5), TREE, ())
    assert fix.remediation.startswith(f"Remedy applied: {remedy} ")
    assert apply(TREE, fix).files != TREE.files


def test_what_it_did_can_be_learnt_and_done_again() -> None:
    fix = propose(passage(1, STATEMENT))
    document, _ = learnt_document(INCIDENT, fix, known=[UPSTREAM, STATEMENT])
    assert document.remedies == (STATEMENT,)
    assert propose(document.passage(9.0), passage(2, UPSTREAM)).edits == fix.edits


def test_what_is_known_to_have_failed_for_this_error_is_not_done() -> None:
    failed, elsewhere = (replace(passage(2, STATEMENT, code=code), helped=False) for code in ("FAULT_DB_TIMEOUT", "X"))
    assert propose(passage(1, STATEMENT), elsewhere).edits
    fix = propose(passage(1, STATEMENT), failed)
    assert fix.abstains and "tried before" in fix.root_cause
    assert propose(failed).abstains, "what did not help is no advice"
