"""A sweep: which fixers meet which scenarios, and how often."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from harness.model.schema import Described, Seconds

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$"


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable() or text.startswith("-"):
        raise ValueError("a fixer is a name, module:Class, or command: PROGRAM, on one line")
    return text


class Arm(Described):
    """A fixer with a retriever: what is compared."""

    fixer: Annotated[str, AfterValidator(_one_line)]
    retriever: Annotated[str, AfterValidator(_one_line)] = "lexical"

    @property
    def name(self) -> str:
        """Such as playbook@dense."""
        return f"{self.fixer}@{self.retriever}"

    @property
    def slug(self) -> str:
        """The name as a part of a folder's name."""
        return re.sub("[^A-Za-z0-9_.@-]+", "-", self.name)[:50]


class SweepBudget(Described):
    """Where the sweep stops: no trial is begun once so much was spent. None: no bound."""

    usd: float | None = Field(default=None, gt=0, description="on models, in US dollars")
    time_s: Seconds | None = Field(default=None, alias="time", gt=0, description="of trials, one after another")


class Experiment(Described):
    """``experiment.yml``. The same seed meets all arms of a scenario in a repeat: arrivals and upstreams' draws too."""

    name: str = Field(pattern=NAME)
    scenarios: tuple[str, ...] = Field(min_length=1, description="files, from where this file lies")
    arms: tuple[Arm, ...] = Field(min_length=1)
    repeats: int = Field(default=3, ge=1, le=1000)
    seed: int = Field(default=1, ge=0, description="of the order, and of all seeds of trials")
    retries: int = Field(default=1, ge=0, le=5, description="how often a trial is run again that was INVALID")
    budget: SweepBudget = SweepBudget()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, names in (("arms", [arm.name for arm in self.arms]), ("scenarios", list(self.scenarios))):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{what}: {twice[0]} stands there twice")
        if len({arm.slug for arm in self.arms}) < len(self.arms):
            raise ValueError("arms: two fixers cannot be told apart by their first 50 letters")
        return self
