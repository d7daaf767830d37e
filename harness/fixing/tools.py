"""What a model may look at while it works on a fix: the source tree and the incident, in memory, and nothing else.

No tool reads a disk, a network or a process. What a model asks for is data from outside: each call is checked, each
result is bounded, and stands in a fence, since code and logs may hold text that reads like instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.fixing.prompt import clean, fenced
from harness.fixing.reply import plain, response_schema
from harness.model.incident import Incident
from harness.model.source import SourceTree

PROPOSE: Final = "propose"
MAX_RESULT_CHARS: Final = 20_000
MAX_LINES: Final = 400
MAX_HITS: Final = 60
_MAX_LINE_CHARS: Final = 400
_CONFIG: Final = ConfigDict(frozen=True, extra="forbid")


class ReadFile(BaseModel):
    """Read lines of one of the app's files, as they are."""

    model_config = _CONFIG

    path: str = Field(max_length=1000, description="relative path as listed")
    first_line: int = Field(default=1, ge=1, description="from 1")
    lines: int = Field(default=MAX_LINES, ge=1, le=MAX_LINES)


class SearchCode(BaseModel):
    """Find a text, letter by letter and whatever the case, in all of the app's files. Gives path, line and content."""

    model_config = _CONFIG

    text: str = Field(min_length=1, max_length=200)


class ReadLog(BaseModel):
    """Read a window of the incident's log lines, oldest first, or only those of them that hold a text."""

    model_config = _CONFIG

    first_line: int = Field(default=1, ge=1, description="from 1, the oldest")
    lines: int = Field(default=100, ge=1, le=MAX_LINES)
    containing: str = Field(default="", max_length=200, description="whatever the case; empty: all lines")


class Toolbox:
    """The tools over one incident and one tree."""

    def __init__(self, incident: Incident, tree: SourceTree) -> None:
        self._logs, self._files = incident.logs, tree.files

    def use(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The result, in a fence, at most about ``MAX_RESULT_CHARS``; of a call that cannot be made, what is wrong."""
        if name not in _ASKED:
            return f"There is no such tool. There are: {', '.join((*_ASKED, PROPOSE))}."
        try:
            asked = _ASKED[name].model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(part if str(part).isidentifier() else "?" for part in map(str, first["loc"]))
            return f"The call of {name} is wrong: {where}: {first['msg']}"[:_MAX_LINE_CHARS]
        return self._answer(asked)

    def _answer(self, asked: BaseModel) -> str:
        match asked:
            case ReadFile():
                return self._read_file(asked)
            case SearchCode():
                return self._search_code(asked)
            case ReadLog():
                return self._read_log(asked)
        raise AssertionError(asked)

    def _read_file(self, asked: ReadFile) -> str:
        if asked.path not in self._files:
            return "There is no file of this path. search_code finds paths."
        lines = self._files[asked.path].splitlines(keepends=True)
        window = lines[asked.first_line - 1 :][: asked.lines]
        return f"{_span(asked.first_line, len(window), len(lines))}\n{_bounded(''.join(window))}"

    def _search_code(self, asked: SearchCode) -> str:
        wanted, hits = asked.text.casefold(), list[str]()
        for path in sorted(self._files):
            for number, line in enumerate(self._files[path].splitlines(), start=1):
                if wanted in line.casefold() or (number == 1 and wanted in path.casefold()):
                    hits.append(f"{_one_line(path)}:{number}: {_one_line(line)}")
                if len(hits) > MAX_HITS:
                    return f"The first {MAX_HITS} places, there are more:\n{_bounded(_joined(hits[:-1]))}"
        return f"{len(hits)} places:\n{_bounded(_joined(hits))}"

    def _read_log(self, asked: ReadLog) -> str:
        wanted = asked.containing.casefold()
        numbered = [
            f"{number}: {_one_line(line)}"
            for number, line in enumerate(self._logs, start=1)
            if number >= asked.first_line and wanted in line.casefold()
        ]
        window = numbered[: asked.lines]
        return f"{len(window)} of {len(self._logs)} lines, {len(numbered) - len(window)} more match:\n" + _bounded(
            _joined(window)
        )


_ASKED: Final[Mapping[str, type[ReadFile] | type[SearchCode] | type[ReadLog]]] = {
    "read_file": ReadFile,
    "search_code": SearchCode,
    "read_log": ReadLog,
}


def declarations() -> list[dict[str, Any]]:
    """Each tool's name, description, and arguments as JSON Schema. ``propose`` takes the output contract."""
    tools = [
        {"name": name, "description": model.__doc__, "parameters": _parameters(model)} for name, model in _ASKED.items()
    ]
    propose = "Hand in the fix, or abstain. Call it once, when you are sure: it ends the work."
    return [*tools, {"name": PROPOSE, "description": propose, "parameters": response_schema()}]


def _parameters(model: type[BaseModel]) -> dict[str, Any]:
    schema = plain(model.model_json_schema())
    return {key: value for key, value in schema.items() if key != "description"}


def _span(first: int, count: int, total: int) -> str:
    return f"Lines {first} to {first + count - 1} of {total}:" if count else f"No such lines: there are {total}."


def _joined(lines: list[str]) -> str:
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(clean(text[:_MAX_LINE_CHARS]).split())


def _bounded(text: str) -> str:
    rest = len(text) - MAX_RESULT_CHARS
    return fenced(text[:MAX_RESULT_CHARS]) + (f"\n{rest} characters more: ask for fewer lines." if rest > 0 else "")
