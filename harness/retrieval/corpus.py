"""Past incidents: one Markdown file each, YAML front matter and five sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError
from harness.model.incident import Passage, Remedy

SECTIONS = ("Symptoms", "Breadcrumbs", "Root cause", "Remediation", "Verification")

_HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)
_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)
_SHAPE = "start the file with '---', the keys id, title, error_code, service, date, tags, remedies, and '---'"


class _Remedy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    parameters: dict[str, str | int | float | bool] = Field(default_factory=dict)


class FrontMatter(BaseModel):
    """What a document says about itself, in YAML between two lines of ``---``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=120)
    title: str = Field(min_length=1, max_length=200)
    error_code: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    service: str = Field(min_length=1)
    date: date
    tags: tuple[str, ...] = ()
    remedies: tuple[_Remedy, ...] = ()
    helped: bool = True  # false: what was tried, with these remedies, and rolled back
    times: int = Field(default=1, ge=1)  # how often it happened
    change: str = ""  # the beginning of a sha256 of the edits, where it was learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One past incident. ``body`` is the Markdown below the front matter."""

    id: str
    title: str
    error_code: str
    service: str
    date: date
    tags: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    body: str
    helped: bool = True
    times: int = 1
    change: str = ""

    def passage(self, score: float) -> Passage:
        """What a fixer is given: the body under a line that says where and when it happened."""
        heading = f"{self.error_code} in {self.service}, {self.date.isoformat()}"
        return Passage(
            id=self.id,
            title=self.title,
            text=f"{heading}\n\n{self.body}",
            score=score,
            remedies=self.remedies,
            helped=self.helped,
        )

    @property
    def search_text(self) -> str:
        """All that a search may match, the title and the code included."""
        return "\n".join((self.error_code, self.title, " ".join(self.tags), self.body))


def load_corpus(folder: Path) -> tuple[Document, ...]:
    """Every ``*.md`` file in ``folder`` but README.md, by file name. InputError names file, line, key and cure."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of past incidents", cure="name a folder of Markdown documents")
    files = [file for file in sorted(folder.glob("*.md")) if file.name != "README.md"]
    documents: dict[str, Document] = {}
    for file in files:
        document = load_document(file)
        if document.id in documents:
            raise InputError(f"{file}:1: id: {document.id!r} is taken by another file", cure="give each its own id")
        documents[document.id] = document
    return tuple(documents.values())


def load_document(file: Path) -> Document:
    """One document. InputError names file, line, key and cure."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}", cure="save it as readable UTF-8 text") from error
    document = parse_document(text, file)
    if file.stem != document.id and not file.stem.startswith(f"{document.id}-"):
        raise InputError(
            f"{file}:1: id: the file name does not begin with the id {document.id!r}", cure="rename one of the two"
        )
    return document


def parse_document(text: str, file: Path) -> Document:
    """``file`` is only named in errors."""
    fences = list(_FENCE.finditer(text))[:2]
    if len(fences) < 2 or fences[0].start() != 0:
        raise InputError(f"{file}:1: the front matter is missing", cure=_SHAPE)
    front = _front_matter(text[fences[0].end() + 1 : fences[1].start()], file)
    body = text[fences[1].end() :].strip() + "\n"
    _demand_sections(body, file, first_line=text.count("\n", 0, fences[1].end()) + 1)
    return Document(
        id=front.id,
        title=front.title,
        error_code=front.error_code,
        service=front.service,
        date=front.date,
        tags=front.tags,
        remedies=tuple(Remedy(name=each.name, parameters=dict(each.parameters)) for each in front.remedies),
        body=body,
        helped=front.helped,
        times=front.times,
        change=front.change,
    )


def _front_matter(source: str, file: Path) -> FrontMatter:
    try:
        node = yaml.compose(source, Loader=yaml.SafeLoader)
        values = yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        raise InputError(f"{file}:{line}: the front matter is no YAML: {error}", cure=_SHAPE) from error
    try:
        return FrontMatter.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f"{file}:{_line(node, first['loc']) + 2}: {key or 'front matter'}"
        raise InputError(f"{where}: {first['msg']}", cure=_SHAPE) from error


def _line(node: yaml.Node | None, path: Sequence[str | int]) -> int:
    """The line, from 0, of the deepest node on ``path`` that exists."""
    if node is None:
        return 0
    if path:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == path[0]:
                    return max(int(key.start_mark.line), _line(value, path[1:]))
        if isinstance(node, yaml.SequenceNode) and isinstance(path[0], int) and path[0] < len(node.value):
            return _line(node.value[path[0]], path[1:])
    mark = node.start_mark
    return int(mark.line) if mark else 0


def _demand_sections(body: str, file: Path, *, first_line: int) -> None:
    found = tuple(match[1] for match in _HEADING.finditer(body))
    if found != SECTIONS:
        raise InputError(
            f"{file}:{first_line}: the sections are {', '.join(found) or 'missing'}",
            cure=f"write exactly these, in this order: {', '.join('## ' + name for name in SECTIONS)}",
        )
