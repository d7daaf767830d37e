"""How sure one may be: pure, of scores and numbers."""

from __future__ import annotations

import pytest

from harness.model.confidence import combined, of_passages
from harness.model.incident import Passage


def passages(*scores: float) -> list[Passage]:
    return [Passage(id=f"p{number}", title="", text="", score=score) for number, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ((), None),
        ((0.0, 0.0), None),
        ((-1.0,), None),
        ((3.0,), 1.0),
        ((2.0, 2.0), 0.5),
        ((6.0, 2.0, -4.0), 0.75),
    ],
)
def test_the_best_passages_share(scores: tuple[float, ...], share: float | None) -> None:
    assert of_passages(passages(*scores)) == share


def test_a_share_does_not_know_the_retrievers_scale() -> None:
    assert of_passages(passages(30, 20, 10)) == pytest.approx(of_passages(passages(0.3, 0.2, 0.1)))


@pytest.mark.parametrize(
    ("own", "retrieved", "both"),
    [(None, None, None), (0.6, None, 0.6), (None, 0.3, 0.3), (0.9, 0.4, 0.6), (0.0, 1.0, 0.0), (1.0, 1.0, 1.0)],
)
def test_both_together(own: float | None, retrieved: float | None, both: float | None) -> None:
    assert combined(own, retrieved) == (None if both is None else pytest.approx(both))
