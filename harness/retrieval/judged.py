"""Queries with the documents that answer them, as they are kept in ``kb/evaluation``.

| file | holds |
|---|---|
| queries.jsonl | what is asked, one incident a line: all that a retriever is shown |
| origins.json | from which scenario each trial is |
| judgments.yml | how well each document answers incidents of each scenario, and why |
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.errors import InputError
from harness.model.incident import Incident
from harness.stats.ranking import Source

EVALUATION = "evaluation"  # the folder's name in a knowledge base
QUERIES, ORIGINS, JUDGMENTS = "queries.jsonl", "origins.json", "judgments.yml"
RELEVANT = 2  # from this grade on the remedy of a document carries over

Split = Literal["dev", "test"]

_T = TypeVar("_T")
_CURE = "see kb/evaluation/README.md"
_WHEN = "2026-01-01T00:00:00+00:00"  # of every query: when it happened tells nothing


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Query(_Strict):
    """One line of ``queries.jsonl``. ``form`` says how much of the incident is told, and how."""

    id: str = Field(pattern=r"^q\d{3,}$")
    split: Split
    trial: str = Field(pattern=r"^t\d{3,}$")
    form: str = Field(pattern=r"^[a-z_]+$")
    error_code: str = ""
    symptoms: str = ""
    breadcrumbs: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()

    @property
    def incident(self) -> Incident:
        """What a retriever is asked."""
        return Incident(
            id=self.id,
            error_code=self.error_code,
            symptoms=self.symptoms,
            breadcrumbs=self.breadcrumbs,
            logs=self.logs,
            window=None,
            detected_at=_WHEN,
        )


class _Judgment(_Strict):
    grade: int = Field(ge=1, le=3)
    why: str = Field(min_length=1)


class _Origin(_Strict):
    split: Split
    cause: str = Field(min_length=1)
    documents: dict[str, _Judgment]  # any other document has grade 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A query, where it is from, and the grade of each document that is graded above 0."""

    query: Query
    source: Source
    grades: Mapping[str, int]


def answers_of(folder: Path, scenario: str) -> tuple[str, ...]:
    """The ids of the documents whose remedy carries over to the scenario, the best first. InputError for none."""
    file = folder / JUDGMENTS
    origin = _origins(file).get(scenario)
    found = origin.documents if origin else {}
    ids = sorted((name for name in found if found[name].grade >= RELEVANT), key=lambda name: (-found[name].grade, name))
    if not ids:
        cure = f"judge documents for it there, or choose another --retriever; {_CURE}"
        raise InputError(f"{file}: nothing is judged to answer {scenario}", cure=cure)
    return tuple(ids)


def splits_of(folder: Path) -> dict[str, Split]:
    """On which side each judged scenario stands, by name. InputError names the file and what is wrong in it."""
    return {name: origin.split for name, origin in _origins(folder / JUDGMENTS).items()}


def load_judged(folder: Path, known: Collection[str]) -> tuple[Judged, ...]:
    """All queries. ``known``: the ids of the documents that are searched.

    InputError names file, line and key: what is not readable, a document that is not there, a scenario without an
    answer, and a scenario or trial that stands in both splits.
    """
    judgments = _judgments(folder / JUDGMENTS, known)
    origins = _parsed(TypeAdapter(dict[str, str]), _text(folder / ORIGINS), str(folder / ORIGINS))
    judged: dict[str, Judged] = {}
    for where, query in _queries(folder / QUERIES):
        origin = origins.get(query.trial, "")
        if query.id in judged or origin not in judgments:
            what = "is there twice" if query.id in judged else f"its trial {query.trial} has no judged origin"
            raise InputError(f"{where}: {query.id}: {what}", cure=_CURE)
        if query.split != judgments[origin].split:
            raise InputError(
                f"{where}: {query.id}: split {query.split}, but all of its scenario are {judgments[origin].split}",
                cure="near-duplicates must not stand on both sides: give it the split of its scenario",
            )
        grades = {name: judgment.grade for name, judgment in judgments[origin].documents.items()}
        judged[query.id] = Judged(query=query, source=Source(group=origin, trial=query.trial), grades=grades)
    return tuple(judged.values())


def _origins(file: Path) -> dict[str, _Origin]:
    try:
        values = yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        raise InputError(f"{file}: no YAML: {error}", cure=_CURE) from error
    return _validated(TypeAdapter(dict[str, _Origin]), values, str(file))


def _judgments(file: Path, known: Collection[str]) -> dict[str, _Origin]:
    judgments = _origins(file)
    for name, origin in judgments.items():
        if missing := sorted(set(origin.documents) - set(known)):
            raise InputError(f"{file}: {name}: no document {missing[0]!r}", cure="judge the documents that are there")
        if all(judgment.grade < RELEVANT for judgment in origin.documents.values()):
            raise InputError(f"{file}: {name}: nothing answers it", cure=f"grade a document {RELEVANT} or higher")
    return judgments


def _queries(file: Path) -> Iterator[tuple[str, Query]]:
    for number, line in enumerate(_text(file).splitlines(), start=1):
        where = f"{file}:{number}"
        yield where, _parsed(TypeAdapter(Query), line, where)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}", cure=_CURE) from error


def _parsed(adapter: TypeAdapter[_T], text: str, where: str) -> _T:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: no JSON: {error}", cure=_CURE) from error
    return _validated(adapter, values, where)


def _validated(adapter: TypeAdapter[_T], values: object, where: str) -> _T:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}", cure=_CURE) from error
