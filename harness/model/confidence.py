"""How sure one may be of a proposal: the fixer's own word, the retriever's, and both together. All before the outcome.

None of these is a probability until it was compared with outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.incident import Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class HowSure:
    """Of one fix, each from 0 to 1, by the names that they have in an attempt; None: nothing was said."""

    confidence: float | None = None  # as the fixer stated it
    retriever_confidence: float | None = None
    combined_confidence: float | None = None


def of_passages(passages: Sequence[Passage]) -> float | None:
    """The best passage's share of all scores, 0-1: near 1 where one stands out, low where many fit alike.

    A ratio, since retrievers score on scales of their own. None where nothing was found, or nothing scored.
    """
    scores = [max(0.0, passage.score) for passage in passages]
    return max(scores) / sum(scores) if sum(scores) > 0 else None


def combined(own: float | None, retrieved: float | None) -> float | None:
    """The geometric mean, which is low as soon as either is; the one that is known; None where neither is."""
    if own is None or retrieved is None:
        return retrieved if own is None else own
    return math.sqrt(own * retrieved)
