"""One MLflow run and one trace for each trial. Importing this imports MLflow, which takes seconds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import mlflow
from mlflow.entities import AssessmentSource, AssessmentSourceType, LiveSpan, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import SpanAttributeKey, TraceMetadataKey
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from harness.model.event import Event, TrialEnded, TrialStarted
from harness.model.verdict import Outcome, Trial, Verdict
from harness.model.window import Window
from harness.sinks.journal import read_verdict, read_windows
from harness.sinks.spans import Span, trial_span

TRIAL_TAG, TRACE_TAG = "trial_id", "trace_id"
INTERRUPTED = "INTERRUPTED"
LARGEST_ARTIFACT_BYTES = 5_000_000
KEPT_FOLDERS = ("logs", "learned")  # what else is in the folder (a workspace, a database) is no result
_BATCH = 1000  # metrics in a request: MLflow's own limit
_TEXT = 5000  # characters of a tag or parameter: below MLflow's own limits


class Tracker:
    """An open experiment: creamandonion, or what MLFLOW_EXPERIMENT_NAME says.

    With a database file, artifacts go to ``results_root``/mlartifacts; a server decides for itself.
    """

    def __init__(self, uri: str, results_root: Path) -> None:
        mlflow.set_tracking_uri(uri)
        self._root = results_root
        self._local = uri.startswith("sqlite:")
        self._client = MlflowClient(uri)
        with self._alone():
            self._experiment_id = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "creamandonion")
        # what is slow the first time is done now, while there is time
        self._run_of("")
        mlflow.tracing.enable()

    def parent(self, key: str, name: str, files: Sequence[Path]) -> str:
        """The run of a sweep, by a key of its own, with its files as they are now: the run's id.

        See https://mlflow.org/docs/latest/ml/traditional-ml/tutorials/hyperparameter-tuning/part1-child-runs/.
        """
        with self._alone():
            run = self._run_of(key) or self._client.create_run(
                self._experiment_id, tags={TRIAL_TAG: key, "kind": "sweep"}, run_name=name
            )
            for file in files:
                self._client.log_artifact(run.info.run_id, str(file))
            self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def log(self, events: Sequence[Event], folder: Path, parent: str = "") -> str:
        """Log the trial of ``folder``, and return the run's id. ``parent``: the id of the run that it is a child of.

        A trial that is logged already is left alone; one whose logging was cut short is completed.
        """
        trial = next(event.trial for event in events if isinstance(event, TrialStarted))
        ended = next((event for event in events if isinstance(event, TrialEnded)), None)
        verdict = ended.verdict if ended else read_verdict(folder)
        with self._alone():
            run = self._run_of(trial.id) or self._created(trial, parent)
            run_id = str(run.info.run_id)
            if run.info.status == "FINISHED" or (run.info.status == "KILLED" and not verdict):
                return run_id
            self._write(run_id, trial, verdict, ended.windows if ended else tuple(read_windows(folder)))
            self._trace(run, trial, events, verdict)
            for file in artifacts(folder):
                self._client.log_artifact(run_id, str(file), str(file.parent.relative_to(folder)).strip("."))
            end_ms = _ms(trial, max(event.at_s for event in events))
            self._client.set_terminated(run_id, "FINISHED" if verdict else "KILLED", end_ms)
        return run_id

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Several trials may end at once, and SQLite makes writers fail that wait for long."""
        if not self._local:
            yield
            return
        with (self._root / ".mlflow.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        if known:
            return str(known.experiment_id)
        try:
            place = (self._root / "mlartifacts").as_uri() if self._local else None
            return str(self._client.create_experiment(name, artifact_location=place))
        except MlflowException:
            known = self._client.get_experiment_by_name(name)  # somebody else on that server was faster
            if known is None:
                raise
            return str(known.experiment_id)

    def _run_of(self, trial_id: str) -> Run | None:
        found = self._client.search_runs(
            [self._experiment_id], f"tags.{TRIAL_TAG} = '{trial_id.replace(chr(39), '')}'", max_results=1
        )
        return found[0] if found else None

    def _created(self, trial: Trial, parent: str) -> Run:
        tags = {TRIAL_TAG: trial.id, "kind": "trial", "scenario": trial.scenario}
        tags |= {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        return self._client.create_run(self._experiment_id, _ms(trial, 0.0), tags, run_name=trial.id)

    def _write(self, run_id: str, trial: Trial, verdict: Verdict | None, windows: Sequence[Window]) -> None:
        names = ("scenario", "scenario_hash", "fixer", "model", "retriever", "kb", "seed", "commit")
        # the verdict's trial knows which model it was in the end
        facts = verdict.trial if verdict else trial
        parameters = [Param(name, str(getattr(facts, name))[:_TEXT]) for name in names]
        told = {"outcome": str(verdict.outcome), "judge": verdict.judge, "rule": verdict.rule} if verdict else {}
        told |= {name: str(getattr(facts, name)) for name in ("fixer", "retriever", "kb", "commit")}
        told |= {"reason": verdict.reason} if verdict else {"outcome": INTERRUPTED}
        tags = [RunTag(name, value[:_TEXT]) for name, value in told.items()]
        end_ms = _ms(trial, windows[-1].end_s if windows else 0.0)
        totals = [Metric(name, value, end_ms, 0) for name, value in (totals_of(verdict) if verdict else {}).items()]
        self._client.log_batch(run_id, totals, parameters, tags)
        series = [
            Metric(name, value, _ms(trial, window.end_s), window.index)
            for window in windows
            for name, value in series_of(window).items()
        ]
        for first in range(0, len(series), _BATCH):
            self._client.log_batch(run_id, series[first : first + _BATCH])

    def _trace(self, run: Run, trial: Trial, events: Sequence[Event], verdict: Verdict | None) -> None:
        """A trace is linked to its run when its root ends; one that a crash left unfinished is known by its tag.

        The verdict is feedback on it, so that MLflow's own views of traces and evaluations know it.
        """
        run_id, places = run.info.run_id, [self._experiment_id]
        if self._client.search_traces(locations=places, run_id=run_id, max_results=1, include_spans=False):
            return
        if unfinished := run.data.tags.get(TRACE_TAG):
            self._client.delete_traces(self._experiment_id, trace_ids=[unfinished])
        root, start_ns = trial_span(events), 1_000_000 * _ms(trial, 0.0)
        live = mlflow.start_span_no_context(
            root.name,
            span_type=root.kind,
            inputs=root.inputs,
            metadata={TraceMetadataKey.SOURCE_RUN: run_id},
            experiment_id=self._experiment_id,
            start_time_ns=start_ns,
        )
        self._client.set_tag(run_id, TRACE_TAG, live.trace_id)
        _finish(live, root, start_ns)
        if verdict:
            mlflow.log_feedback(
                trace_id=live.trace_id,
                name="verdict",
                value=str(verdict.outcome),
                source=AssessmentSource(source_type=AssessmentSourceType.CODE, source_id=f"judge {verdict.judge}"),
                rationale=verdict.reason[:_TEXT],
            )


def _finish(live: LiveSpan, span: Span, start_ns: int) -> None:
    """End a span with all that lies in it. ``start_ns``: when the trial began."""
    for child in span.children:
        inner = mlflow.start_span_no_context(
            child.name,
            span_type=child.kind,
            parent_span=live,
            inputs=child.inputs,
            start_time_ns=start_ns + round(child.start_s * 1e9),
        )
        _finish(inner, child, start_ns)
    if span.tokens:
        used = dict(zip(("input_tokens", "output_tokens"), span.tokens, strict=True))
        live.set_attribute(SpanAttributeKey.CHAT_USAGE, {**used, "total_tokens": sum(span.tokens)})
    status = "ERROR" if span.failed else "OK"
    live.end(outputs=span.outputs, status=status, end_time_ns=start_ns + round(span.end_s * 1e9))


def totals_of(verdict: Verdict) -> dict[str, float]:
    """The numbers of a trial; what is unknown is absent. ``healed`` is absent where nothing was measured."""
    times, cost = verdict.times, verdict.cost
    numbers = {
        "healed": None if verdict.outcome is Outcome.INVALID else float(verdict.outcome is Outcome.HEALED),
        "confidence": verdict.confidence,
        "retriever_confidence": verdict.retriever_confidence,
        "combined_confidence": verdict.combined_confidence,
        "time_to_detect_s": times.detect_s,
        "time_to_propose_s": times.propose_s,
        "time_to_deploy_s": times.deploy_s,
        "time_to_recover_s": times.recover_s,
        "time_to_confirm_s": times.confirm_s,
        "censored": float(times.censored_s is not None),
        "censored_s": times.censored_s,
        "error_budget_burned": verdict.error_budget_burned,
        "tokens_in": float(cost.tokens_in),
        "tokens_out": float(cost.tokens_out),
        "fixer_s": cost.seconds,
        "cost_usd": cost.usd,
        "attempts": float(len(verdict.attempts)),
    }
    return {name: value for name, value in numbers.items() if value is not None}


def series_of(window: Window) -> dict[str, float]:
    """What a window says of each route. ``error_rate``: the share of arrivals that got no right answer."""
    numbers: dict[str, float] = {}
    for name, route in window.routes.items():
        if route.p95_ms is not None:
            numbers[f"p95_ms.{name}"] = route.p95_ms
        if route.arrivals:
            numbers[f"error_rate.{name}"] = route.wrong / route.arrivals
    return numbers


def artifacts(folder: Path) -> list[Path]:
    """The files of a result folder that are worth a copy."""
    places = (folder, *(folder / name for name in KEPT_FOLDERS))
    files = (file for place in places if place.is_dir() for file in sorted(place.iterdir()))
    return [
        file
        for file in files
        if file.is_file() and not file.name.startswith(".") and file.stat().st_size <= LARGEST_ARTIFACT_BYTES
    ]


def _ms(trial: Trial, at_s: float) -> int:
    return round(1000 * (datetime.fromisoformat(trial.started_at).timestamp() + at_s))
