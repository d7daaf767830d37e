"""An app that is only its source: for dry runs and tests of everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from harness.model.source import Deployment, Endpoints, SourceTree


class MemoryTarget:
    """Implements ``ports.Target`` without processes. Commits are numbered; log lines come from ``say``."""

    def __init__(self, tree: SourceTree) -> None:
        self._trees = [tree]
        self._lines: list[str] = []
        self._commits = 0
        self._deployments = 0

    @contextmanager
    def running(self) -> Iterator[Endpoints]:
        yield Endpoints(url="memory://app", upstreams={})

    def say(self, line: str) -> None:
        """Write one line to the app's log."""
        self._lines.append(line)

    def source(self) -> SourceTree:
        return replace(self._trees[-1], commit=f"{self._commits:040x}")

    def release(self, tree: SourceTree) -> Deployment:
        self._trees = [tree]
        return self._deployed()

    def redeploy(self, tree: SourceTree, message: str) -> Deployment:
        before = self._trees[-1].files
        self._trees.append(tree)
        return self._deployed("\n".join(name for name in tree.files if tree.files[name] != before.get(name)))

    def rollback(self) -> Deployment:
        self._trees.pop()
        return self._deployed()

    def exposed(self) -> Iterable[tuple[str, bytes]]:
        return [(f"file: {path}", text.encode()) for path, text in self.source().files.items()]

    def logs(self) -> Sequence[str]:
        lines, self._lines = self._lines, []
        return lines

    def _deployed(self, diff: str = "") -> Deployment:
        self._commits += 1
        self._deployments += 1
        return Deployment(number=self._deployments, commit=self.source().commit, diff=diff)
