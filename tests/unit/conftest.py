"""What several unit tests need."""

from __future__ import annotations

import pytest

from harness.experiment.lanes import Lane
from tests.lanes import Lanes


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Lanes:
    """Trials that end at once, instead of `harness run`."""
    made = Lanes()
    monkeypatch.setattr(Lane, "run", lambda lane, scenario, *words: made.run(lane, scenario, *words))
    return made
