"""What a client sent, checked. Everything here answers 400 by raising ApiError when it can't be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from shop.errors import ApiError

MAX_PER_PAGE = 100
MAX_PAGE = 10_000
MAX_ID = 2**31 - 1  # of PostgreSQL's integer

Model = TypeVar("Model", bound=BaseModel)


def body(model: type[Model]) -> Model:
    """The JSON body of the request."""
    try:
        return model.model_validate(request.get_json())
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()]
        raise ApiError(400, "invalid_request", "; ".join(faults)) from None


def text_argument(name: str, *, max_length: int) -> str:
    value = request.args.get(name, "").strip()
    if not value or len(value) > max_length or "\0" in value:
        raise ApiError(400, "invalid_request", f"{name}: give 1 to {max_length} characters")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    number: int  # counts from 1
    size: int

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    @property
    def peek(self) -> int:
        """How many rows to ask for: one more than are shown tells whether there is a next page."""
        return self.size + 1

    def answer(self, name: str, rows: list[dict[str, object]]) -> dict[str, object]:
        return {name: rows[: self.size], "page": self.number, "per_page": self.size, "has_more": len(rows) > self.size}


def page() -> Page:
    """From the arguments ``page`` and ``per_page``."""
    return Page(number=_whole("page", 1, MAX_PAGE), size=_whole("per_page", 20, MAX_PER_PAGE))


def _whole(name: str, default: int, largest: int) -> int:
    value = request.args.get(name, str(default))
    if not (value.isascii() and value.isdecimal() and len(value) < len(str(MAX_ID)) and 1 <= int(value) <= largest):
        raise ApiError(400, "invalid_request", f"{name}: give a whole number from 1 to {largest}")
    return int(value)
