"""What is on disk, for programs of other people: a JSON Schema (draft 2020-12) of each kind of file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.experiment import results
from harness.sinks import journal
from harness.sinks.journal import write_atomically

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """By the name that its file gets, with the version of the format in it."""
    lines = {"v": {"const": journal.VERSION, "description": "version of the journal"}}
    return {
        f"event-{journal.VERSION}": _schema(journal.events(), "A line of events.jsonl", lines),
        f"window-{journal.VERSION}": _schema(journal.windows(), "A line of windows.jsonl and settled.jsonl", lines),
        f"verdict-{journal.VERSION}": _schema(journal.verdicts(), "verdict.json", {}),
        f"trial-{results.VERSION}": _schema(TypeAdapter(results.TrialRow), "A line of a sweep's trials.jsonl", {}),
    }


def write(folder: Path) -> list[Path]:
    """A file for each. They are replaced where they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, schema in schemas().items():
        path = folder / f"{name}.json"
        write_atomically(path, f"{json.dumps(schema, indent=1)}\n".encode())
        made.append(path)
    return made


def _schema(kind: TypeAdapter[Any], title: str, more: dict[str, Any]) -> dict[str, Any]:
    """As it is written: what a reader may count on. ``more`` are fields that the line has beside."""
    schema = kind.json_schema(mode="serialization")
    if more:
        schema["properties"] = {**more, **schema.get("properties", {})}
        schema["required"] = [*more, *schema.get("required", [])]
    return {"$schema": DIALECT, **schema, "title": title}
