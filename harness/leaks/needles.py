"""What must not reach a fixer of one scenario, from the scenario's files."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from harness.git import patched, shipped
from harness.leaks.offer import Origin
from harness.loading import LoadedScenario
from harness.model.faults import DefectFault
from harness.model.source import SourceTree

Kind = Literal[
    "scenario's name", "title", "fault class", "name of a check", "name of a patch", "name of a cheat", "reference line"
]

_ANYWHERE: Final = frozenset(Origin) - {Origin.OWN}
_NOT_LEARNT: Final = _ANYWHERE - {Origin.LEARNT}
_HARNESS: Final = frozenset({Origin.NAME, Origin.TEXT})
_SHORTEST_LINE: Final = 12  # characters that are not blank
_WHOLE: Final = rb"(?<![a-z0-9])(?:%b)(?![a-z0-9])"
_VALUE: Final = rb"[:=(\[\"'`]\s?(?:%b)(?![a-z0-9])"
_TEST: Final = re.compile(r"^\s*(?:async\s+)?def\s+(test_\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Needle:
    """``forms``, in small letters, are looked for first, which is quick; ``pattern`` says if it is really there."""

    kind: Kind
    text: str
    forms: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    origins: frozenset[Origin]


@dataclass(frozen=True, slots=True)
class Needles:
    """What must not reach a fixer of one scenario."""

    all: tuple[Needle, ...]

    @classmethod
    def of(cls, loaded: LoadedScenario, *, cheats: Collection[str] = ()) -> Needles:
        """From the scenario's files, and the names of its cheats. GitFailed where a patch does not fit."""
        about = loaded.spec.metadata
        words: list[tuple[Kind, frozenset[str], frozenset[Origin]]] = [
            ("scenario's name", frozenset({about.name, loaded.file.stem}), _ANYWHERE),
            ("name of a check", _check_names(loaded.checks), _ANYWHERE),
            ("name of a patch", frozenset(path.name for path in _patches(loaded)), _NOT_LEARNT),
            ("name of a cheat", frozenset(cheats), _HARNESS),
        ]
        coined = (
            _coined(kind, name, origins) for kind, names, origins in words for name in sorted(names) if _is_coined(name)
        )
        plain: list[tuple[Kind, str]] = [
            ("fault class", about.fault_class),
            ("title", "" if " " in about.title else about.title),
            *(("scenario's name", name) for name in sorted(words[0][1]) if not _is_coined(name)),
        ]
        return cls(
            (
                *chain.from_iterable(coined),
                *chain.from_iterable(_plain(kind, word) for kind, word in plain if word),
                *([_phrase("title", about.title, _HARNESS)] if " " in about.title else []),
                *(_phrase("reference line", line, _NOT_LEARNT) for line in sorted(reference_lines(loaded))),
            )
        )


def reference_lines(loaded: LoadedScenario) -> frozenset[str]:
    """What the reference patch adds, without indentation, as far as the app with its defects has it nowhere."""
    if loaded.reference is None:
        return frozenset()
    running = "\n".join(running_tree(loaded).files.values()).lower()
    added = {line[1:].strip() for line in _text(loaded.reference).splitlines() if re.match(r"\+(?!\+\+ )", line)}
    return frozenset(
        line for line in added if len("".join(line.split())) >= _SHORTEST_LINE and line.lower() not in running
    )


def running_tree(loaded: LoadedScenario) -> SourceTree:
    """The app's files with all its defects, those of bad releases included. GitFailed where one does not fit."""
    tree = shipped(loaded.app)
    for patch in _patches(loaded):
        if patch != loaded.reference:
            tree = patched(tree, _text(patch))
    return tree


def _patches(loaded: LoadedScenario) -> list[Path]:
    releases = (loaded.path(fault.patch) for fault in loaded.spec.method if isinstance(fault, DefectFault))
    return [patch for patch in (loaded.defect, *releases, loaded.reference) if patch is not None]


def _check_names(folders: Iterable[Path]) -> frozenset[str]:
    """Of files, without their ending, and of tests."""
    files = [file for folder in folders for file in folder.rglob("*.py")]
    return frozenset(name for file in files for name in (file.stem, *_TEST.findall(_text(file))))


def _text(file: Path) -> str:
    return file.read_bytes().decode(errors="replace")


def _is_coined(name: str) -> bool:
    return re.search(r"[A-Za-z0-9][_.-]+[A-Za-z0-9]", name) is not None


def _coined(kind: Kind, name: str, origins: frozenset[Origin]) -> Iterator[Needle]:
    """Also within ``test_pool_exhaustion_2``. Other spellings are plain English, and count where the harness writes."""
    yield Needle(kind, name, _forms({name}), _pattern(_WHOLE, _forms({name})), origins)
    if others := _forms({name.replace("_", "-"), name.replace("-", "_")} - {name}):
        yield Needle(kind, name, others, _pattern(_WHOLE, others), _HARNESS)


def _plain(kind: Kind, word: str) -> Iterator[Needle]:
    forms = _forms({word})
    yield Needle(kind, word, forms, _pattern(_WHOLE, forms), frozenset({Origin.NAME}))
    yield Needle(kind, word, forms, _pattern(_VALUE, forms), frozenset({Origin.TEXT}))


def _phrase(kind: Kind, text: str, origins: frozenset[Origin]) -> Needle:
    escaped = {json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (True, False)}
    forms = _forms({text, *escaped})
    return Needle(kind, text, forms, _pattern(rb"(?:%b)", forms), origins)


def _forms(texts: Collection[str]) -> tuple[bytes, ...]:
    return tuple(sorted(text.encode(errors="replace").lower() for text in texts))


def _pattern(shape: bytes, forms: Iterable[bytes]) -> re.Pattern[bytes]:
    return re.compile(shape % b"|".join(map(re.escape, forms)), re.IGNORECASE)
