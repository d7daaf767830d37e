"""Tables for others: all that is in them, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped] # it publishes no types
import pytest
from click.testing import CliRunner

from harness.cli.export import command
from harness.errors import InputError
from harness.experiment.export import ATTEMPTS, TRIALS, WINDOWS, export
from harness.experiment.results import TrialRow, append
from harness.model.event import TrialEnded
from harness.model.verdict import Outcome
from harness.sinks.journal import Journal
from tests import events as sample
from tests.rows import row


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two trials with their folders, one of which was INVALID first; one whose folder is gone."""
    folder = tmp_path / "sweep"
    for name, events in (("healed", sample.healed()), ("again", sample.invalid())):
        trial = replace(sample.trial(), id=name)
        (folder / name).mkdir(parents=True)
        with Journal(folder / name) as journal:
            for event in events:
                if isinstance(event, TrialEnded):
                    event = replace(event, verdict=replace(event.verdict, trial=trial))
                journal(event)
    append(folder, replace(row("pool", "a", 1, Outcome.INVALID), trial="again"))
    append(folder, replace(row("pool", "a", 1), trial="healed"))
    append(folder, replace(row("sql", "a", 1), trial="gone"))
    return folder


def test_all_trials_are_in_it_and_those_that_count_are_told(sweep: Path, tmp_path: Path) -> None:
    done = export([sweep], tmp_path / "out")
    trials = pd.read_parquet(tmp_path / "out" / "trials.parquet")
    assert list(trials["trial"]) == ["again", "healed", "gone"]
    assert list(trials["counted"]) == [False, True, True]
    assert list(trials["outcome"]) == ["INVALID", "HEALED", "HEALED"]
    assert done.rows["trials"] == 3


def test_attempts_and_windows_are_those_of_the_journals(sweep: Path, tmp_path: Path) -> None:
    export([sweep], tmp_path / "out")
    attempts = pd.read_parquet(tmp_path / "out" / "attempts.parquet")
    assert list(attempts[attempts["trial"] == "healed"]["number"]) == [1, 2]
    windows = pd.read_parquet(tmp_path / "out" / "windows.parquet")
    of_one = windows[windows["trial"] == "healed"]
    assert set(of_one["route"]) == {"browse", "checkout"}
    assert len(of_one) == 2 * of_one["window"].nunique()
    assert (of_one["ok"] >= 0).all()


def test_every_column_is_described_and_no_other(sweep: Path, tmp_path: Path) -> None:
    export([sweep], tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for name, columns in (("trials", TRIALS), ("attempts", ATTEMPTS), ("windows", WINDOWS)):
        assert list(pd.read_parquet(tmp_path / "out" / f"{name}.parquet").columns) == list(columns)
        assert all(f"| `{column}` | {what} |" in card for column, what in columns.items())
    assert set(TRIALS) == {field.name for field in fields(TrialRow)} | {"counted"}
    assert "HEALED 2, INVALID 1" in card


def test_what_is_there_is_not_overwritten(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(InputError, match="is not empty"):
        export([sweep], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_folder_without_trials_is_told(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no trial that has ended"):
        export([tmp_path / "none"], tmp_path / "out")


def test_by_the_command_line(sweep: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(sweep), "--to", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0
    assert "trials.parquet: 3 rows" in done.output
