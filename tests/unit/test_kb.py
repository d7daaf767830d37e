"""``harness kb list``, ``retire`` and ``eval``: what they print, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.kb import command
from harness.errors import InputError
from harness.retrieval.base import folder_of, load_base

KB = Path(__file__).resolve().parents[2] / "kb"


def ran(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def refused(*words: object) -> InputError:
    error = ran(*words).exception
    assert isinstance(error, InputError)
    return error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four documents, two scenarios on dev and one on test."""
    kb = tmp_path / "kb"
    (kb / "evaluation").mkdir(parents=True)
    for name in ("db-001", "mem-001", "queue-001", "sql-004"):
        (file,) = KB.glob(f"{name}-*.md")
        shutil.copy(file, kb)
    judgments = {
        name: {"split": split, "cause": "c", "documents": {document: {"grade": 3, "why": "same"}}}
        for name, split, document in (("a", "dev", "db-001"), ("b", "dev", "mem-001"), ("c", "test", "queue-001"))
    }
    (kb / "evaluation" / "judgments.yml").write_text(json.dumps(judgments))
    (kb / "evaluation" / "origins.json").write_text(json.dumps({"t001": "a", "t002": "b", "t003": "c"}))
    queries = [
        {"id": "q001", "split": "dev", "trial": "t001", "form": "symptoms", "symptoms": "QueuePool limit reached"},
        {"id": "q002", "split": "dev", "trial": "t002", "form": "symptoms", "symptoms": "a comma before FROM"},
        {"id": "q003", "split": "test", "trial": "t003", "form": "symptoms", "symptoms": "label printing stood still"},
    ]
    (kb / "evaluation" / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    return kb


def test_each_subcommand_has_an_example() -> None:
    for name in command.commands:
        assert f"harness kb {name}" in ran(name, "--help").output, name


def test_the_arms_of_dev_stand_side_by_side(folder: Path) -> None:
    result = ran("eval", "--kb", folder, "--retriever", "lexical", "--retriever", "none")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "dev: 2 queries from 2 trials of 2 scenarios"
    lexical, none = (next(line.split() for line in lines if line.startswith(name)) for name in ("lexical ", "none "))
    assert float(lexical[1]) > float(none[1]) == 0
    (compared,) = [line for line in lines if line.startswith("lexical over none: +")]
    assert "of 2 scenarios: too few to tell" in compared
    assert max(map(len, lines)) <= 100
    assert "lexical: preparing, then 2 queries" in result.stderr


def test_test_is_asked_only_for_its_own(folder: Path) -> None:
    found = json.loads(ran("eval", "--kb", folder, "--retriever", "lexical", "--split", "test", "--json").stdout)
    (arm,) = found["arms"]
    assert (found["split"], found["queries"], found["scenarios"]) == ("test", 1, 1)
    assert arm["means"]["MRR"] == {"value": 1.0, "low": None, "high": None}, "one scenario has no interval"


def test_all_has_both_splits(folder: Path) -> None:
    assert (
        json.loads(ran("eval", "--kb", folder, "--retriever", "none", "--split", "all", "--json").stdout)["queries"]
        == 3
    )


def test_a_split_without_queries_is_refused(folder: Path) -> None:
    file = folder / "evaluation" / "queries.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    assert "holds no query of test" in str(refused("eval", "--kb", folder, "--split", "test"))


def test_learnt_and_retired_ones_are_marked(folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    added = folder_of(results, "team")
    added.mkdir(parents=True)
    text = next(folder.glob("db-001-*")).read_text()
    (added / "learned-1-x.md").write_text(text.replace("id: db-001", "id: learned-1", 1))
    assert (
        ran(
            "retire", "sql-004", "--name", "team", "--why", "it was\nwrong", "--results", results, "--kb", folder
        ).exit_code
        == 0
    )
    listed = {
        line.split()[0]: line
        for line in ran("list", "--kb", folder, "--results", results, "--name", "team").stdout.splitlines()
    }
    assert [name for name, line in listed.items() if line.endswith("[learnt]")] == ["learned-1"]
    assert [name for name, line in listed.items() if line.endswith("[retired]")] == ["sql-004"]
    assert "FAULT_DB_TIMEOUT" in listed["db-001"] and "Blocking statements" in listed["db-001"]
    searched = {document.id for document in load_base(folder, added, learned=added).documents}
    assert searched == {"db-001", "mem-001", "queue-001", "learned-1"}
    assert "it was wrong" in (added / "retired.txt").read_text()
    assert "retired" not in ran("list", "--kb", folder).stdout, "another base still searches it"


def test_what_is_not_there_or_has_no_reason_is_not_retired(folder: Path, tmp_path: Path) -> None:
    common = ("--name", "team", "--results", tmp_path, "--kb", folder)
    unknown = refused("retire", "sql-999", "--why", "w", *common)
    assert "sql-999" in str(unknown) and "harness kb list" in str(unknown)
    assert "no reason" in str(refused("retire", "sql-004", "--why", " ", *common))
    assert "no name" in str(refused("retire", "sql-004", "--why", "w", "--name", "../x", "--kb", folder))
    assert not folder_of(tmp_path, "team").exists()
