"""Looks for the needles in an offer: 1 MB in some milliseconds, since each is looked for as plain bytes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.leaks.needles import Kind, Needle, Needles
from harness.leaks.offer import Blob, Offer, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """``text`` is the answer itself: it may go into a verdict, never to a fixer; ``str`` leaves it out."""

    kind: Kind
    where: str  # the blob's name
    line: int  # from 1
    text: str

    def __str__(self) -> str:
        return f"the {self.kind} in {self.where}, line {self.line}"


def leaked(offer: Offer, needles: Needles) -> tuple[Leak, ...]:
    """Where the answer stands, each needle once a blob; none is what a trial needs."""
    known = {
        needle.text
        for blob in offer
        if blob.origin in (Origin.OWN, Origin.LEARNT)
        for needle, _ in _found(blob, needles.all)
        if blob.origin not in needle.origins
    }
    return tuple(
        Leak(kind=needle.kind, where=blob.name, line=blob.data.count(b"\n", 0, at) + 1, text=needle.text)
        for blob in offer
        for needle, at in _found(blob, [needle for needle in needles.all if blob.origin in needle.origins])
        if not (blob.origin is Origin.MIXED and needle.text in known)
    )


def _found(blob: Blob, needles: Iterable[Needle]) -> Iterator[tuple[Needle, int]]:
    """Each needle that is there, and the offset of its first place."""
    small = blob.data.lower()
    for needle in needles:
        if any(form in small for form in needle.forms) and (match := needle.pattern.search(blob.data)):
            yield needle, match.start()
