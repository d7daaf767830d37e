"""Trials as MLflow has them: the rows that a sweep's folder would give. MLflow itself is imported when it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from harness.errors import InputError, ServiceUnavailable
from harness.experiment.results import TrialRow
from harness.model.confidence import HowSure
from harness.model.verdict import Outcome
from harness.sinks.tracking import quiet, shown

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PAGE = 1000  # runs in a request
_WANTED = "tags.kind = 'trial' and attributes.status = 'FINISHED'"
_PARENT = "mlflow.parentRunId"
_KINDS = {"sweep": f"tags.`{_PARENT}` = '{{}}'", "trial": "attributes.run_id = '{}'"}  # which runs are meant by one
_LIVE = TypeAdapter(tuple[HowSure, ...])
_CURE = "log them again: harness resume FOLDER, or compare their folders"


def logged(name: str, where: str, uri: str) -> list[TrialRow]:
    """The trials that have ended of an experiment of that name; else of a sweep, or one trial, by its run's name or id.

    Those of a sweep that were run again are among them: of one scenario and seed, ``sides`` takes the first that was
    measured, which is how a sweep counts its cells.

    ``where`` is MLflow's own filter of runs, such as ``tags.fixer = 'playbook' and params.seed = '7'``; empty: all. See
    https://mlflow.org/docs/latest/ml/search/search-runs/.

    InputError where there is none, the filter is none, or an older harness has logged what is asked for;
    ServiceUnavailable where MLflow cannot be asked.
    """
    file = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not file.is_file():
        raise InputError(f"no run is tracked in {file.parent}/", cure="set MLFLOW_TRACKING_URI, or give --results")
    quiet()
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - it takes seconds to import
    from mlflow.tracking import MlflowClient  # noqa: PLC0415 - as above
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - MLflow stands on it

    try:
        client = MlflowClient(uri)
        experiments, of_name = _place(client, name)
        runs = list(_runs(client, experiments, " and ".join(each for each in (_WANTED, of_name, where) if each)))
    except (MlflowException, SQLAlchemyError) as error:
        said = " ".join(str(error).split())[:300]
        if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE":
            cure = "such as \"mlflow:NAME?tags.fixer = 'playbook' and tags.class = 'resource'\""
            raise InputError(f"MLflow does not take the filter {where!r}: {said}", cure=cure) from None
        cure = "check MLFLOW_TRACKING_URI, and that its server is up"
        raise ServiceUnavailable(f"MLflow at {shown(uri)} cannot be asked: {said}", cure=cure) from None
    if not runs:
        what = f"{name} has no trial that has ended" + (f" with {where}" if where else "")
        raise InputError(what, cure="harness ui shows what is there")
    return _rows(runs, name)


def _place(client: MlflowClient, name: str) -> tuple[list[str], str]:
    """The experiments to look in, and which of their runs. An experiment is meant before a sweep of its name."""
    experiment = client.get_experiment_by_name(name)
    if experiment and experiment.lifecycle_stage == "active":
        return [experiment.experiment_id], ""
    every = [each.experiment_id for each in client.search_experiments()]
    plain = name.replace("'", "")
    named: dict[str, Run] = {}
    for clause in (f"attributes.run_name = '{plain}'", f"attributes.run_id = '{plain}'"):
        named |= {run.info.run_id: run for run in _runs(client, every, clause) if run.data.tags.get("kind") in _KINDS}
    if not named:
        cure = "harness ui shows what there is; a sweep is logged once its trials are over"
        raise InputError(f"MLflow knows no experiment, sweep or trial {name!r}", cure=cure)
    if len(named) > 1:
        raise InputError(f"{len(named)} runs are called {name}", cure=f"name one's id: {' or '.join(named)}")
    ((run_id, run),) = named.items()
    return [run.info.experiment_id], _KINDS[run.data.tags["kind"]].format(run_id)


def _runs(client: MlflowClient, experiments: list[str], where: str) -> Iterator[Run]:
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, where, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token or None
        )
        yield from page
        token = page.token or None


def _rows(runs: Sequence[Run], name: str) -> list[TrialRow]:
    lacking = [(run.info.run_name, lack) for run in runs if (lack := _lack(run))]
    if lacking:
        trial, lack = lacking[0]
        what = f"{len(lacking)} of {len(runs)} trials of {name} were logged by an older harness: {trial} lacks {lack}"
        raise InputError(what, cure=_CURE)
    return [_row(run) for run in runs]


def _lack(run: Run) -> str:
    """What a row needs and the run has not."""
    data = run.data
    needed: Mapping[str, tuple[Mapping[str, object], Sequence[str]]] = {
        "tag": (data.tags, ("trial_id", "cell", "class", "control", "outcome", "rule", "judge", "started_at")),
        "parameter": (data.params, ("scenario", "scenario_hash", "retriever", "model", "seed", "commit", "kb")),
        "metric": (data.metrics, ("wall_s", "attempts", "live", "error_budget_burned", "fixer_s")),
    }
    lacks = (f"the {kind} {name}" for kind, (there, names) in needed.items() for name in names if name not in there)
    return next(lacks, "")


def _row(run: Run) -> TrialRow:
    """Numbers come back as they were logged: MLflow keeps them as doubles."""
    tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
    return TrialRow(
        trial=tags["trial_id"],
        cell=tags["cell"],
        scenario=params["scenario"],
        scenario_hash=params["scenario_hash"],
        fault_class=tags["class"],
        control=tags["control"] == "true",
        fixer=tags["fixer"],
        retriever=params["retriever"],
        model=params["model"],
        seed=int(params["seed"]),
        outcome=Outcome(tags["outcome"]),
        rule=tags["rule"],
        judge=tags["judge"],
        commit=params["commit"],
        kb=params["kb"],
        started_at=tags["started_at"],
        wall_s=metrics["wall_s"],
        detect_s=metrics.get("time_to_detect_s"),
        propose_s=metrics.get("time_to_propose_s"),
        recover_s=metrics.get("time_to_recover_s"),
        confirm_s=metrics.get("time_to_confirm_s"),
        censored_s=metrics.get("censored_s"),
        attempts=int(metrics["attempts"]),
        live=bool(metrics["live"]),
        confidence=metrics.get("confidence"),
        retriever_confidence=metrics.get("retriever_confidence"),
        combined_confidence=metrics.get("combined_confidence"),
        live_fixes=_live_fixes(tags.get("live_fixes", "")),
        budget_burned=metrics["error_budget_burned"],
        tokens_in=int(metrics.get("tokens_in", 0)),
        tokens_out=int(metrics.get("tokens_out", 0)),
        fixer_s=metrics["fixer_s"],
        usd=metrics.get("cost_usd"),
        cohens_h=metrics.get("cohens_h"),
    )


def _live_fixes(tag: str) -> tuple[HowSure, ...] | None:
    """None where an older harness has logged the trial, or the tag was cut: MLflow keeps 5000 characters of it."""
    try:
        return _LIVE.validate_json(tag)
    except ValidationError:
        return None
