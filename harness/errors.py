"""Every error this package raises on purpose, grouped by whose fault it is.

HarnessError                    message + cure; ``exit_code`` is what the command line returns
├── InputError                  the user's: a scenario, a flag, a setting (exit 2)
│   └── ScenarioError           names file, line and key
├── MeasurementError            the machine's: nothing was measured, the trial is INVALID (exit 3)
│   ├── ServiceUnavailable      PostgreSQL, Valkey, git, a free port could not be had
│   ├── TargetNotReady          the app under test never became healthy
│   ├── LoadNotFlowing          the generator died, or sends too late to be believed
│   ├── BaselineBreached        the SLOs do not hold before the fault
│   └── FaultDidNotBite         the fault is on, yet nobody suffers
└── FixerError                  the fixer's: its attempt is lost, the trial goes on
    ├── FixRefused              the proposal broke a rule of the guard
    └── ProposalFailed          no usable proposal: time-out, quota, an answer that cannot be read
"""

from __future__ import annotations

from pathlib import Path


class HarnessError(Exception):
    """Base of all errors below. ``cure`` says what the user can do about it."""

    exit_code = 1

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}\n  {self.cure}" if self.cure else self.message


class InputError(HarnessError):
    """Something the user wrote is wrong; nothing was started."""

    exit_code = 2


class ScenarioError(InputError):
    """A scenario file is wrong. ``line`` counts from 1; ``key`` is a dotted path such as ``load.arrivals.rate``."""

    def __init__(self, message: str, *, file: Path, line: int | None = None, key: str = "", cure: str = "") -> None:
        where = f"{file}:{line}" if line else str(file)
        super().__init__(f"{where}: {f'{key}: ' if key else ''}{message}", cure=cure)
        self.file, self.line, self.key = file, line, key


class MeasurementError(HarnessError):
    """The trial could not be measured; its verdict is INVALID and counts for nobody."""

    exit_code = 3


class ServiceUnavailable(MeasurementError):
    """A service that the trial stands on could not be had."""


class TargetNotReady(MeasurementError):
    """The app under test did not become healthy in time."""


class LoadNotFlowing(MeasurementError):
    """The load generator died, never started, or lags behind its schedule."""


class BaselineBreached(MeasurementError):
    """The SLOs were broken before any fault was injected."""


class FaultDidNotBite(MeasurementError):
    """The fault was active, and the SLOs held all the same."""


class FixerError(HarnessError):
    """A proposal that cannot be used. The attempt is lost; the trial goes on."""


class FixRefused(FixerError):
    """The guard refused the proposal. ``rule`` names the rule that it broke."""

    def __init__(self, message: str, *, rule: str, cure: str = "") -> None:
        super().__init__(message, cure=cure)
        self.rule = rule


class ProposalFailed(FixerError):
    """The fixer gave no usable proposal. ``cost`` is what it cost all the same: a ``harness.model.fix.Cost``, or None.

    Typed as an object, since this module stands below the model: who reads it asks with isinstance.
    """

    def __init__(self, message: str, *, cure: str = "", cost: object = None) -> None:
        super().__init__(message, cure=cure)
        self.cost = cost


def install(extra: str) -> str:
    """The cure for a missing package. From the checkout, as elsewhere that name is nobody's, or a stranger's."""
    return f"pip install -e '.[{extra}]' in the checkout of CreamAndOnion"
