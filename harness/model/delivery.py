"""How a fix gets to where users are, when it does not go there by our own hand."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from harness.model.app import Command
from harness.model.schema import Described, Seconds

_IDENTITY = r"^[^<>\x00-\x1f]+ <[^<>\s]+@[^<>\s]+>$"


def _remote(text: str) -> str:
    """A URL, ``host:path`` as ssh has it, or a folder. ValueError where it is an option, or carries a secret."""
    if text.startswith("-") or not text.isprintable():
        raise ValueError("not the address of a repository")
    if "::" in text or (not re.match(r"(https?|ssh|git|file)://", text) and "://" in text):
        raise ValueError("git reaches it by https, ssh, or as a folder")
    parts = urlsplit(text) if "://" in text else None
    if parts and (parts.password is not None or (parts.username and parts.scheme.startswith("http"))):
        raise ValueError("a secret does not belong here: give it as DELIVERY_TOKEN")
    return text


def _inside(text: str) -> str:
    """A folder of the repository. ValueError where it leads out of it."""
    path = PurePosixPath(text)
    if path.is_absolute() or {"..", ".git"} & set(path.parts) or not text.isprintable():
        raise ValueError("not a folder of the repository: give a path relative to its top")
    return text


class GitDelivery(Described):
    """By a commit to the app's own repository, as a bot; its owner's pipeline does the rest."""

    mode: Literal["git"]
    remote: Annotated[str, AfterValidator(_remote)] = Field(description="the repository: an address, or a folder")
    branch: str = Field(default="main", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    folder: Annotated[str, AfterValidator(_inside)] = Field(default=".", description="where the app lies in it")
    pipeline: Command = Field(
        min_length=1, description="ends with 0 once $DELIVERY_COMMIT is live, with 1 if it failed"
    )
    within_s: Seconds = Field(default=600.0, alias="within", gt=0, description="how long the pipeline may take")
    min_confidence: float = Field(ge=0, le=1, description="of fixer and retriever together; less is not delivered")
    per_day: int = Field(default=5, gt=0, description="so many commits in 24 hours, of all trials with these results")
    protected: tuple[str, ...] = Field(default=(), description="globs of the repository that the bot never changes")
    author: str = Field(default="CreamAndOnion <bot@localhost>", pattern=_IDENTITY)
