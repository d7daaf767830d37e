"""A YAML file as plain data, with the line of every key; bounded, and without YAML's traps."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ScenarioError

Place = tuple[str | int, ...]  # where a value stands: ("slos", 0, "routes", 1)
Lines = Mapping[Place, int]

_MAX_BYTES, _MAX_KEYS, _MAX_DEPTH = 100_000, 10_000, 30  # aliases of aliases count as what they stand for


def parse(file: Path) -> tuple[Any, Lines]:
    """What the file says, and where. ScenarioError with the line when it is no YAML, too large, or says a key twice."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES + 1).decode()
    except FileNotFoundError:
        near = difflib.get_close_matches(file.name, [path.name for path in file.parent.glob("*.yml")], n=1)
        cure = f"did you mean {file.parent / near[0]}?" if near else "harness list shows the scenarios that there are"
        raise ScenarioError("no such file", file=file, cure=cure) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"cannot be read: {error}", file=file, cure="give a UTF-8 text file") from None
    if len(text) > _MAX_BYTES:
        raise ScenarioError(f"longer than {_MAX_BYTES} bytes", file=file, cure="keep it to what one trial needs")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise ScenarioError("the file is empty", file=file, cure="start from scenarios/pool_exhaustion.yml")
        lines = _bounded_lines(node, file)
        return _Constructor().construct_document(node), lines
    except RecursionError:
        raise ScenarioError("nested too deep", file=file, cure=f"use at most {_MAX_DEPTH} levels") from None
    except yaml.YAMLError as error:
        cure = "check indentation, quotes and colons around here"
        raise ScenarioError(f"not YAML: {_problem(error)}", file=file, line=_line(error, text), cure=cure) from None


class _Constructor(yaml.constructor.SafeConstructor):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 - whatever stands there
        """What looks like a date or a number, and is none, has a place too: PyYAML raises a bare error there."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            what = f"{node.value!r} cannot be read as {node.tag.rpartition(':')[2]} ({error}); put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from None


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} (character {error.character:#x})"
    return str(getattr(error, "problem", error))


def _line(error: yaml.YAMLError, text: str) -> int | None:
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else None


def _bounded_lines(node: yaml.Node, file: Path) -> Lines:
    lines: dict[Place, int] = {}
    for count, (at, line) in enumerate(_lines(node, file)):
        if count > _MAX_KEYS or len(at) > _MAX_DEPTH:
            cure = f"use at most {_MAX_KEYS} keys and {_MAX_DEPTH} levels, aliases written out"
            raise ScenarioError("too many keys, or nested too deep", file=file, line=line, cure=cure)
        lines[at] = line
    return lines


def _lines(node: yaml.Node, file: Path, at: Place = ()) -> Iterator[tuple[Place, int]]:
    """Where each key stands, by its path; a key given twice is an error that YAML itself lets pass."""
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # a list or a block as a key: its reading fails, and says where
            if key.value in seen:
                where = ".".join(map(str, (*at, key.value)))
                raise ScenarioError(
                    "given twice", file=file, line=key.start_mark.line + 1, key=where, cure="keep one of the two"
                )
            seen.add(key.value)
            yield from _lines(value, file, (*at, key.value))
            yield (*at, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, file, (*at, number))
