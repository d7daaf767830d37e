"""A YAML file as a validated value; what is wrong with it in the user's words."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harness.errors import ScenarioError
from harness.yamlfile import Lines, Place, brief, dotted, parse

Model = TypeVar("Model", bound=BaseModel)

_SHOWN = 200  # characters of what was given
_IN_A_URL = re.compile(r"://[^/@\s]*@")  # who is asked for, and their secret: not for a terminal, nor CI's log
_IN_OTHER_WORDS = {
    "model_type": "a block of keys is wanted",
    "model_attributes_type": "a block of keys is wanted",
    "dict_type": "a block of keys is wanted",
    "tuple_type": "a list is wanted",
}


def read(file: Path, model: type[Model]) -> tuple[Model, Lines]:
    """The value, and the line of every key. ScenarioError names file, line, key and cure."""
    data, lines = parse(file)
    try:
        return model.model_validate(data), lines
    except ValidationError as error:
        # a misspelt key is also a missing one: the misspelling says more
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise _explain(first, file, data, lines, model) from None


def _explain(error: ErrorDetails, file: Path, data: object, lines: Lines, model: type[BaseModel]) -> ScenarioError:
    """One pydantic error in the user's words."""
    at = _yaml_place(error["loc"], data)
    if error["type"].startswith("union_tag"):
        at = (*at, "action")
    elif error["type"] == "value_error":
        at = _culprit(error, at)
    place = at
    while place not in lines:  # a key that is missing stands nowhere: the block around it does
        place = place[:-1]
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
        message = f"unknown action {brief(repr(context.get('tag')), _SHOWN)}"
        cure = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    else:
        message = _IN_OTHER_WORDS.get(error["type"], f"{message[:1].lower()}{message[1:]}")
        cure = f"given: {_shown(error['input'])}"
    return ScenarioError(brief(message, 2 * _SHOWN), file=file, line=lines[place], key=dotted(at), cure=cure)


def _shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a block of keys"
        case list():
            return "a list"
        case _:
            return brief(_IN_A_URL.sub("://...@", repr(value)), _SHOWN)


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
