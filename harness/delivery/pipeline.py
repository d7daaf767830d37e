"""Waits for the owner's pipeline, by the owner's own command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.errors import FixRefused, InputError, ServiceUnavailable
from harness.model.delivery import GitDelivery
from harness.redaction import redacted, secrets_in
from harness.services.supervisor import Supervisor

_FAILED = 1
_STOP_TIMEOUT_S = 5.0


class Pipeline:
    """The command runs where we do, and ends with us; what it says goes to a file for each commit in ``logs``."""

    def __init__(self, spec: GitDelivery, *, supervisor: Supervisor, logs: Path) -> None:
        self._spec, self._supervisor, self._logs = spec, supervisor, logs

    def require_program(self) -> None:
        """InputError where there is no such program: known before anything is pushed."""
        if shutil.which(self._spec.pipeline[0]) is None:
            what = f"deploy.pipeline: no program {self._spec.pipeline[0]!r}"
            raise InputError(what, cure="install it, or name another; a path counts from where the harness runs")

    def wait(self, commit: str) -> str:
        """Until the commit is live; what the command said at its end, without our secrets.

        It gets all of our environment, and DELIVERY_COMMIT, DELIVERY_BRANCH, DELIVERY_REMOTE. FixRefused (rule
        "pipeline") where it ends with 1: the fix does not build, or fails the owner's tests. ServiceUnavailable where
        it ends with anything else, or not in time: then nobody knows what is live.
        """
        spec = self._spec
        named = {"DELIVERY_COMMIT": commit, "DELIVERY_BRANCH": spec.branch, "DELIVERY_REMOTE": spec.remote}
        child = self._supervisor.start(
            "pipeline",
            spec.pipeline,
            env={**os.environ, **named},
            cwd=Path.cwd(),
            log=self._logs / f"pipeline-{commit[:12]}.log",
            stop_timeout_s=_STOP_TIMEOUT_S,
        )
        try:
            code = child.wait(spec.within_s)
        finally:
            child.stop()
        said = redacted(child.tail().strip(), secrets_in(os.environ))
        if code == _FAILED:
            raise FixRefused(f"the pipeline failed:\n{said}", rule="pipeline", cure="what the tests want still holds")
        if code:
            raise ServiceUnavailable(f"the pipeline's command ended with {code}:\n{said}", cure="mend deploy.pipeline")
        if code is None:
            cure = "raise deploy.within, or see why it hangs"
            raise ServiceUnavailable(f"the pipeline did not end within {spec.within_s:g} s:\n{said}", cure=cure)
        return said
