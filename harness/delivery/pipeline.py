"""Waits for the owner's pipeline, by the owner's own command."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from tempfile import TemporaryFile

from harness.errors import FixRefused, InputError, ServiceUnavailable
from harness.model.delivery import GitDelivery

_TAIL_BYTES = 2000
_FAILED = 1
_END_S = 5.0


def await_pipeline(spec: GitDelivery, commit: str) -> str:
    """Until the commit is live; what the command said at its end.

    It gets all of our environment, and DELIVERY_COMMIT, DELIVERY_BRANCH, DELIVERY_REMOTE. FixRefused (rule "pipeline")
    where it ends with 1: the fix does not build, or fails the owner's tests. ServiceUnavailable where it ends with
    anything else, or not in time: then nobody knows what is live.
    """
    env = {
        **os.environ,
        "DELIVERY_COMMIT": commit,
        "DELIVERY_BRANCH": spec.branch,
        "DELIVERY_REMOTE": spec.remote,
    }
    with TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                spec.pipeline,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise InputError(f"deploy.pipeline: {spec.pipeline[0]}: {error.strerror}", cure="name a program") from None
        try:
            code: int | None = child.wait(spec.within_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
        output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
        said = output.read().decode(errors="replace").strip()
    if code == _FAILED:
        raise FixRefused(f"the pipeline failed:\n{said}", rule="pipeline", cure="what the tests want still holds")
    if code:
        raise ServiceUnavailable(f"the pipeline's command ended with {code}:\n{said}", cure="mend deploy.pipeline")
    if code is None:
        cure = "raise deploy.within, or see why it hangs"
        raise ServiceUnavailable(f"the pipeline did not end within {spec.within_s:g} s:\n{said}", cure=cure)
    return said


def _end(child: subprocess.Popen[bytes]) -> None:
    """It, and whatever it has started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_END_S)
