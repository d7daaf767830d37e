"""A resolved incident as a new document. What came from logs or a model is kept as quoted text, never as structure."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import yaml

from harness.model.fix import Fix, ReplaceText
from harness.model.incident import Incident, Remedy
from harness.retrieval.corpus import SECTIONS, Document, parse_document
from harness.retrieval.query import telling_lines

LEARNED = "learned-"  # how the id of what was learnt begins
LAST_LINES = 10  # of a log in which nothing complains
LINE_CHARS = 500
PROSE_LINES = 60
NOT_STATED = "Not stated."

_STRUCTURE = re.compile(r"^(\s*)(?=[#`~<>|=+*-])")


def learnt_document(
    incident: Incident,
    fix: Fix,
    *,
    among: Sequence[Document] = (),
    known: Sequence[Remedy] | None = None,
    failed: str = "",
) -> tuple[Document, str]:
    """The document and its file text, ``among`` those that there are. ``failed``: why the fix was rolled back.

    It carries those of the ``known`` remedies (None: those of the other documents) that the fix says it applied. A fix
    names a remedy by a line ``Remedy applied: NAME`` in its remediation, as the playbook writes it; a text cannot
    invent one. Where the same was learnt before, the document takes the place of the earlier one and counts on.
    """
    applied = {line.strip() for line in fix.remediation.splitlines()}
    remedies = [remedy for remedy in (_remedies(among) if known is None else known) if remedy.applied in applied]
    change = sha256(repr(fix.edits).encode("utf-8", "replace")).hexdigest()[:12]
    front = {
        "id": _id(incident, change, failed),
        "title": " ".join(_plain(f"{incident.error_code}: {incident.symptoms}").split())[:160],
        "error_code": re.sub(r"[^A-Z0-9_]+", "_", incident.error_code.upper()).strip("_") or "UNKNOWN",
        "service": "app under test",
        "date": datetime.fromisoformat(incident.detected_at).date(),
        "tags": ["learned"],
        "remedies": [{"name": each.name, "parameters": dict(each.parameters)} for each in remedies],
        "helped": not failed,
        "times": 1,
        "change": change,
    }
    body = _body(incident, fix, failed)
    document, text = _document(front, body)
    if earlier := next((other for other in among if _same(document, other)), None):
        document, text = _document(front | {"id": earlier.id, "times": _counted(earlier, document)}, body)
    return document, text


def _document(front: dict[str, object], body: str) -> tuple[Document, str]:
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=False, width=10_000)
    text = f"---\n{header}---\n\n{body}"
    return parse_document(text, Path(f"{front['id']}.md")), text


def _id(incident: Incident, change: str, failed: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", incident.id.lower()).strip("-.")[:80] or "incident"
    return f"{LEARNED}{name}{f'-not-{change}' if failed else ''}"


def _remedies(among: Sequence[Document]) -> list[Remedy]:
    """Each once, of what helped."""
    known: list[Remedy] = []
    for document in among:
        known.extend(remedy for remedy in document.remedies if document.helped and remedy not in known)
    return known


def _same(one: Document, other: Document) -> bool:
    """Whether both teach the same: the same change did, or did not, help against the same error."""
    return other.id.startswith(LEARNED) and _lesson(one) == _lesson(other)


def _lesson(document: Document) -> tuple[str, bool, str]:
    return document.error_code, document.helped, document.change


def _counted(earlier: Document, document: Document) -> int:
    """The same incident learnt again is no second one."""
    return earlier.times + (earlier.id != document.id)


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


def _body(incident: Incident, fix: Fix, failed: str) -> str:
    done = _prose(fix.remediation)
    if failed:
        done = (
            f"{_prose(f'Do not do this again: it was deployed, did not help, and was taken back: {failed}')}\n\n{done}"
        )
    steps = [f"{number}. {_plain(step)}" for number, step in enumerate(fix.verification, start=1)]
    contents = (
        f"{_prose(incident.symptoms)}\n\n{_quoted(telling_lines(incident.logs) or incident.logs[-LAST_LINES:])}",
        "\n".join(f"- {_plain(crumb)}" for crumb in incident.breadcrumbs) or NOT_STATED,
        f"{'Assumed at the time, and not enough: ' if failed else ''}{_prose(fix.root_cause)}",
        f"{done}\n\n{_changes(fix)}",
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
