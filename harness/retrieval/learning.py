"""A resolved incident as a new document. What came from logs or a model is kept as quoted text, never as structure."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import yaml

from harness.model.fix import Fix, ReplaceText
from harness.model.incident import Incident, Remedy
from harness.retrieval.corpus import SECTIONS, Document, parse_document
from harness.retrieval.query import telling_lines

LAST_LINES = 10  # of a log in which nothing complains
LINE_CHARS = 500
PROSE_LINES = 60
NOT_STATED = "Not stated."

_STRUCTURE = re.compile(r"^(\s*)(?=[#`~<>|=+*-])")


def learnt_document(incident: Incident, fix: Fix, known: Iterable[Remedy] = ()) -> tuple[Document, str]:
    """The document and its file text. It recommends those of the ``known`` remedies that the fix says it applied.

    A fix names a remedy by a line ``Remedy applied: NAME`` in its remediation, as the playbook writes
    it. Only remedies that the corpus recommends already are taken over, so a text cannot invent one.
    """
    applied = {line.strip() for line in fix.remediation.splitlines()}
    remedies = [remedy for remedy in known if remedy.applied in applied]
    name = re.sub(r"[^a-z0-9._-]+", "-", incident.id.lower()).strip("-.")[:100]
    front = {
        "id": f"learned-{name or 'incident'}",
        "title": " ".join(_plain(f"{incident.error_code}: {incident.symptoms}").split())[:160],
        "error_code": re.sub(r"[^A-Z0-9_]+", "_", incident.error_code.upper()).strip("_") or "UNKNOWN",
        "service": "app under test",
        "date": datetime.fromisoformat(incident.detected_at).date(),
        "tags": ["learned"],
        "remedies": [{"name": each.name, "parameters": dict(each.parameters)} for each in remedies],
    }
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=False, width=10_000)
    text = f"---\n{header}---\n\n{_body(incident, fix)}"
    return parse_document(text, Path(f"{front['id']}.md")), text


def write_document(folder: Path, document: Document, text: str) -> Path:
    """Write ``<id>.md`` so that a reader sees the whole file or none."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{document.id}.md"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=folder, prefix=".", suffix=".tmp", delete=False
    ) as draft:
        try:
            draft.write(text)
            draft.flush()
            os.fsync(draft.fileno())
            Path(draft.name).chmod(0o644)
            Path(draft.name).replace(file)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise
    return file


def _body(incident: Incident, fix: Fix) -> str:
    steps = [f"{number}. {_plain(step)}" for number, step in enumerate(fix.verification, start=1)]
    contents = (
        f"{_prose(incident.symptoms)}\n\n{_quoted(telling_lines(incident.logs) or incident.logs[-LAST_LINES:])}",
        "\n".join(f"- {_plain(crumb)}" for crumb in incident.breadcrumbs) or NOT_STATED,
        _prose(fix.root_cause),
        f"{_prose(fix.remediation)}\n\n{_changes(fix)}",
        "\n".join(steps) or NOT_STATED,
    )
    return "\n".join(f"## {title}\n\n{content.strip()}\n" for title, content in zip(SECTIONS, contents, strict=True))


def _changes(fix: Fix) -> str:
    """Which files were changed, and how where the change is small."""
    lines = []
    for edit in fix.edits:
        lines.append(f"- {edit.kind}: {_plain(edit.path)}\n")
        if isinstance(edit, ReplaceText):
            before = [f"- {line}" for line in edit.search.splitlines()]
            after = [f"+ {line}" for line in edit.replace.splitlines()]
            lines.append(_quoted([*before, *after][:PROSE_LINES]) + "\n")
    return "\n".join(lines)


def _quoted(lines: Sequence[str]) -> str:
    """A code block by indentation: unlike a fence, no line inside can close it."""
    return "\n".join(f"    {_plain(part)}" for line in lines for part in line.splitlines() or [""])


def _prose(text: str) -> str:
    """Running text in which no line is read as a heading, fence, rule, list or HTML."""
    lines = [_plain(line) for line in text.strip().splitlines()[:PROSE_LINES]]
    return "\n".join(_STRUCTURE.sub(r"\1\\", line) for line in lines) or NOT_STATED


def _plain(text: str) -> str:
    """One line of bounded length; what does not print (control, direction, surrogates) is spelled out."""
    line = text.replace("\t", "    ")[:LINE_CHARS]
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
