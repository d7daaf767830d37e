"""A bad release: what our own pipeline ships while users come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.model.source import Endpoints, SourceTree
from harness.model.verdict import CheckResult
from harness.ports import Target


class BadRelease:
    """Implements ``ports.Fault``: deploys ``spoil(tree)`` as the new release. What heals it is a fix, not an end."""

    kind = "defect"

    def __init__(self, target: Target, spoil: Callable[[SourceTree], SourceTree]) -> None:
        self._target, self._spoil = target, spoil

    @contextmanager
    def active(self, endpoints: Endpoints) -> Iterator[_Released]:
        before = self._target.source()
        deployment = self._target.release(self._spoil(before))
        yield _Released(before.commit, deployment.commit)


class _Released:
    def __init__(self, before: str, after: str) -> None:
        self._before, self._after = before, after

    def check(self) -> CheckResult:
        """A release that changed nothing would leave nothing to heal."""
        return CheckResult(
            name="fault still on (release)",
            passed=self._before != self._after,
            evidence=f"the bad release {self._after[:12]} replaced {self._before[:12]} under load",
        )
