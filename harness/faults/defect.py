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
        spoilt = self._spoil(before)
        paths = sorted(before.files.keys() | spoilt.files.keys())
        changed = [path for path in paths if before.files.get(path) != spoilt.files.get(path)]
        yield _Released(self._target.release(spoilt).commit, changed)


class _Released:
    def __init__(self, commit: str, changed: list[str]) -> None:
        self._commit, self._changed = commit, changed

    def check(self) -> CheckResult:
        """A release that changed nothing would leave nothing to heal."""
        return CheckResult(
            name="fault still on (release)",
            passed=bool(self._changed),
            evidence=f"released under load: {self._commit[:12]}, which changes {', '.join(self._changed) or 'nothing'}",
        )
