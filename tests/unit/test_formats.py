"""What earlier versions wrote is still read: a fixture for each version of a format."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from harness.experiment.lines import read_rows
from harness.experiment.rejudge import rejudge
from harness.experiment.results import TrialRow
from harness.model.event import TrialEnded
from harness.model.verdict import Outcome
from harness.sinks.journal import VERSION, read_events, read_verdict, read_windows

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
JOURNALS = sorted(FIXTURES.glob("journal-*"))
ROWS = sorted(FIXTURES.glob("trials-*.jsonl"))


def test_every_version_has_a_fixture() -> None:
    assert [path.name for path in JOURNALS] == [f"journal-{number}" for number in range(2, VERSION + 1)]
    newest = TypeAdapter(TrialRow).validate_json(ROWS[-1].read_bytes().splitlines()[0])
    assert newest.version == TrialRow.__dataclass_fields__["version"].default == len(ROWS)


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


@pytest.mark.parametrize("file", ROWS, ids=lambda path: path.name)
def test_a_row_of_a_sweep_is_read(file: Path) -> None:
    (row,) = read_rows(file, TypeAdapter(TrialRow), "a sweep")
    assert (row.scenario, row.measured, row.retriever) == ("slow_export", True, "none")
