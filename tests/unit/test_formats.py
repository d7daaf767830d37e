"""What earlier versions wrote is still read: a fixture for each version of a format."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema  # type: ignore[import-untyped] # it has no types of its own
import pytest
from pydantic import TypeAdapter

from harness.errors import InputError
from harness.experiment.lines import read_rows
from harness.experiment.rejudge import rejudge
from harness.experiment.results import VERSION as ROWS_VERSION
from harness.experiment.results import TrialRow, rows
from harness.experiment.schemas import schemas, write
from harness.model.event import TrialEnded
from harness.model.verdict import Outcome
from harness.sinks.journal import VERSION, Journal, read_events, read_verdict, read_windows
from tests import events as sample

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
JOURNALS = sorted(FIXTURES.glob("journal-*"))
ROWS = sorted(FIXTURES.glob("trials-*.jsonl"))


def test_every_version_has_a_fixture() -> None:
    assert [path.name for path in JOURNALS] == [f"journal-{number}" for number in range(2, VERSION + 1)]
    newest = TypeAdapter(TrialRow).validate_json(ROWS[-1].read_bytes().splitlines()[0])
    assert newest.version == ROWS_VERSION == len(ROWS)


@pytest.mark.parametrize("folder", JOURNALS, ids=lambda path: path.name)
def test_a_journal_is_read_and_judged_again(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / folder.name)
    events = list(read_events(tmp_path / folder.name))
    assert isinstance(events[-1], TrialEnded)
    assert events[-1].verdict == read_verdict(tmp_path / folder.name)
    assert len(list(read_windows(tmp_path / folder.name))) > 5
    again = rejudge(tmp_path / folder.name)
    assert again.outcome is Outcome.HEALED
    assert replace(again, judge="") == replace(events[-1].verdict, judge="")


def test_the_schemas_are_the_code_s(tmp_path: Path) -> None:
    made = write(tmp_path)
    known = sorted((ROOT / "docs" / "schemas").iterdir())
    assert [path.name for path in known] == sorted(path.name for path in made)
    for path in made:
        assert path.read_text() == (ROOT / "docs" / "schemas" / path.name).read_text(), "run: make schema"


def test_what_is_written_has_the_shape_that_is_told(tmp_path: Path) -> None:
    valid = {name: jsonschema.Draft202012Validator(schema) for name, schema in schemas().items()}
    with Journal(tmp_path) as journal:
        for event in sample.every_type():
            journal(event)
    lines = {f"event-{VERSION}": "events.jsonl", f"window-{VERSION}": "settled.jsonl"}
    for folder in (tmp_path, JOURNALS[-1]):
        for name, file in lines.items():
            for line in (folder / file).read_text().splitlines():
                valid[name].validate(json.loads(line))
        valid[f"verdict-{VERSION}"].validate(json.loads((folder / "verdict.json").read_text()))
    valid[f"trial-{ROWS_VERSION}"].validate(json.loads(ROWS[-1].read_text().splitlines()[0]))
    with pytest.raises(jsonschema.ValidationError):
        valid[f"event-{VERSION}"].validate({"type": "TrialFailed", "at_s": 1.0, "reason": "no version"})
    with pytest.raises(jsonschema.ValidationError):
        valid[f"verdict-{VERSION}"].validate({"outcome": "WON"})


@pytest.mark.parametrize("file", ROWS, ids=lambda path: path.name)
def test_a_row_of_a_sweep_is_read(file: Path) -> None:
    (row,) = read_rows(file, TypeAdapter(TrialRow), "a sweep")
    assert (row.scenario, row.measured, row.retriever) == ("slow_export", True, "none")
    assert (row.live_fixes is None) is (row.version == 1)


def test_a_row_of_a_later_harness_is_refused(tmp_path: Path) -> None:
    row = json.loads(ROWS[-1].read_text().splitlines()[0]) | {"version": ROWS_VERSION + 1, "what_is_new": 1}
    (tmp_path / "trials.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=f"is a row of version {ROWS_VERSION + 1}; this program reads up to"):
        rows(tmp_path)
