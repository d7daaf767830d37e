"""What a trial was made of, as MLflow's datasets and prompts. Importing this imports MLflow, which takes seconds."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.entities.model_registry import PromptVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from harness.model.verdict import Trial, Verdict

logger = logging.getLogger(__name__)

SCENARIO, KB = "scenario", "kb"  # contexts of datasets
TEMPLATES = "*.jinja"  # in the trial's folder: what its fixer makes its prompts of
_PREFIX = "creamandonion."  # of a template's name in the registry
_DIGEST = 16  # hex digits of a dataset's hash: MLflow takes 36 characters
_VERSION = re.compile(r"\{# version: (\S+)")
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_LINKING = "link_prompt_to_experiment"  # MLflow's own threads are called so


def datasets_of(trial: Trial, artifacts: str) -> list[DatasetInput]:
    """The scenario, whose file is among the run's ``artifacts`` (a URI), and the knowledge base where one was searched.

    MLflow knows a dataset by name and digest: trials of one scenario share it, and the file of the first is its source.
    """
    scheme = artifacts.partition(":")[0] if ":" in artifacts else "file"
    file = {"uri": f"{artifacts.rstrip('/')}/scenario.yml"}
    kind = "local" if scheme == "file" else scheme
    found = [_dataset(trial.scenario, trial.scenario_hash, kind, file, SCENARIO)]
    if trial.kb:
        name, _, digest = trial.kb.rpartition("@")
        source = {"tags": {"snapshot": trial.kb, "commit": trial.commit}}
        found.append(_dataset(name or trial.kb, digest, "code", source, KB))
    return found


def _dataset(name: str, digest: str, kind: str, source: object, context: str) -> DatasetInput:
    dataset = Dataset(name=name, digest=digest[:_DIGEST], source_type=kind, source=json.dumps(source))
    return DatasetInput(dataset=dataset, tags=[InputTag(key=MLFLOW_DATASET_CONTEXT, value=context)])


def prompts_of(client: MlflowClient, folder: Path, verdict: Verdict | None) -> list[PromptVersion]:
    """The templates of the prompts that the trial's fixes answer, as the registry has them: each text once.

    A template is kept in the trial's folder, and counts where it bears a version that a fix names. Where the registry
    refuses one, the log tells: its text is among the run's artifacts all the same.
    """
    fixes = [attempt.fix for attempt in verdict.attempts if attempt.fix] if verdict else []
    named = {fix.prompt.split()[0] for fix in fixes if fix.prompt.strip()}
    found = []
    for file in sorted(folder.glob(TEMPLATES)) if named else ():
        text = file.read_text(encoding="utf-8", errors="replace")
        version = _VERSION.match(text)
        if version and version[1] in named:
            try:
                found.append(_registered(client, file.name, version[1], text))
            except MlflowException as error:
                logger.warning("the prompt %s is not in MLflow's registry: %s", file.name, error)
    return found


def _registered(client: MlflowClient, file: str, version: str, text: str) -> PromptVersion:
    """The registry's version of exactly this text, found by an alias that its hash makes; made where there is none."""
    name = _PREFIX + _UNFIT.sub("-", file.partition(".")[0])
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    alias = f"sha256-{sha256[:_DIGEST]}"
    try:
        known: PromptVersion | None = client.get_prompt_version_by_alias(name, alias)
    except MlflowException:  # it has none of that name, or of that alias
        known = None
    if known and known.template == text:
        return known
    tags = {"sha256": sha256, "version": version, "file": file}
    made: PromptVersion = client.register_prompt(name, text, commit_message=f"version {version} of {file}", tags=tags)
    for thread in threading.enumerate():
        if thread.name.startswith(_LINKING):
            thread.join()  # it writes, too: SQLite takes one at a time, and this process is about to end
    client.set_prompt_alias(name, alias, made.version)
    return made


def link(client: MlflowClient, prompts: list[PromptVersion], run_id: str, trace_id: str) -> None:
    """Run and trace say which prompts they are of. To do it twice changes nothing."""
    try:
        for prompt in prompts:
            client.link_prompt_version_to_run(run_id, prompt)
        if prompts and trace_id:
            client.link_prompt_versions_to_trace(prompts, trace_id)
    except MlflowException as error:
        logger.warning("run %s is not linked to its prompts: %s", run_id, error)
