"""What the command line decides about a trial."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.services.containment import Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The scenario says the rest."""

    results: Path
    id: str | None = None  # the trial's, and the name of its folder; None: a new one
    fixer: str | None = None
    retriever: str = "lexical"
    seed: int | None = None
    kb: str | None = None  # a named knowledge base: what was learnt before is searched too
    min_confidence: float | None = None  # instead of the scenario's own
    learn: bool = False  # what this trial teaches goes there
    record: bool = True  # exchanges with a model
    replay: Path | None = None  # the folder of an earlier trial: its exchanges answer
    track: bool = True
    alert: bool = False  # people on call, where the environment says
    withdraw: bool = False
    isolation: Isolation = "auto"
    compose: Path | None = None  # a compose file: the app runs in its containers
    ecs: Path | None = None  # a file that says where: the app runs on ECS

    @property
    def distant(self) -> bool:
        """Whether the app is no process of this machine that we could watch or contain."""
        return self.compose is not None or self.ecs is not None
