"""A folder of pytest files, run against the live app from a process of its own, over HTTP only."""

from __future__ import annotations

import os
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from harness.errors import MeasurementError
from harness.model.source import Endpoints
from harness.model.verdict import CheckResult, Moment
from harness.services.supervisor import Supervisor

_TIMEOUT_S = 90.0
_EVIDENCE_CHARACTERS = 300
_ENDED = (0, 1)  # all passed, or some failed: there is a whole report
_NO_TESTS = 5
_PLUGIN = Path(__file__).parent / "plugin" / "moments.py"


class FolderCheck:
    """Implements ``ports.Check``.

    The tests read CHECK_URL, CHECK_SEED, CHECK_MOMENT, CHECK_UPSTREAM_<NAME>_URL/_TOKEN, and CHECK_MEMORY: a folder
    that stays from one moment to the next. A test says when it runs by the marks before, during, after; without, after.
    """

    def __init__(
        self, folder: Path, *, supervisor: Supervisor, log: Path, memory: Path, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self.name, self._supervisor = "hidden checks", supervisor
        self._folder, self._log, self._timeout_s = folder.resolve(), log, timeout_s
        self._memory = memory

    def run(self, endpoints: Endpoints, seed: int, moment: Moment) -> Sequence[CheckResult]:
        """One result a test; a time-out is a failed check. MeasurementError when the tests themselves are broken."""
        self._memory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="checks-") as scratch:
            report = Path(scratch) / "report.xml"
            env = _environment(endpoints, seed, moment, scratch) | {"CHECK_MEMORY": str(self._memory)}
            code = self._pytest(report, env)
            results = _results(report) if code in _ENDED and report.is_file() else []
        if code is None:
            evidence = f"pytest did not end within {self._timeout_s:g} s; see {self._log}"
            return [CheckResult(name=self.name, passed=False, evidence=evidence)]
        if code == _NO_TESTS and moment != "after":
            return []
        if not results or (code == 0) != all(result.passed for result in results):
            how = "no test was found" if code == _NO_TESTS else f"pytest ended with code {code}"
            raise MeasurementError(f"the checks in {self._folder.name}/ cannot be run: {how}", cure=f"read {self._log}")
        return results

    def _pytest(self, report: Path, env: dict[str, str]) -> int | None:
        command = [sys.executable, "-P", "-m", "pytest", str(self._folder), f"--junitxml={report}", "-q"]
        # no settings and no conftest.py of the folders above, and no plugin that happens to be installed
        command += [f"--rootdir={self._folder}", f"--confcutdir={self._folder}", "-c", os.devnull]
        command += ["-p", "no:cacheprovider", "-p", _PLUGIN.stem, "--import-mode=importlib"]
        child = self._supervisor.start("checks", command, env=env, cwd=report.parent, log=self._log, stop_timeout_s=1.0)
        try:
            return child.wait(self._timeout_s)
        finally:
            child.stop()


def _environment(endpoints: Endpoints, seed: int, moment: Moment, scratch: str) -> dict[str, str]:
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(_PLUGIN.parent),
        "LANG": "C.UTF-8",
        "TMPDIR": scratch,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "CHECK_URL": endpoints.url,
        "CHECK_SEED": str(seed),
        "CHECK_MOMENT": moment,
    }
    for name, upstream in endpoints.upstreams.items():
        env[f"CHECK_UPSTREAM_{name.upper()}_URL"] = upstream.url
        env[f"CHECK_UPSTREAM_{name.upper()}_TOKEN"] = upstream.admin_token
    return env


def _results(report: Path) -> list[CheckResult]:
    """pytest's own report, written by the process that we started ourselves."""
    results = []
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - written by our own pytest, not from outside
        trouble = next((case.find(tag) for tag in ("failure", "error", "skipped") if case.find(tag) is not None), None)
        evidence = "holds" if trouble is None else (trouble.get("message") or trouble.text or trouble.tag)
        name = case.get("name", "").removeprefix("test_").replace("_", " ")
        if not name:  # the session broke off in the middle of it
            return []
        results.append(CheckResult(name=name, passed=trouble is None, evidence=evidence[:_EVIDENCE_CHARACTERS]))
    return results
