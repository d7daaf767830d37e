"""A check whose results are given: for dry runs and tests."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.source import Endpoints
from harness.model.verdict import CheckResult, Moment


class ScriptedCheck:
    """Implements ``ports.Check``."""

    def __init__(self, *results: CheckResult, name: str = "scripted") -> None:
        self.name = name
        self._results = results

    def run(self, endpoints: Endpoints, seed: int, moment: Moment) -> Sequence[CheckResult]:
        return self._results if moment == "after" else ()
