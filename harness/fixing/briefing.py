"""What an agent gets: a folder with the app's code, the incident, past incidents, earlier attempts, and its task.

The same input gives the same files, bytes and times. What comes from outside stands in fences that it cannot close, in
files whose names are ours; only the app's files are as they are.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2

from harness.fixing import guard
from harness.fixing.prompt import fenced
from harness.git import git, init
from harness.model.fix import Attempt, DeleteFile, Edit, Fix, ReplaceText
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree
from harness.model.window import Window

APP: Final = "app"
ANSWER: Final = "fix.json"
OURS: Final = frozenset({"AGENTS.md", "README.md", "incident.md", "passages", "attempts", APP, ANSWER})

_MAX_TEXT_CHARS: Final = 200_000  # of one file: nobody reads more, and a log may be anything
_FILE: Final = "agent.md.jinja"
_VERSION: Final = re.compile(r"\{# version: (\S+)")
_UNPLAIN: Final = re.compile(r"[^A-Za-z0-9_]+")
_TIME_S: Final = 1_767_225_600  # 2026-01-01: when a file was written could tell what it is
_README: Final = "Your task stands in AGENTS.md.\n"
_MESSAGE: Final = "The code as it runs"


def version() -> str:
    """Of the words that are ours."""
    return _template()[1]


def briefing(
    incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt], *, budget_s: float
) -> dict[str, str]:
    """All files by path, sorted; the app's under ``app/``. Never fails on what the data hold."""
    task = _text(
        "agents",
        editable=_globs(tree.editable),
        protected=_globs(tree.protected),
        limits={"files": guard.MAX_FILES, "file_bytes": guard.MAX_FILE_BYTES, "fix_bytes": guard.MAX_FIX_BYTES},
        budget_s=f"{budget_s:g}",
    )
    told = {"AGENTS.md": task, "README.md": _README, "incident.md": _incident(incident)}
    for number, passage in enumerate(passages, start=1):
        told[f"passages/{number:02}-{_plain(passage.id)}.md"] = _passage(passage)
    for attempt in earlier:
        told[f"attempts/{attempt.number}.md"] = _attempt(attempt)
    return dict(sorted({**told, **{f"{APP}/{path}": text for path, text in tree.files.items()}}.items()))


def as_text(told: Mapping[str, str]) -> str:
    """All files in one, each after a line with its name: for those who look through it."""
    return "".join(f"==> {path} <==\n{text}\n" for path, text in told.items())


def lay_out(told: Mapping[str, str], folder: Path) -> None:
    """Writes the files into an empty folder, and commits the app's, in a repository of one commit."""
    for path, text in told.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    app = folder / APP
    app.mkdir(exist_ok=True)
    init(app)
    git(app, "add", "--all", "--force")  # the app's own .gitignore does not count
    git(app, "commit", "--quiet", "--allow-empty", "--message", _MESSAGE)
    (app / ".git" / "COMMIT_EDITMSG").unlink(missing_ok=True)
    git(app, "read-tree", "HEAD")  # without it, the index would hold times
    for each in (*folder.rglob("*"), folder):
        os.utime(each, (_TIME_S, _TIME_S), follow_symlinks=False)


def template() -> tuple[str, str]:
    """The file that our words stand in: its name and its text."""
    return _FILE, (files("harness.fixing") / "prompts" / _FILE).read_text(encoding="utf-8")


@cache
def _template() -> tuple[jinja2.Template, str]:
    _, source = template()
    match = _VERSION.match(source)
    if not match:
        raise ValueError(f"prompts/{_FILE} does not begin with its version")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the text is read by an agent, not a browser; fences keep data apart
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fenced"] = _fenced
    return environment.from_string(source), match[1]


def _text(block: str, **values: object) -> str:
    made, _ = _template()
    return "".join(made.blocks[block](made.new_context(values))).strip() + "\n"


def _fenced(text: str) -> str:
    cut = len(text) - _MAX_TEXT_CHARS
    return fenced(text if cut <= 0 else f"{text[:_MAX_TEXT_CHARS]}\n... {cut} characters more")


def _globs(globs: Iterable[str]) -> str:
    return ", ".join(f"`{ascii(glob)[1:-1]}`" for glob in globs) or "(none)"


def _plain(name: str) -> str:
    """Fit for a file's name."""
    return _UNPLAIN.sub("-", name)[:40].strip("-").lower() or "passage"


def _incident(incident: Incident) -> str:
    story = [
        f"id: {incident.id}",
        f"detected at: {incident.detected_at}",
        f"error code: {incident.error_code}",
        f"symptoms: {incident.symptoms}",
        "what happened, oldest first:",
        *(f"- {crumb}" for crumb in incident.breadcrumbs),
    ]
    return _text("incident", story="\n".join(story), seen=_seen(incident.window), logs="\n".join(incident.logs))


def _seen(window: Window | None) -> str:
    """Each route's counts, and its latencies in ms."""
    if window is None:
        return ""
    rows = [
        f"- {name}: "
        + ", ".join(f"{key} {'-' if value is None else f'{value:g}'}" for key, value in asdict(route).items())
        for name, route in sorted(window.routes.items())
    ]
    return "\n".join([f"from {window.start_s:g} s to {window.end_s:g} s, by route:", *rows])


def _passage(passage: Passage) -> str:
    remedies = [
        f"remedy {remedy.name}: {json.dumps(remedy.parameters, sort_keys=True, default=str)}"
        for remedy in passage.remedies
    ]
    warning = "" if passage.helped else "\nThis was tried before, and rolled back: it did not help."  # as in prompt.py
    return _text("passage", text="\n\n".join((f"{passage.id}: {passage.title}{warning}", passage.text, *remedies)))


def _attempt(attempt: Attempt) -> str:
    lines = [f"attempt {attempt.number}: {attempt.outcome}", f"why: {attempt.reason}"]
    lines += [f"root cause assumed: {attempt.fix.root_cause}"] if attempt.fix else []
    return _text("attempt", text="\n".join(lines), change=_change(attempt))


def _change(attempt: Attempt) -> str:
    if attempt.deployment and attempt.deployment.diff:
        return attempt.deployment.diff
    fix = attempt.fix or Fix(root_cause="")
    return "\n\n".join(map(_edit, fix.edits))


def _edit(edit: Edit) -> str:
    match edit:
        case ReplaceText():
            return f"in {edit.path} replaced:\n{edit.search}\nby:\n{edit.replace}"
        case DeleteFile():
            return f"deleted {edit.path}"
        case _:
            return f"wrote {edit.path}:\n{edit.content}"
