"""The shop under load, without a trial around it: for benchmarks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.load.generator import LocustLoad, LocustTraffic
from harness.loading import load_scenario
from harness.services.postgres import postgres_running
from harness.services.supervisor import Supervisor
from harness.target.process import AppFiles, ProcessTarget
from harness.target.surroundings import Surroundings

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def shop(folder: Path, *, rate: float, seed: int = 1) -> Iterator[tuple[ProcessTarget, LocustTraffic]]:
    """The sound shop, with the load of pool_exhaustion at another rate."""
    loaded = load_scenario(ROOT / "scenarios" / "pool_exhaustion.yml")
    spec = loaded.spec.load
    spec = spec.model_copy(update={"arrivals": spec.arrivals.model_copy(update={"rate": rate})})
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor())
        server = postgres_running(supervisor, data=folder / "postgres", log=folder / "postgres.log")
        postgres = stack.enter_context(server)
        surroundings = Surroundings(
            supervisor=supervisor, databases=lambda: postgres, redis_url=None, logs=folder, seed=seed
        )
        app = AppFiles(folder=loaded.app, manifest=loaded.manifest, env={})
        target = ProcessTarget(app, supervisor=supervisor, surroundings=surroundings, logs=folder)
        endpoints = stack.enter_context(target.running())
        load = LocustLoad(
            spec,
            thresholds_ms=loaded.spec.thresholds_ms(),
            window_s=1.0,
            seed=seed,
            folder=folder,
            supervisor=supervisor,
            clock_origin=time.monotonic(),
            max_s=600.0,
            scenario_folder=loaded.file.parent,
        )
        yield target, stack.enter_context(load.running(endpoints))
