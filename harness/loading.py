"""YAML files to validated values, with an error that names file, line, key and cure."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harness.errors import InputError, ScenarioError
from harness.model.app import AppManifest
from harness.model.faults import DefectFault
from harness.model.scenario import Scenario

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]  # where a value stands: ("slos", 0, "routes", 1)
Lines = Mapping[Place, int]

_MAX_BYTES, _MAX_KEYS, _MAX_DEPTH = 100_000, 10_000, 30  # aliases of aliases count as what they stand for
_IN_OTHER_WORDS = {
    "model_type": "a block of keys is wanted",
    "model_attributes_type": "a block of keys is wanted",
    "dict_type": "a block of keys is wanted",
    "tuple_type": "a list is wanted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A scenario with the files that it names, all found. ``hash`` is a sha256 over every one of them."""

    spec: Scenario
    file: Path
    app: Path  # the app's folder
    manifest: AppManifest
    defect: Path | None
    reference: Path | None
    checks: tuple[Path, ...]
    kb: Path | None  # the knowledge base: the first folder of that name above the scenario
    hash: str

    def path(self, name: str) -> Path:
        """A file that the scenario names, relative to its own folder."""
        return self.file.parent / name


def load_scenario(file: Path) -> LoadedScenario:
    """Read one scenario file. ScenarioError on anything wrong in it; nothing is started."""
    spec, lines = _load(file, Scenario)
    app = _find_app(spec.target.app, file, lines)
    manifest, _ = _load(app / "app.yml", AppManifest)
    named: dict[Place, str | None] = {
        ("target", "defect"): spec.target.defect,
        ("reference",): spec.reference,
        ("load", "locustfile"): spec.load.locustfile,
    }
    for number, fault in enumerate(spec.method):
        if isinstance(fault, DefectFault):
            named["method", number, "patch"] = fault.patch
    paths = {key: _find(file, name, key, lines) for key, name in named.items() if name is not None}
    checks = [_find(file, name, ("checks", number), lines, folder=True) for number, name in enumerate(spec.checks)]
    _require_known_upstreams(spec, manifest, file, lines)
    return LoadedScenario(
        spec=spec,
        file=file,
        app=app,
        manifest=manifest,
        defect=paths.get(("target", "defect")),
        reference=paths.get(("reference",)),
        checks=tuple(checks),
        kb=next((folder / "kb" for folder in file.resolve().parents if (folder / "kb").is_dir()), None),
        hash=_hash([file, app / "app.yml", *paths.values(), *checks]),
    )


def scenario_files(names: tuple[Path, ...], folder: Path = Path("scenarios")) -> list[Path]:
    """The files named, or every scenario in ``folder``. InputError where there is none."""
    files = list(names) or sorted(folder.glob("*.yml"))
    if not files:
        raise InputError(f"no scenario in {folder}/", cure="name one: harness validate path/to/scenario.yml")
    return files


def _load(file: Path, model: type[Model]) -> tuple[Model, Lines]:
    data, lines = _parse(file)
    try:
        return model.model_validate(data), lines
    except ValidationError as error:
        # a misspelt key is also a missing one: the misspelling says more
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise _explain(first, file, data, lines, model) from None


def _parse(file: Path) -> tuple[Any, Lines]:
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


def _explain(error: ErrorDetails, file: Path, data: object, lines: Lines, model: type[BaseModel]) -> ScenarioError:
    """One pydantic error in the user's words."""
    at = _yaml_place(error["loc"], data)
    if error["type"].startswith("union_tag"):
        at = (*at, "action")
    elif error["type"] == "value_error":
        at = _culprit(error, at)
    place = at if at in lines else at[:-1]
    key = ".".join(str(part) for part in at)
    message, cure = error["msg"].removeprefix("Value error, "), ""
    if error["type"] == "extra_forbidden":
        message = "unknown key"
        known = _keys_at(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(at[-1]), known, n=1)
        cure = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
    elif error["type"] in ("missing", "union_tag_not_found"):
        message = "required key is missing"
        cure = f"add {at[-1]}: to this block"
    elif error["type"] == "union_tag_invalid":
        context = error.get("ctx", {})
        known = [word.strip(" '") for word in str(context.get("expected_tags", "")).split(",")]
        near = difflib.get_close_matches(str(context.get("tag")), known, n=1)
        message = f"unknown action {context.get('tag')!r}"
        cure = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    else:
        given = error.get("input")
        message = _IN_OTHER_WORDS.get(error["type"], f"{message[:1].lower()}{message[1:]}")
        cure = f"given: {given!r}" if isinstance(given, str | int | float | bool) else ""
    return ScenarioError(message, file=file, line=lines.get(place), key=key, cure=cure)


def _yaml_place(loc: Place, data: object) -> Place:
    """pydantic's location without the union's tag, which it puts between an entry's number and the entry's key."""
    place: Place = ()
    for before, part in zip((None, *loc), loc[:-1], strict=False):
        if isinstance(data, dict) and not (isinstance(before, int) and part == data.get("action")):
            place, data = (*place, part), data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            place, data = (*place, part), data[part]
    return (*place, *loc[-1:])


def _culprit(error: ErrorDetails, at: Place) -> Place:
    """A rule over a whole block quotes the value that breaks it last: where that value stands, else the block."""
    quoted = re.findall(r"'([^']+)'", error["msg"])
    pending: list[tuple[Place, object]] = [(at, error["input"])] if quoted else []
    while pending:
        place, value = pending.pop()
        if value == quoted[-1]:
            return place
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        pending.extend(((*place, key), each) for key, each in inner)
    return at


def _keys_at(model: type[BaseModel], at: Place) -> list[str]:
    """The keys that the model at this path has, as the YAML spells them."""
    found: list[type[BaseModel]] = [model]
    for part in at:
        if isinstance(part, int):
            continue
        nested = [
            inner
            for owner in found
            for name, field in owner.model_fields.items()
            if part in (field.alias, name)
            for inner in _models(field)
        ]
        tagged = [owner for owner in found if part in _tag_values(owner)]
        found = nested or tagged or found
    return [field.alias or name for owner in found for name, field in owner.model_fields.items()]


def _tag_values(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("action")
    return get_args(field.annotation) if field else ()


def _models(field: FieldInfo) -> list[type[BaseModel]]:
    """Every model inside a field's annotation: Optional, tuples and unions are looked through."""
    pending, found = [field.annotation], []
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        pending.extend(get_args(annotation))
    return found


def _find(file: Path, name: str, key: Place, lines: Lines, *, folder: bool = False) -> Path:
    path = file.parent / name
    if path.is_dir() if folder else path.is_file():
        return path
    near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*") if other.is_dir() == folder], n=1)
    cure = f"did you mean {near[0]}?" if near else f"paths are relative to {file.parent}/"
    what = f"no such {'folder' if folder else 'file'}: {name!r}"
    raise ScenarioError(what, file=file, line=lines.get(key), key=".".join(map(str, key)), cure=cure)


def _find_app(name: str, file: Path, lines: Lines) -> Path:
    for folder in file.resolve().parents:
        if (folder / name / "app.yml").is_file():
            return folder / name
    raise ScenarioError(
        f"no app {name!r}: a folder of that name with an app.yml, beside the scenario or above",
        file=file,
        line=lines.get(("target", "app")),
        key="target.app",
        cure="name the folder that holds the app's app.yml",
    )


def _require_known_upstreams(spec: Scenario, manifest: AppManifest, file: Path, lines: Lines) -> None:
    known = [upstream.name for upstream in manifest.upstreams]
    for number, fault in enumerate(spec.method):
        if fault.action == "upstream" and fault.upstream not in known:
            key = ("method", number, "upstream")
            raise ScenarioError(
                f"the app has no upstream {fault.upstream!r}",
                file=file,
                line=lines.get(key),
                key=".".join(map(str, key)),
                cure=f"its app.yml has: {', '.join(known) or 'none'}",
            )


def _hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and file.parent.name != "__pycache__":
                name, content = file.relative_to(path.parent).as_posix(), file.read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
