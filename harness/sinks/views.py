"""Views of trials that MLflow's page offers under Views: which runs, which columns, in which order, in which groups.

MLflow 3.17 keeps a view as a tag of the experiment, ``mlflow.sharedViewState.KEY``, with a name and a state in JSON,
and opens it by ``#/experiments/ID/runs?viewStateShareKey=KEY``. What belongs into a state was read from its page's
script; an older one, which knows no such tag, shows all runs.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

EXPERIMENT = "creamandonion"  # where MLFLOW_EXPERIMENT_NAME names no other
TRIALS, ARMS, SWEEP = "creamandonion-trials", "creamandonion-arms", "creamandonion-sweep"  # keys of views
_TAG = "mlflow.sharedViewState."
_MADE_MS = 1_795_910_400_000  # when they were drawn up: a view that says when it was written would never be the same
_ARM = ("fixer", "retriever")
_TOLD = ("scenario", "class", *_ARM, "outcome", "rule")
_NUMBERS = ("healed", "time_to_recover_s", "time_to_detect_s", "attempts", "fixer_s", "cost_usd", "confidence")


def experiment_name() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def views() -> dict[str, str]:
    """Of any experiment: tags by name."""
    every = "tags.kind = 'trial'"
    return _tag(TRIALS, "Trials", every, by=()) | _tag(ARMS, "Fixers compared", every, by=_ARM)


def view_of_sweep(name: str, run_id: str) -> dict[str, str]:
    """Of the sweep that was logged last."""
    where = f"tags.kind = 'trial' and tags.`mlflow.parentRunId` = '{run_id}'"
    return _tag(SWEEP, f"The last sweep: {name}", where, by=_ARM)


def _tag(key: str, name: str, where: str, by: Iterable[str]) -> dict[str, str]:
    groups = [{"mode": "tag", "groupByData": each} for each in by]
    state: Mapping[str, object] = {
        "searchFilter": where,
        "orderByKey": "metrics.`healed`",  # by the time of their start, the page adds the parents of all runs
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*(f"tags.`{each}`" for each in _TOLD), *(f"metrics.`{each}`" for each in _NUMBERS)],
        "groupBy": {"aggregateFunction": "average", "groupByKeys": groups} if groups else None,
    }
    saved = {"name": name, "createdAt": _MADE_MS, "updatedAt": _MADE_MS, "state": json.dumps(state)}
    return {f"{_TAG}{key}": json.dumps(saved)}


def address(base: str, uri: str) -> str:
    """Of the page with fixers compared, of the sweep that was last where there was one; ``base`` where it is not known.

    The experiment's number stands in MLflow's database, which is read where it is a file: to ask MLflow takes seconds.
    """
    file = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not file.is_file():
        return base
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
            asked = (
                "SELECT e.experiment_id, t.key FROM experiments e JOIN experiment_tags t USING (experiment_id)"
                " WHERE e.name = ? AND t.key IN (?, ?) ORDER BY t.key DESC"
            )
            keys = (f"{_TAG}{SWEEP}", f"{_TAG}{ARMS}")
            found = database.execute(asked, (experiment_name(), *keys)).fetchone()
    except sqlite3.Error:  # another MLflow's tables
        return base
    return f"{base}/#/experiments/{found[0]}/runs?viewStateShareKey={found[1].removeprefix(_TAG)}" if found else base
