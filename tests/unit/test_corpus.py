"""The shipped knowledge base, and what is said about a document that is wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.fixing.remedies import REMEDIES
from harness.retrieval.corpus import Document, load_corpus

KB = Path(__file__).parents[2] / "kb"
MARKERS = ("FAULT_SQL_INJECTION_TEST", "FAULT_EXTERNAL_API_LATENCY", "FAULT_DB_TIMEOUT")
SECTIONS = "".join(
    f"## {name}\n\nText.\n\n" for name in ("Symptoms", "Breadcrumbs", "Root cause", "Remediation", "Verification")
)
FRONT = """\
---
id: one-001
title: Something broke
error_code: FAULT_DB_TIMEOUT
service: somewhere
date: 2026-01-31
tags: [database]
remedies:
  - {name: statement_timeout, parameters: {ms: 500, strict: true}}
---
"""


@pytest.fixture(scope="module")
def shipped() -> tuple[Document, ...]:
    return load_corpus(KB)


def test_each_marker_has_five_incidents_and_others_have_none(shipped: tuple[Document, ...]) -> None:
    counts = Counter(document.error_code for document in shipped)
    assert counts.keys() == {*MARKERS, "SLO_BURN"} and min(counts.values()) >= 5


def test_log_lines_are_json_and_bear_the_documents_own_marker(shipped: tuple[Document, ...]) -> None:
    for document in shipped:
        lines = re.findall(r"^\{.*\}$", document.body, re.MULTILINE)
        assert len(lines) >= 2, document.id
        markers = {document.error_code} & set(MARKERS)
        assert all(any(marker in json.loads(line)["message"] for line in lines) for marker in markers), document.id
        assert set(re.findall(r"FAULT_\w+", document.body)) == markers, document.id


def test_every_remedy_exists_and_some_documents_have_none(shipped: tuple[Document, ...]) -> None:
    recommended = [{remedy.name for remedy in document.remedies} for document in shipped]
    assert set().union(*recommended) == set(REMEDIES)
    assert recommended.count(set()) >= 5


def test_a_passage_carries_text_and_remedies(tmp_path: Path) -> None:
    (tmp_path / "one-001-it-broke.md").write_text(FRONT + SECTIONS)
    (tmp_path / "README.md").write_text("about this folder")
    (document,) = load_corpus(tmp_path)
    passage = document.passage(1.5)
    assert (passage.id, passage.score) == ("one-001", 1.5)
    assert "FAULT_DB_TIMEOUT in somewhere, 2026-01-31" in passage.text
    assert "## Root cause" in passage.text
    assert passage.remedies[0].parameters == {"ms": 500, "strict": True}
    assert passage.remedies[0].parameters["strict"] is True


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no front matter", r"one-001\.md:1: the front matter is missing"),
        (FRONT.replace("error_code: FAULT", "error_code: fault"), r"one-001\.md:4: error_code: "),
        (FRONT.replace("tags: [database]", "labels: [database]"), r"one-001\.md:7: labels: Extra inputs"),
        (FRONT.replace("{ms: 500, strict: true}", "{ms: [500]}"), r"one-001\.md:9: remedies\.0\.parameters\.ms"),
        (FRONT.replace("2026-01-31", "the 31st"), r"one-001\.md:6: date: "),
        (FRONT.replace("title: Something", "title: 'Something"), r"one-001\.md:\d+: the front matter is no YAML"),
        (FRONT.replace("service: somewhere\n", ""), r"one-001\.md:2: service: Field required"),
        (FRONT.replace("one-001", "two-002"), r"one-001\.md:1: id: the file name"),
    ],
)
def test_a_wrong_front_matter_is_named_by_file_line_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "one-001.md").write_text(text + SECTIONS)
    with pytest.raises(InputError, match=complaint) as caught:
        load_corpus(tmp_path)
    assert caught.value.cure


@pytest.mark.parametrize("sections", ["", SECTIONS.replace("## Root cause", "## Cause"), SECTIONS + "## Notes\n"])
def test_sections_are_demanded(tmp_path: Path, sections: str) -> None:
    (tmp_path / "one-001.md").write_text(FRONT + sections)
    with pytest.raises(InputError, match=r"one-001\.md:10: the sections are "):
        load_corpus(tmp_path)


def test_an_id_is_given_once(tmp_path: Path) -> None:
    for name in ("one-001-a.md", "one-001-b.md"):
        (tmp_path / name).write_text(FRONT + SECTIONS)
    with pytest.raises(InputError, match=r"one-001-b\.md:1: id: 'one-001' is taken"):
        load_corpus(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_corpus(tmp_path / "kb")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "one-001.md").write_bytes(b"---\n\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        load_corpus(tmp_path)
