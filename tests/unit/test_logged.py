"""Trials that come back from MLflow: they are those of the folder, and what they were made of is known."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from click.testing import CliRunner

from harness.cli.compare import command
from harness.errors import InputError
from harness.experiment import compared, logged
from harness.experiment.compare import report
from harness.experiment.manifest import begun
from harness.experiment.plan import Cell
from harness.experiment.results import FILE, append, row_of
from harness.experiment.sides import side, versus
from harness.experiment.sweep import Sweep
from harness.fixing.briefing import template
from harness.model.event import Event, TrialEnded
from harness.model.experiment import Arm, Experiment
from harness.model.scenario import Scenario
from harness.model.verdict import Efficacy, Outcome, Trial
from harness.reading import read
from harness.sinks import terms, tracking
from harness.sinks.journal import Journal, verdict_json
from harness.sinks.tracking import tracking_uri
from harness.sinks.views import address
from tests import events as sample
from tests.e2e.tiny import ROOT

if TYPE_CHECKING:  # MLflow takes seconds to import: the fixtures do it
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# MLflow and what it imports warn of themselves, and leave database connections to the garbage collector
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

MINE = Arm(fixer="command: ./mine --fast", retriever="none")
PLAYBOOK = Arm(fixer="playbook", retriever="lexical")
SENT = f"2 {'ab' * 32}"  # how a fix names its prompt
TRIALS = (  # scenario, arm, repeat, outcome
    ("pool_exhaustion", PLAYBOOK, 1, Outcome.INVALID),
    ("pool_exhaustion", PLAYBOOK, 1, Outcome.HEALED),  # the same once more
    ("pool_exhaustion", MINE, 1, Outcome.NOT_HEALED),
    ("quiet_day", PLAYBOOK, 1, Outcome.LEFT_ALONE),
    ("quiet_day", MINE, 1, Outcome.FALSE_ALARM),
)


def ended(trial: Trial, outcome: Outcome) -> list[Event]:
    """A trial of which little is told. One that healed did so at the second attempt."""
    fix = replace(sample.wrong_fix(), prompt=SENT if trial.fixer == "command" else "", confidence=0.1 + 0.2)
    attempts = (
        () if outcome in (Outcome.INVALID, Outcome.LEFT_ALONE) else (sample.attempt(1, "abstained", fix, "", 10),)
    )
    if outcome is Outcome.HEALED:
        failed = sample.attempt(1, "not_recovered", fix, sample.WEAK, 10)
        healed = sample.attempt(2, "recovered", sample.good_fix(), sample.CURE, 22)
        attempts = (failed, replace(healed, retriever_confidence=1 / 3, combined_confidence=0.1 + 0.7))
    verdict = replace(
        sample.verdict(outcome, trial, attempts=attempts),
        rule=f"rule of {outcome}",
        judge="5",
        efficacy=Efficacy(baseline_bad=0.0, outage_bad=0.9, cohens_h=2.4980915447965089),
    )
    return [sample.started(trial), TrialEnded(at_s=40.0, verdict=verdict, windows=(sample.window(0),))]


def written(folder: Path, number: int) -> Path:
    """The folder of a trial of the sweep in ``folder``, and its row."""
    name, arm, repeat, outcome = TRIALS[number]
    own = "command" if arm is MINE else arm.fixer
    made = sample.trial(f"t0k3n-{number}", seed=len(name) + repeat, scenario=name)
    trial = replace(
        made,
        fixer=own,
        retriever=arm.retriever,
        kb="" if arm is MINE else "kb@0123456789ab",
        scenario_hash=hashlib.sha256(name.encode()).hexdigest(),
        started_at=f"2026-11-07T12:0{number}:00.250001+00:00",
    )
    events = ended(trial, outcome)
    with Journal(folder / trial.id) as journal:
        for event in events:
            journal(event)
    file = folder / trial.id / "scenario.yml"
    file.write_bytes((ROOT / "scenarios" / f"{name}.yml").read_bytes())
    if arm is MINE:
        called, text = template()
        (folder / trial.id / called).write_text(text)
    last = events[-1]
    assert isinstance(last, TrialEnded)
    known = read(file, Scenario)[0].metadata
    cell = Cell(scenario=name, arm=arm, repeat=repeat, seed=trial.seed)
    row = row_of(
        json.loads(verdict_json(last.verdict)),
        cell=cell,
        fault_class=known.fault_class,
        control=known.control,
        wall_s=61.234 + number,
    )
    append(folder, row)
    return folder / trial.id


def log(folder: Path, key: str) -> None:
    """As a sweep does once its trials are over."""
    assert tracking.main(["--sweep", key, "--rows", str(folder / FILE), str(folder)]) == 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of results with a sweep, which MLflow knows."""
    before, made = dict(os.environ), tmp_path_factory.mktemp("results")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
    for number in range(len(TRIALS)):
        written(made / "night", number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log(made / "night", "sweep-t0k3n")
        yield made
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def client(root: Path) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri(root))


def runs(client: MlflowClient, where: str = "tags.kind = 'trial'") -> list[Run]:
    experiment = client.get_experiment_by_name("creamandonion")
    assert experiment
    return list(client.search_runs([experiment.experiment_id], where, order_by=["attributes.start_time"]))


def run_of_sweep(client: MlflowClient) -> Run:
    (run,) = runs(client, "tags.kind = 'sweep' and tags.trial_id = 'sweep-t0k3n'")
    return run


def test_a_trial_comes_back_as_it_stands_in_its_folder(root: Path) -> None:
    there, here = side("mlflow:night", root), side(str(root / "night"))
    assert there.arms == here.arms
    assert {arm: list(trials) for arm, trials in there.arms.items()} == {
        arm: list(trials) for arm, trials in here.arms.items()
    }
    assert there.arms.keys() == {"playbook@lexical", "command: ./mine --fast@none"}
    assert {row.outcome for row in there.arms["playbook@lexical"].values()} == {Outcome.HEALED, Outcome.LEFT_ALONE}


@pytest.mark.parametrize("name", ["night", "creamandonion", "the run's id"])
def test_a_sweep_is_found_by_name_and_id_and_in_its_experiment(root: Path, client: MlflowClient, name: str) -> None:
    named = run_of_sweep(client).info.run_id if name == "the run's id" else name
    assert side(f"mlflow:{named}", root).arms == side(str(root / "night")).arms


def test_one_trial(root: Path, client: MlflowClient) -> None:
    of_folder = side(str(root / "night" / "t0k3n-1"))
    ((row,),) = (trials.values() for trials in of_folder.arms.values())
    for name in ("t0k3n-1", runs(client)[1].info.run_id):
        ((same,),) = (trials.values() for trials in side(f"mlflow:{name}", root).arms.values())
        assert same == replace(row, cell="pool_exhaustion/playbook@lexical/1", wall_s=same.wall_s)


def test_the_same_trials_give_the_same_page(root: Path) -> None:
    words = ["playbook@lexical", "command: ./mine --fast@none"]
    pages = [
        CliRunner().invoke(command, [*(f"{place}:{arm}" for arm in words), *more], catch_exceptions=False).output
        for place, more in ((str(root / "night"), []), ("mlflow:night", ["--results", str(root)]))
    ]
    assert pages[0] == pages[1]
    assert "did right" in pages[0]


def test_whatever_the_order_of_rows_the_numbers_are_the_same(root: Path) -> None:
    folder = root / "turned" / "night"
    folder.mkdir(parents=True)
    lines = (root / "night" / FILE).read_text().splitlines(keepends=True)
    (folder / FILE).write_text("".join([lines[4], lines[0], lines[3], lines[1], lines[2]]))
    arms = ("playbook@lexical", "command: ./mine --fast@none")
    told = [
        compared.as_json([report(each) for each in versus(*(side(f"{place}:{arm}") for arm in arms))])
        for place in (root / "night", folder)
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (":playbook@lexical", 2),
        ("?tags.class = 'database'", 2),
        (":playbook@lexical?tags.class = 'database'", 1),
        ("?tags.fixer = 'command: ./mine --fast' and params.scenario = 'quiet_day'", 1),
        ("?tags.rule = 'rule of INVALID'", 1),
        ("?params.model = 'playbook-1'", 4),
        ("?dataset.name = 'pool_exhaustion' and tags.control = 'false'", 2),
    ],
)
def test_an_arm_and_what_a_filter_leaves(root: Path, where: str, count: int) -> None:
    assert sum(len(trials) for trials in side(f"mlflow:night{where}", root).arms.values()) == count


def test_all_that_went_live_comes_back_and_what_was_not_kept_is_not_made_up(root: Path, client: MlflowClient) -> None:
    (healed,) = (row for row in side("mlflow:t0k3n-1", root).arms["playbook@lexical"].values())
    assert [fix.confidence for fix in healed.live_fixes or ()] == [0.1 + 0.2, 0.86]
    run = runs(client)[1]
    kept = run.data.tags["live_fixes"]
    for cut in (kept[:-5], ""):
        client.set_tag(run.info.run_id, "live_fixes", cut)
        ((row,),) = (trials.values() for trials in side("mlflow:t0k3n-1", root).arms.values())
        assert row == replace(healed, live_fixes=None)
    client.set_tag(run.info.run_id, "live_fixes", kept)


def test_many_runs_come_in_pages(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged, "_PAGE", 2)
    assert side("mlflow:night", root).arms == side(str(root / "night")).arms


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mlflow:nowhere", "no experiment, sweep or trial 'nowhere'"),
        ("mlflow:", "no experiment, sweep or trial ''"),
        ("mlflow:O'Hara", "no experiment, sweep or trial"),
        ("mlflow:night:noop@none", "has no arm noop@none"),
        ("mlflow:night?tags.fixer = 'noop'", "no trial that has ended with tags.fixer = 'noop'"),
        ("mlflow:night?fixer is playbook", "does not take the filter 'fixer is playbook'"),
    ],
)
def test_what_is_not_there_is_told(root: Path, given: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        side(given, root)


def test_where_no_run_is_tracked_no_database_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="no run is tracked in") as raised:
        side("mlflow:night", tmp_path)
    assert "MLFLOW_TRACKING_URI" in raised.value.cure
    assert not list(tmp_path.iterdir())


def test_two_sweeps_of_a_name_are_told_apart(root: Path, client: MlflowClient) -> None:
    experiment = run_of_sweep(client).info.experiment_id
    pair = [client.create_run(experiment, tags={"kind": "sweep"}, run_name="twice").info.run_id for _ in range(2)]
    with pytest.raises(InputError, match="2 runs are called twice") as raised:
        side("mlflow:twice", root)
    assert all(run_id in raised.value.cure for run_id in pair)
    with pytest.raises(InputError, match="no trial that has ended"):
        side(f"mlflow:{pair[0]}", root)


def test_what_an_older_harness_has_logged_is_refused_until_it_is_logged_again(root: Path, client: MlflowClient) -> None:
    run = runs(client)[2]
    for name in ("class", "control", "terms"):
        client.delete_tag(run.info.run_id, name)
    (root / "night" / "t0k3n-2" / "mlflow-run").write_text(f"{run.info.run_id}\n")
    with pytest.raises(InputError, match=r"1 of 5 trials of night .* t0k3n-2 lacks the tag class") as raised:
        side("mlflow:night", root)
    assert "harness resume FOLDER" in raised.value.cure
    log(root / "night", "sweep-t0k3n")
    assert side("mlflow:night", root).arms == side(str(root / "night")).arms
    assert len(runs(client)) == 5


# --- what they were made of


def test_scenarios_and_knowledge_bases_are_datasets(root: Path, client: MlflowClient) -> None:
    def known(run: Run) -> set[tuple[str, str, str]]:
        return {(each.dataset.name, each.dataset.digest, each.tags[0].value) for each in run.inputs.dataset_inputs}

    pool, quiet = (hashlib.sha256(name.encode()).hexdigest()[:16] for name in ("pool_exhaustion", "quiet_day"))
    base = ("kb", "0123456789ab", "kb")
    found = [known(run) for run in runs(client)]
    assert found[1] == {("pool_exhaustion", pool, "scenario"), base}
    assert found[4] == {("quiet_day", quiet, "scenario")}
    assert known(run_of_sweep(client)) == {
        ("pool_exhaustion", pool, "scenario"),
        ("quiet_day", quiet, "scenario"),
        base,
    }


def test_the_source_of_a_dataset_is_the_scenario_as_it_was_run(root: Path, client: MlflowClient) -> None:
    import mlflow.data

    dataset = runs(client)[2].inputs.dataset_inputs[0].dataset
    source = mlflow.data.get_source(runs(client)[2].inputs.dataset_inputs[0])
    assert dataset.name == "pool_exhaustion"
    assert Path(source.load()).read_bytes() == (ROOT / "scenarios" / "pool_exhaustion.yml").read_bytes()


def test_a_template_is_registered_once_with_its_hash_and_linked(root: Path, client: MlflowClient) -> None:
    called, text = template()
    (prompt,) = client.search_prompt_versions("creamandonion.agent")
    assert prompt.template == text
    assert prompt.tags["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (prompt.tags["version"], prompt.tags["file"]) == ("2", called)
    asked = [run for run in runs(client) if "mlflow.linkedPrompts" in run.data.tags]
    assert [run.data.tags["fixer"] for run in asked] == [MINE.fixer, MINE.fixer]
    for run in asked:
        assert json.loads(run.data.tags["mlflow.linkedPrompts"]) == [{"name": prompt.name, "version": "1"}]
        assert run.data.tags["prompts"] == SENT
        (trace,) = client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id)
        assert "creamandonion.agent" in trace.info.tags["mlflow.linkedPrompts"]


def test_another_text_is_another_version_and_an_unnamed_one_is_none(root: Path, client: MlflowClient) -> None:
    from harness.sinks.inputs import prompts_of

    folder = root / "prompts"
    folder.mkdir()
    (folder / "own.md.jinja").write_text("{# version: 2 #}\n{{ incident }}")
    (folder / "other.md.jinja").write_text("{# version: 3 #}\n{{ incident }}")
    (folder / "none.md.jinja").write_text("no version")
    last = ended(replace(sample.trial(), fixer="command"), Outcome.NOT_HEALED)[-1]
    assert isinstance(last, TrialEnded)
    first, again = (prompts_of(client, folder, last.verdict) for _ in range(2))
    assert [(each.name, each.version) for each in first] == [("creamandonion.own", 1)]
    assert [(each.name, each.version) for each in again] == [("creamandonion.own", 1)]
    (folder / "own.md.jinja").write_text("{# version: 2 #}\n{{ incident }} changed, and the version was not raised")
    (changed,) = prompts_of(client, folder, last.verdict)
    assert changed.version == 2 and "was not raised" in changed.template


# --- what is said, and where it is shown


def test_a_run_says_what_the_tables_say_and_no_more(client: MlflowClient) -> None:
    found = runs(client)
    tags = {name for run in found for name in run.data.tags if not name.startswith("mlflow.")}
    assert {name for run in found for name in run.data.params} == terms.PARAMS.keys()
    assert tags == terms.TAGS.keys()
    metrics = {name for run in found for name in run.data.metrics}
    series = {name.replace("ROUTE", route) for name in terms.SERIES for route in ("browse", "checkout")}
    told = terms.METRICS.keys() - {"retriever_confidence", "combined_confidence"}  # of no sample trial
    assert metrics == told | series


def test_views_are_kept_and_the_address_leads_to_the_last_sweep(root: Path, client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name("creamandonion")
    assert experiment
    page = urlsplit(address("http://127.0.0.1:5000", tracking_uri(root)).replace("/#/", "/"))
    assert page.path == f"/experiments/{experiment.experiment_id}/runs"
    (key,) = parse_qs(page.query)["viewStateShareKey"]
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{key}"])
    assert view["name"] == "The last sweep: night"
    state = json.loads(view["state"])
    assert len(runs(client, state["searchFilter"])) == 5
    columns = {name: column for column in state["selectedColumns"] for name in [column.split("`")[1]]}
    assert columns.keys() <= {*terms.TAGS, *terms.METRICS}
    for name, column in columns.items():
        assert column == f"{'tags' if name in terms.TAGS else 'metrics'}.`{name}`"
    assert {group["groupByData"] for group in state["groupBy"]["groupByKeys"]} <= terms.TAGS.keys()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "sqlite:////nowhere/mlflow.db"])
def test_where_the_experiment_is_not_known_the_address_is_mlflows(uri: str) -> None:
    assert address("http://127.0.0.1:5000", uri) == "http://127.0.0.1:5000"


# --- PostgreSQL


def test_a_sweep_in_postgresql(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the process that a sweep starts for it."""
    uri = database_url.replace("postgresql:", "postgresql+psycopg:")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    given = Experiment(name="night", scenarios=("scenarios/pool_exhaustion.yml",), arms=(PLAYBOOK, MINE))
    folder = tmp_path / "night"
    with begun(given, ROOT, folder) as place:
        for number in (1, 2):
            written(folder, number)
        assert Sweep(place=place).track(), (folder / "mlflow.log").read_text()
    assert side("mlflow:night", tmp_path).arms == side(str(folder)).arms
    assert sum(len(trials) for trials in side("mlflow:night?tags.cell LIKE '%@none/1'", tmp_path).arms.values()) == 1
    assert (tmp_path / "mlartifacts").is_dir() and not (tmp_path / "mlflow.db").exists()
    with psycopg.connect(database_url) as database:
        for table, count in {"runs": 3, "trace_info": 2, "registered_models": 1, "datasets": 2}.items():
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,), table
