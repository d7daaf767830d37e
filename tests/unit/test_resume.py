"""A harness that was killed anywhere: what its journal tells is judged, recorded, and never twice."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.errors import InputError
from harness.experiment.rejudge import rejudge
from harness.experiment.resume import ended, resume, unfinished
from harness.fixing.scripted import ScriptedFixer
from harness.incidents.database import engine
from harness.incidents.record import IncidentRecord
from harness.model.event import PhaseStarted, TrialEnded, TrialInterrupted
from harness.model.scenario import Scenario
from harness.model.verdict import Outcome, Verdict
from harness.services.postgres import postgres_running
from harness.services.supervisor import Supervisor
from harness.settings import Settings
from harness.sinks.journal import Journal, read_events, read_verdict
from tests.world import WEAK, Simulation, fix, scenario

SETTINGS = Settings(database_url=None, redis_url=None, has_gemini_key=False)


def journaled(folder: Path) -> Verdict:
    """A whole trial, simulated, as its journal tells it."""
    simulation = Simulation(ScriptedFixer([fix(WEAK + "# no\n"), fix()]))
    with Journal(folder) as journal:
        simulation.emit = journal
        verdict = simulation.run()
    (folder / "scenario.yml").write_text(as_yaml(simulation.scenario))
    return verdict


def as_yaml(spec: Scenario) -> str:
    return yaml.safe_dump(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def killed(whole: Path, folder: Path, *, at: int) -> Path:
    """The folder as a kill leaves it after so many bytes of the journal."""
    folder.mkdir(parents=True)
    for name in ("scenario.yml", "windows.jsonl"):
        (folder / name).write_bytes((whole / name).read_bytes())
    (folder / "events.jsonl").write_bytes((whole / "events.jsonl").read_bytes()[:at])
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "trial"
    assert journaled(folder).outcome is Outcome.HEALED
    return folder


def test_the_journal_alone_rebuilds_the_verdict(whole: Path) -> None:
    first = read_verdict(whole)
    assert rejudge(whole) == first and read_verdict(whole) == first
    assert json.loads((whole / "rejudged.json").read_text())["outcome"] == "HEALED"


def test_what_has_not_ended_is_not_judged(whole: Path, tmp_path: Path) -> None:
    folder = killed(whole, tmp_path / "trial", at=5000)
    with pytest.raises(InputError, match="harness resume"):
        rejudge(folder)


def test_a_trial_that_still_runs_is_left_alone(whole: Path, tmp_path: Path) -> None:
    folder = killed(whole, tmp_path / "trial", at=5000)
    with Journal(folder), pytest.raises(InputError, match="still running"):
        list(resume([folder], SETTINGS, track=False))


def test_a_kill_at_any_byte_ends_in_a_verdict_and_a_whole_record(whole: Path, tmp_path: Path) -> None:
    """A hundred random points of the journal."""
    size = (whole / "events.jsonl").stat().st_size
    draw = random.Random(7)
    points = sorted(draw.sample(range(size), 100))
    expected = read_verdict(whole)
    for number, at in enumerate(points):
        folder = killed(whole, tmp_path / f"{number:03}" / "trial", at=at)
        events = ended(folder)
        if not events:
            continue
        last = events[-1]
        assert isinstance(last, TrialEnded) and read_verdict(folder) == last.verdict
        over = b'"name":"teardown"' in (whole / "events.jsonl").read_bytes()[: _whole_lines(whole, at)]
        if over:
            assert expected and last.verdict.outcome is expected.outcome
        else:
            assert (last.verdict.outcome, last.verdict.rule) == (Outcome.INVALID, "interrupted")
            assert isinstance(events[-2], TrialInterrupted)
        assert ended(folder) == events, "the second time changes nothing"


def _whole_lines(whole: Path, at: int) -> int:
    return (whole / "events.jsonl").read_bytes()[:at].rfind(b"\n") + 1


def test_a_kill_while_an_interrupted_trial_is_taken_down_is_no_verdict_on_the_fixer(tmp_path: Path) -> None:
    """The measurement was broken off: what the journal has of it must not be judged as if it were all."""
    simulation = Simulation(ScriptedFixer([fix(WEAK + "# no\n")]))

    def interrupt() -> None:
        phases = [event.name for event in simulation.sink.events if isinstance(event, PhaseStarted)]
        if phases[-1:] == ["observe"]:
            raise KeyboardInterrupt

    simulation.look = interrupt
    folder = tmp_path / "trial"
    with Journal(folder) as journal:
        simulation.emit = lambda event: (simulation.sink(event), journal(event))[0]
        with pytest.raises(KeyboardInterrupt):
            simulation.run()
    (folder / "scenario.yml").write_text(as_yaml(simulation.scenario))
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    assert b"TrialInterrupted" in lines[-1]
    (folder / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    last = ended(folder)[-1]
    assert isinstance(last, TrialEnded)
    assert (last.verdict.outcome, last.verdict.rule) == (Outcome.INVALID, "interrupted")


def test_an_interruption_before_the_first_line_leaves_nothing_to_judge(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    with Journal(folder) as journal:
        journal(TrialInterrupted(at_s=0.0, reason="interrupted by the user"))
    (resumed,) = resume([folder], SETTINGS)
    assert resumed.verdict is None


def test_rows_are_whole_whatever_the_table_had(whole: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    journal = (whole / "events.jsonl").read_bytes()
    points = journal.index(b'"name":"observe"'), len(journal) - 10
    folders = [killed(whole, results / f"trial-{n}", at=at) for n, at in enumerate(points)]
    assert unfinished(results) == folders
    outcomes = [done.verdict.outcome for done in resume(folders, SETTINGS, track=False) if done.verdict]
    assert outcomes == [Outcome.INVALID, Outcome.HEALED]
    assert unfinished(results) == []
    again = list(resume(folders, SETTINGS, track=False))
    with (
        Supervisor() as supervisor,
        postgres_running(supervisor, data=results / "postgres", log=tmp_path / "pg.log", external_url=None) as postgres,
    ):
        database = engine(postgres.url(postgres.home))
        with Session(database) as session:
            rows = session.scalars(select(IncidentRecord)).all()
            told = [(row.outcome, len(row.attempts)) for row in rows]
        database.dispose()
    assert told == [("HEALED", 2)], "both journals tell of one trial: it is there once, as the last one told it"
    assert len(again) == 2
    assert [type(event) for event in read_events(folders[0])][-2:] == [TrialInterrupted, TrialEnded]


def test_a_scenario_survives_the_copy_that_is_kept() -> None:
    spec = scenario()
    assert Scenario.model_validate(yaml.safe_load(as_yaml(spec))) == spec
