"""A file of rows, a line of JSON each, that only grows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.errors import InputError

Row = TypeVar("Row")


def read_rows(path: Path, kind: TypeAdapter[Row], what: str) -> list[Row]:
    """All rows of the file, oldest first; none where there is no file. InputError names a damaged line.

    ``what`` a row is, such as "a proof". A last line that a crash cut short is no row.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            found.append(kind.validate_json(line))
        except ValidationError as error:
            why = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise InputError(f"{path}:{number}: no row of {what}: {why}", cure="take the line out") from None
    return found


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """On disk when it returns. A line that a crash cut short is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        whole = file.read()
        if whole and not whole.endswith(b"\n"):
            file.truncate(whole.rfind(b"\n") + 1)
        file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())
