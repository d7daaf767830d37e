"""One MLflow run and one trace for each trial. Importing this imports MLflow, which takes seconds."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import mlflow
from mlflow.entities import AssessmentSource, AssessmentSourceType, Experiment, LiveSpan, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import SpanAttributeKey, TraceMetadataKey
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from harness.model.event import Event, TrialEnded, TrialStarted
from harness.model.verdict import Trial, Verdict
from harness.model.window import Window
from harness.sinks.inputs import datasets_of, link, prompts_of
from harness.sinks.journal import read_verdict, read_windows
from harness.sinks.spans import Span, trial_span
from harness.sinks.terms import TERMS, Beside, params_of, series_of, tags_of, totals_of
from harness.sinks.views import experiment_name, view_of_sweep, views

TRIAL_TAG, TRACE_TAG = "trial_id", "trace_id"
LARGEST_ARTIFACT_BYTES = 5_000_000
KEPT_FOLDERS = ("logs", "learned")  # what else is in the folder (a workspace, a database) is no result
_DATABASES = ("sqlite:", "postgresql:", "postgresql+", "mysql:", "mysql+", "mssql:", "mssql+")
_BATCH = 1000  # metrics in a request: MLflow's own limit
_TEXT = 5000  # characters of a tag or parameter: below MLflow's own limits


class Tracker:
    """An open experiment: creamandonion, or what MLFLOW_EXPERIMENT_NAME says.

    With a database, artifacts go to ``results_root``/mlartifacts; a server decides for itself.
    """

    def __init__(self, uri: str, results_root: Path) -> None:
        mlflow.set_tracking_uri(uri)
        self._root = results_root
        self._local = uri.startswith("sqlite:")
        self._served = not uri.startswith(_DATABASES)
        self._client = MlflowClient(uri)
        with self._alone():
            experiment = self._experiment(experiment_name())
            self._experiment_id = str(experiment.experiment_id)
            self._keep_views({name: view for name, view in views().items() if name not in experiment.tags})
        mlflow.set_experiment(experiment_id=self._experiment_id)  # to which prompts belong that are registered
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
            self._keep_views(view_of_sweep(name, run.info.run_id))
            self._client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def log(self, events: Sequence[Event], folder: Path, beside: Beside, parent: str = "") -> str:
        """Log the trial of ``folder``, and return the run's id. ``parent``: the id of the run that it is a child of.

        A trial that is logged already is left alone; one whose logging was cut short, or that an older harness has
        logged, is completed.
        """
        trial = next(event.trial for event in events if isinstance(event, TrialStarted))
        ended = next((event for event in events if isinstance(event, TrialEnded)), None)
        verdict = ended.verdict if ended else read_verdict(folder)
        with self._alone():
            run = self._run_of(trial.id) or self._created(trial, parent)
            run_id = str(run.info.run_id)
            if _is_whole(run, verdict, parent):
                return run_id
            self._write(run_id, trial, verdict, ended.windows if ended else tuple(read_windows(folder)), beside)
            for each in (run_id, parent) if parent else (run_id,):
                self._client.log_inputs(each, datasets_of(trial, str(run.info.artifact_uri)))
            trace_id = self._trace(run, trial, events, verdict)
            link(self._client, prompts_of(self._client, folder, verdict), run_id, trace_id)
            for file in artifacts(folder):
                self._client.log_artifact(run_id, str(file), str(file.parent.relative_to(folder)).strip("."))
            told = {"terms": TERMS} | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
            self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in told.items()])
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

    def _experiment(self, name: str) -> Experiment:
        known = self._client.get_experiment_by_name(name)
        if known is None:
            try:
                place = None if self._served else (self._root / "mlartifacts").as_uri()
                known = self._client.get_experiment(self._client.create_experiment(name, artifact_location=place))
            except MlflowException:
                known = self._client.get_experiment_by_name(name)  # somebody else on that server was faster
                if known is None:
                    raise
        return known

    def _keep_views(self, kept: Mapping[str, str]) -> None:
        for name, view in kept.items():
            self._client.set_experiment_tag(self._experiment_id, name, view)

    def _run_of(self, trial_id: str) -> Run | None:
        found = self._client.search_runs(
            [self._experiment_id], f"tags.{TRIAL_TAG} = '{trial_id.replace(chr(39), '')}'", max_results=1
        )
        return found[0] if found else None

    def _created(self, trial: Trial, parent: str) -> Run:
        tags = {TRIAL_TAG: trial.id, "kind": "trial", "scenario": trial.scenario}
        tags |= {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        return self._client.create_run(self._experiment_id, _ms(trial, 0.0), tags, run_name=trial.id)

    def _write(
        self, run_id: str, trial: Trial, verdict: Verdict | None, windows: Sequence[Window], beside: Beside
    ) -> None:
        # the verdict's trial knows which model it was in the end
        facts = verdict.trial if verdict else trial
        parameters = [Param(name, value[:_TEXT]) for name, value in params_of(facts).items()]
        tags = [RunTag(name, value[:_TEXT]) for name, value in tags_of(facts, verdict, beside).items()]
        numbers = totals_of(verdict, beside) if verdict else {}
        end_ms = _ms(trial, windows[-1].end_s if windows else 0.0)
        totals = [Metric(name, value, end_ms, 0) for name, value in numbers.items()]
        self._client.log_batch(run_id, totals, parameters, tags)
        series = [
            Metric(name, value, _ms(trial, window.end_s), window.index)
            for window in windows
            for name, value in series_of(window).items()
        ]
        for first in range(0, len(series), _BATCH):
            self._client.log_batch(run_id, series[first : first + _BATCH])

    def _trace(self, run: Run, trial: Trial, events: Sequence[Event], verdict: Verdict | None) -> str:
        """A trace is linked to its run when its root ends; one that a crash left unfinished is known by its tag.

        The verdict is feedback on it, so that MLflow's own views of traces and evaluations know it. Returns its id.
        """
        run_id, places = run.info.run_id, [self._experiment_id]
        if done := self._client.search_traces(locations=places, run_id=run_id, max_results=1, include_spans=False):
            return str(done[0].info.trace_id)
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
        return str(live.trace_id)


def _is_whole(run: Run, verdict: Verdict | None, parent: str) -> bool:
    """Whether all was logged of the trial, in today's terms, as a child of that run."""
    tags, ended = run.data.tags, "FINISHED" if verdict else "KILLED"
    return run.info.status == ended and tags.get("terms") == TERMS and parent in ("", tags.get(MLFLOW_PARENT_RUN_ID))


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
