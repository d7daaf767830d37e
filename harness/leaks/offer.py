"""All that a fixer gets, piece by piece, each by whose words it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain
from typing import Final

from harness.model.fix import Attempt
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree

LEARNED: Final = "learned-"  # how the id of a passage begins that was learnt from a healed incident

_PROPOSAL: Final = "proposal"  # the rule of an attempt whose fixer gave nothing of use: why is told in its own words


class Origin(StrEnum):
    NAME = "name"  # the harness': names that it gives
    TEXT = "text"  # the harness': what it says
    FILE = "file"  # the app's, its users' or the knowledge base's
    LEARNT = "learnt"  # from an incident that was healed
    OWN = "own"  # the fixer's
    MIXED = "mixed"  # what repeats several of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    name: str
    origin: Origin
    data: bytes


Offer = Sequence[Blob]


def offered(
    incident: Incident,
    passages: Iterable[Passage],
    tree: SourceTree,
    earlier: Iterable[Attempt],
    *,
    prompt: str = "",
    environment: Mapping[str, str] | None = None,
    exposed: Iterable[tuple[str, bytes]] = (),
) -> Offer:
    """All that a fixer gets, each piece by whose words it holds.

    ``prompt``: the exact text that it sends. ``environment``: of its process. ``exposed``: by ``Workspace.exposed``.
    """
    return [
        _blob("prompt", Origin.MIXED, prompt),
        *_of_incident(incident),
        *chain.from_iterable(_of_passage(passage) for passage in passages),
        _blob("commit", Origin.NAME, tree.commit),
        _blob("paths of the source", Origin.FILE, "\n".join(tree.files)),
        _blob("globs of the source", Origin.FILE, "\n".join((*tree.editable, *tree.protected))),
        *(_blob(f"source {path}", Origin.FILE, text) for path, text in tree.files.items()),
        *chain.from_iterable(_of_attempt(attempt) for attempt in earlier),
        *(_blob(f"environment {name}", Origin.TEXT, f"{name}={value}") for name, value in (environment or {}).items()),
        *(Blob(name=name, origin=Origin(name.partition(":")[0]), data=data) for name, data in exposed),
    ]


def _blob(name: str, origin: Origin, text: str) -> Blob:
    return Blob(name=name, origin=origin, data=text.encode(errors="replace"))


def _of_incident(incident: Incident) -> Iterator[Blob]:
    yield _blob("incident.id", Origin.NAME, incident.id)
    yield _blob("incident.errorCode", Origin.FILE, incident.error_code)  # a word of the app's log
    yield _blob("incident.symptoms", Origin.TEXT, incident.symptoms)
    yield _blob("incident.breadcrumbs", Origin.TEXT, "\n".join(incident.breadcrumbs))
    yield _blob("incident.logs", Origin.MIXED, "\n".join(incident.logs))  # also of fixes that ran
    yield _blob("incident.window", Origin.FILE, "\n".join(incident.window.routes if incident.window else ()))


def _of_passage(passage: Passage) -> Iterator[Blob]:
    origin = Origin.LEARNT if passage.id.startswith(LEARNED) else Origin.FILE
    remedies = (remedy.applied for remedy in passage.remedies)
    yield _blob(f"passage {passage.id}", origin, "\n".join((passage.id, passage.title, passage.text, *remedies)))


def _of_attempt(attempt: Attempt) -> Iterator[Blob]:
    name = f"attempt {attempt.number}"
    fix = [*_strings(asdict(attempt.fix))] if attempt.fix else []
    diff = attempt.deployment.diff if attempt.deployment else ""
    yield _blob(f"{name}: fix", Origin.OWN, "\n".join((*fix, diff)))
    why = Origin.OWN if attempt.rule == _PROPOSAL else Origin.MIXED
    yield _blob(f"{name}: reason", why, "\n".join((attempt.reason, *(flag.message for flag in attempt.flags))))
    yield from chain.from_iterable(map(_of_passage, attempt.passages))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(map(_strings, value.values()))
    elif isinstance(value, list | tuple):
        yield from chain.from_iterable(map(_strings, value))
