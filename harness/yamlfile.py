"""A YAML file as plain data, with the line of every key; bounded, and without YAML's traps."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ScenarioError

Place = tuple[str | int, ...]  # where a value stands: ("slos", 0, "routes", 1)
Lines = Mapping[Place, int]

_MAX_BYTES, _MAX_KEYS, _MAX_DEPTH = 100_000, 10_000, 30  # aliases of aliases count as what they stand for
_MAX_TEXT = 10_000  # characters of one value
_MAX_PLACE = 200  # characters of a place in a message
_WHOLE_NUMBERS = range(-(2**63), 2**63)
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_NO_JSON = frozenset(f"tag:yaml.org,2002:{name}" for name in ("binary", "omap", "pairs", "set", "timestamp"))


def parse(file: Path) -> tuple[Any, Lines]:
    """What the file says, and where. ScenarioError with the line when it is no YAML, too large, or says a key twice."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        near = difflib.get_close_matches(file.name, [path.name for path in file.parent.glob("*.yml")], n=1)
        cure = f"did you mean {file.parent / near[0]}?" if near else "harness list shows the scenarios that there are"
        raise ScenarioError("no such file", file=file, cure=cure) from None
    except OSError as error:
        raise ScenarioError(f"cannot be read: {error.strerror}", file=file, cure="give a UTF-8 text file") from None
    if len(content) > _MAX_BYTES:
        raise ScenarioError(f"longer than {_MAX_BYTES} bytes", file=file, cure="keep it to what one trial needs")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"cannot be read: {error}", file=file, line=line, cure="give a UTF-8 text file") from None
    return _parse(text, file)


def dotted(place: Place) -> str:
    """A place as messages name it, ``slos.0.routes.1``; what cannot be printed is escaped, and what is long is cut."""
    name = ".".join(str(part) if part != "" else "''" for part in place)
    return brief(name if name.isprintable() else ascii(name)[1:-1], _MAX_PLACE)


def brief(text: str, length: int) -> str:
    """At most about ``length`` characters of the text."""
    return text if len(text) <= length else f"{text[:length]}..."


def _parse(text: str, file: Path) -> tuple[Any, Lines]:
    cure = "check indentation, quotes and colons around here"
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise ScenarioError("the file is empty", file=file, cure="start from scenarios/pool_exhaustion.yml")
        lines = _bounded_lines(node, file)
        return loader.construct_document(node), lines
    except RecursionError:
        line, cure = loader.line + 1 if loader else None, f"use at most {_MAX_DEPTH} levels"
        raise ScenarioError("nested too deep", file=file, line=line, cure=cure) from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"not YAML: {_problem(error)}", file=file, line=_line(error, text), cure=cure) from None
    except (ValueError, OverflowError) as error:  # PyYAML lets escape what "\UFFFFFFFF" or %YAML 1.999... make of it
        line = loader.line + 1 if loader else None
        raise ScenarioError(f"not YAML: {error}", file=file, line=line, cure=cure) from None


class _Loader(yaml.SafeLoader):
    """YAML as far as JSON goes: a date is a text, and numbers are finite."""

    _depth = 0
    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NO_JSON]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012 - the same
        tag: construct for tag, construct in yaml.SafeLoader.yaml_constructors.items() if tag not in _NO_JSON
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - PyYAML's own
        """Not deeper than may be: PyYAML takes seconds until Python's stack is full."""
        self._depth += 1
        if self._depth > _MAX_DEPTH + 1:
            raise RecursionError
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 - whatever stands there
        """What looks like a number, and is none, has a place too: PyYAML raises a bare error there."""
        scalar = node.value if isinstance(node, yaml.ScalarNode) else None
        complaint = _complaint(scalar)  # before it is read: to read a number of 50,000 digits takes a while
        try:
            value = None if complaint else super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            complaint = f"cannot be read as {node.tag.rpartition(':')[2]} ({error}); put it in quotes"
        if complaint := complaint or _complaint(value):
            what = f"{brief(repr(node.value), _MAX_PLACE)} {complaint}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        return value


def _complaint(value: object) -> str:
    """Why this cannot stand in a file of ours, or an empty string."""
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"has more than {_MAX_TEXT} characters"
    if isinstance(value, str) and _HALF_CHARACTER.search(value):
        return "holds half a character"
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number"
    if isinstance(value, int) and value not in _WHOLE_NUMBERS:
        return "does not fit into 64 bits"
    return ""


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} (character {error.character:#x})"
    problem = str(getattr(error, "problem", error))
    return brief(problem if problem.isprintable() else ascii(problem)[1:-1], 2 * _MAX_PLACE)


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
                where, line = dotted((*at, key.value)), key.start_mark.line + 1
                raise ScenarioError("given twice", file=file, line=line, key=where, cure="keep one of the two")
            seen.add(key.value)
            yield from _lines(value, file, (*at, key.value))
            yield (*at, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, file, (*at, number))
