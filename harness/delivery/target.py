"""A target whose fixes are delivered by commits, and taken back by commits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.delivery.audit import Action, Audit, Entry, standing, utc_now
from harness.delivery.pipeline import Pipeline
from harness.delivery.policy import STOP_FILE, require_leave, require_open
from harness.delivery.repository import Repository
from harness.errors import FixRefused, HarnessError, ServiceUnavailable
from harness.git import GitFailed
from harness.model.delivery import GitDelivery
from harness.model.event import Event, TrialEnded
from harness.model.fix import Attempt
from harness.model.incident import Incident
from harness.model.source import Deployment, Endpoints, SourceTree
from harness.model.verdict import Outcome
from harness.ports import Target

logger = logging.getLogger(__name__)


class Delivery:
    """What one trial does to the repository. A sink, for the verdict; left without a heal, all is taken back."""

    def __init__(self, spec: GitDelivery, *, trial: str, results: Path, folder: Path, pipeline: Pipeline) -> None:
        """``folder`` is ours, for a clone."""
        self._spec, self._trial, self._pipeline = spec, trial, pipeline
        self._audit, self._repository = Audit(results), Repository(spec, folder)
        self._healed = self._over = False
        self._asked = _Asked()

    def __enter__(self) -> Self:
        """InputError, ServiceUnavailable: what would be found out only after a push."""
        self._pipeline.require_program()
        self._audit.entries()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._audit.alone():  # an attempt that Ctrl-C has left on its thread pushes before this, or never
                self._over = True
            for entry in self._standing():
                if self._healed:
                    self._note("kept", commit=entry.commit, reason="healed")
                else:
                    self._take_back(entry, reason="it was not proven to heal")
        except HarnessError as problem:  # the verdict stands; the next delivery is refused until somebody decides
            logger.warning("a fix is still in the repository, and nobody has decided about it: %s", problem)

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialEnded):
            self._healed = event.verdict.outcome is Outcome.HEALED

    def permit(self, incident: Incident, attempt: Attempt) -> None:
        """FixRefused where the rules of the scenario's ``deploy`` speak against it; that is recorded, too."""
        self._asked = _Asked(incident=incident.id, attempt=attempt.number, confidence=attempt.combined_confidence)
        base = self._repository.head()
        try:
            self._require_leave(base)
        except FixRefused as error:
            self._note("refused", reason=f"{error.rule}: {error.message}")
            raise

    def deliver(self, before: SourceTree, after: SourceTree, message: str) -> str:
        """Commit, push, wait for the pipeline. The commit. FixRefused; then nothing of it is left in the branch."""
        names = sorted(before.files.keys() | after.files.keys())
        changes = {name: after.files.get(name) for name in names if before.files.get(name) != after.files.get(name)}
        try:
            commit = self._push(before, changes, message)
        except FixRefused as error:
            self._note("refused", reason=f"{error.rule}: {error.message}")
            raise
        try:
            said = self._pipeline.wait(commit)
        except FixRefused as error:
            self._note("failed", commit=commit, reason=error.message)
            self.take_back("its pipeline failed")
            raise
        self._note("passed", commit=commit, reason=said)
        return commit

    def take_back(self, reason: str) -> None:
        """What of this trial stands in the branch, by a commit. ServiceUnavailable where that takes a person."""
        for entry in self._standing():
            self._take_back(entry, reason=reason)

    def _push(self, before: SourceTree, changes: dict[str, str | None], message: str) -> str:
        require_open(self._spec, [self._repository.path(name) for name in changes])
        with self._audit.alone():
            if self._over:
                raise FixRefused("the trial is over", rule="over")
            base = self._repository.head()
            self._require_leave(base)  # again: others may have delivered, or stopped us, meanwhile
            self._repository.require_same(base, before.files)
            try:
                commit = self._repository.commit(base, changes, f"{message}\nSigned-off-by: {self._spec.author}\n")
            except GitFailed as error:
                raise FixRefused(f"the fix cannot be committed: {error}", rule="path") from None
            self._note("pushed", commit=commit, base=base, reason=message)  # first: what is pushed unknown is worse
            try:
                self._repository.push(commit)
            except FixRefused as error:  # any other error leaves open whether it arrived: then it is to be taken back
                self._note("reverted", commit=commit, reason=f"it was never pushed: {error.message}")
                raise
        return commit

    def _require_leave(self, base: str) -> None:
        stopped = self._repository.has(base, STOP_FILE)
        require_leave(self._spec, self._audit.entries(), confidence=self._asked.confidence, stopped=stopped)

    def _take_back(self, entry: Entry, *, reason: str) -> None:
        """In the branch, and then wherever the pipeline brings it."""
        commit = revert(self._spec, self._repository, self._audit, entry, reason=reason)
        try:
            if commit:
                self._pipeline.wait(commit)
        except FixRefused as error:
            cure = "the revert is in the branch, and is not live: see the pipeline"
            raise ServiceUnavailable(error.message, cure=cure) from None

    def _standing(self) -> list[Entry]:
        return [entry for entry in standing(self._audit.entries()) if entry.trial == self._trial]

    def _note(self, action: Action, *, commit: str = "", base: str = "", reason: str = "") -> None:
        spec, asked = self._spec, self._asked
        self._audit.append(
            Entry(
                at=utc_now(),
                action=action,
                trial=self._trial,
                remote=spec.remote,
                branch=spec.branch,
                folder=spec.folder,
                author=spec.author,
                incident=asked.incident,
                attempt=asked.attempt,
                confidence=asked.confidence,
                commit=commit,
                base=base,
                reason=reason,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The attempt that is on its way."""

    incident: str = ""
    attempt: int = 0
    confidence: float | None = None


def revert(spec: GitDelivery, repository: Repository, audit: Audit, entry: Entry, *, reason: str) -> str:
    """Take back what was pushed, by a commit that is pushed. The commit; empty where the branch is rid of it.

    ServiceUnavailable where it takes a person; then the fix stays undecided.
    """
    message = (
        f"Revert the fix for incident {entry.incident}\n\nIncident: {entry.incident}\nReverts: {entry.commit}\n"
        f"Reason: {' '.join(reason.split())}\nSigned-off-by: {spec.author}\n"
    )
    with audit.alone():
        try:
            commit = repository.reverted(entry.commit, entry.base, message)
        except GitFailed as error:
            raise ServiceUnavailable(f"the revert cannot be made: {error}", cure="git revert, by hand") from None
        if commit:
            try:
                repository.push(commit)
            except FixRefused as error:
                raise ServiceUnavailable(error.message, cure="try again") from None
        audit.append(replace(entry, at=utc_now(), action="reverted", reason=reason, revert=commit))
    return commit


class DeliveredTarget:
    """Implements ``ports.Target`` over another one, which runs what was delivered, and names its commits itself."""

    def __init__(self, target: Target, delivery: Delivery) -> None:
        self._target, self._delivery = target, delivery

    def running(self) -> AbstractContextManager[Endpoints]:
        return self._target.running()

    def source(self) -> SourceTree:
        return self._target.source()

    def release(self, tree: SourceTree) -> Deployment:
        return self._target.release(tree)

    def redeploy(self, tree: SourceTree, message: str) -> Deployment:
        self._delivery.deliver(self._target.source(), tree, message)
        try:
            return self._target.redeploy(tree, message)
        except FixRefused:
            self._delivery.take_back("it does not start")
            raise

    def rollback(self) -> Deployment:
        """Users first."""
        deployment = self._target.rollback()
        self._delivery.take_back("users were no better off")
        return deployment

    def logs(self) -> Sequence[str]:
        return self._target.logs()

    def exposed(self) -> Iterable[tuple[str, bytes]]:
        return self._target.exposed()
