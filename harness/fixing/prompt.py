"""The prompt of the model-driven fixers: one versioned template, bounded in size, the same text for the same input.

Everything but the template is data from outside. Each piece stands in a fence of backticks longer than any run of
backticks within it, so that no piece can end its own fence and speak in our voice. Characters that nobody sees, such as
terminal escapes, direction marks and the invisible ones by which text can be hidden in text, are replaced.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import jinja2

from harness.fixing import guard
from harness.model.fix import Attempt, DeleteFile, Edit, ReplaceText, WriteFile
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree
from harness.model.window import Window

MAX_LOG_LINES: Final = 200
MAX_LINE_CHARS: Final = 500
MAX_BREADCRUMBS: Final = 50
MAX_PASSAGES: Final = 8
MAX_PASSAGE_CHARS: Final = 6_000
MAX_ATTEMPTS: Final = 5
MAX_ATTEMPT_CHARS: Final = 8_000
MAX_TEXT_CHARS: Final = 2_000
MAX_SOURCE_CHARS: Final = 240_000
MAX_SOURCE_CHARS_WITH_TOOLS: Final = 40_000  # the rest can be asked for; each step sends all of it again
MAX_OMITTED: Final = 500

_FILE: Final = "fix.md.jinja"
_VERSION: Final = re.compile(r"\{# version: (\S+)")
_BACKTICKS: Final = re.compile(r"`+")
# printable to Python, yet drawn as nothing: Unicode's Default_Ignorable_Code_Point, and the blank Braille pattern
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is sent. ``sha256`` is of the system text, a NUL and the user text, in UTF-8."""

    system: str
    user: str
    version: str
    sha256: str

    @property
    def id(self) -> str:
        """How a fix names the prompt that it answers."""
        return f"{self.version} {self.sha256}"

    @property
    def text(self) -> str:
        """Both parts, as they are kept and looked through before they are sent."""
        return f"{self.system}\n{self.user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file as the template shows it; ``path`` is quoted as JSON, since a file's name is data too."""

    path: str
    text: str
    editable: bool


def render(
    incident: Incident,
    passages: Sequence[Passage],
    tree: SourceTree,
    earlier: Sequence[Attempt],
    *,
    tools: bool = False,
) -> Prompt:
    """The prompt for one attempt. Deterministic; never fails on what the data hold. ``tools``: the model has some."""
    made, version = _template()
    logs = [_line(line) for line in incident.logs[-MAX_LOG_LINES:]]
    story = _incident(incident)
    room = MAX_SOURCE_CHARS_WITH_TOOLS if tools else MAX_SOURCE_CHARS
    sources, omitted = _sources("\n".join((story, *logs)), tree, room)
    context = made.new_context(
        {
            "limits": {
                "files": guard.MAX_FILES,
                "file_bytes": guard.MAX_FILE_BYTES,
                "fix_bytes": guard.MAX_FIX_BYTES,
            },
            "tools": tools,
            "editable": _globs(tree.editable),
            "protected": _globs(tree.protected),
            "incident": story,
            "logs": "\n".join(logs),
            "logs_kept": len(logs),
            "logs_total": len(incident.logs),
            "passages": [_passage(passage) for passage in passages[:MAX_PASSAGES]],
            "earlier": [_attempt(attempt) for attempt in earlier[-MAX_ATTEMPTS:]],
            "sources": sources,
            "omitted": omitted,
        }
    )
    system, user = ("".join(made.blocks[block](context)).strip() + "\n" for block in ("system", "user"))
    digest = hashlib.sha256(f"{system}\0{user}".encode()).hexdigest()
    return Prompt(system=system, user=user, version=version, sha256=digest)


def template() -> tuple[str, str]:
    """The file that all prompts are made of: its name and its text."""
    return _FILE, (files("harness.fixing") / "prompts" / _FILE).read_text(encoding="utf-8")


@cache
def _template() -> tuple[jinja2.Template, str]:
    _, source = template()
    match = _VERSION.match(source)
    if not match:
        raise ValueError(f"prompts/{_FILE} does not begin with its version")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the text is read by a model, not a browser; fences keep data apart
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fenced"] = fenced
    return environment.from_string(source), match[1]


def fenced(text: str) -> str:
    """The text in a fence that it cannot close."""
    text = clean(text).strip("\n")
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text or '(none)'}\n{fence}"


def clean(text: str) -> str:
    """Line ends as LF, and a replacement character for what cannot be seen."""
    text = _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(char if char.isprintable() or char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]} ... ({len(text) - chars} characters more)"


def _line(text: str) -> str:
    return _cut(" ".join(clean(text).splitlines()), MAX_LINE_CHARS)


def _globs(globs: Iterable[str]) -> str:
    return ", ".join(json.dumps(glob, ensure_ascii=True) for glob in globs) or "(none)"


def _incident(incident: Incident) -> str:
    lines = [
        f"id: {_line(incident.id)}",
        f"detected at: {_line(incident.detected_at)}",
        f"error code: {_line(incident.error_code)}",
        f"symptoms: {_cut(incident.symptoms, MAX_TEXT_CHARS)}",
        "what happened, oldest first:",
        *(f"- {_line(crumb)}" for crumb in incident.breadcrumbs[-MAX_BREADCRUMBS:]),
    ]
    return "\n".join(lines + _window(incident.window))


def _window(window: Window | None) -> list[str]:
    if window is None:
        return []
    rows = [
        f"- {_line(name)}: {route.arrivals} arrivals, {route.ok} ok, {route.slow} too slow, {route.failed} failed, "
        f"{route.dropped} dropped, {route.pending} unanswered; ms p50 {_ms(route.p50_ms)}, p95 {_ms(route.p95_ms)}, "
        f"p99 {_ms(route.p99_ms)}"
        for name, route in sorted(window.routes.items())
    ]
    return [f"what users saw from {window.start_s:g} s to {window.end_s:g} s:", *rows]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _passage(passage: Passage) -> str:
    remedies = "".join(
        f"\nremedy {_line(remedy.name)}: {_line(json.dumps(remedy.parameters, sort_keys=True, default=str))}"
        for remedy in passage.remedies
    )
    warning = "" if passage.helped else "\nThis was tried before, and rolled back: it did not help."
    return f"{_line(passage.title)}{warning}\n\n{_cut(passage.text, MAX_PASSAGE_CHARS)}{remedies}"


def _attempt(attempt: Attempt) -> str:
    lines = [f"attempt {attempt.number}: {attempt.outcome}: {_cut(attempt.reason, MAX_TEXT_CHARS)}"]
    if attempt.fix is not None:
        lines.append(f"root cause assumed: {_cut(attempt.fix.root_cause, MAX_TEXT_CHARS)}")
        lines += [_edit(edit) for edit in attempt.fix.edits]
    return _cut("\n".join(lines), MAX_ATTEMPT_CHARS)


def _edit(edit: Edit) -> str:
    match edit:
        case WriteFile():
            return f"wrote {_line(edit.path)}:\n{_cut(edit.content, MAX_TEXT_CHARS)}"
        case ReplaceText():
            before, after = _cut(edit.search, MAX_TEXT_CHARS), _cut(edit.replace, MAX_TEXT_CHARS)
            return f"in {_line(edit.path)} replaced:\n{before}\nby:\n{after}"
        case DeleteFile():
            return f"deleted {_line(edit.path)}"


def _named(path: str, evidence: str) -> bool:
    """Whether the evidence names the path, whole: ``db.py`` is named in ``/srv/db.py``, not in ``mydb.py``."""
    return path in evidence and re.search(rf"(?<![\w.-]){re.escape(path)}(?!\w)", evidence) is not None


def _sources(evidence: str, tree: SourceTree, room: int) -> tuple[list[Source], list[str]]:
    """Files in full while they fit, and what was left out. Files that the evidence names go first, then editable ones.

    A file that does not fit makes room for smaller ones; none is cut, since a search text has to be copied from it.
    """
    ranked = sorted(tree.files, key=lambda path: (not _named(path, evidence), not guard.may_edit(tree, path), path))
    kept = set[str]()
    for path in ranked:
        if len(tree.files[path]) <= room:
            room -= len(tree.files[path])
            kept.add(path)
    sources = [
        Source(path=json.dumps(path, ensure_ascii=True), text=tree.files[path], editable=guard.may_edit(tree, path))
        for path in sorted(kept)
    ]
    left_out = sorted(tree.files.keys() - kept)
    omitted = [f"{_line(path)}, {len(tree.files[path])}" for path in left_out[:MAX_OMITTED]]
    if len(left_out) > MAX_OMITTED:
        omitted.append(f"and {len(left_out) - MAX_OMITTED} more")
    return sources, omitted
