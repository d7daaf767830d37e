"""The code that a fixer may read, and what of it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """The app's text files by relative POSIX path, with the rules on what a fix may touch.

    ``editable`` and ``protected`` are globs (``**`` crosses folders); protected wins.
    """

    files: Mapping[str, str]
    commit: str = ""
    editable: tuple[str, ...] = ("**",)
    protected: tuple[str, ...] = ()

    def with_files(self, files: Mapping[str, str]) -> SourceTree:
        """The same rules over other files; the commit is unknown until it is made."""
        return replace(self, files=dict(files), commit="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What runs now. ``number`` counts deployments of this trial from 0, the first release."""

    number: int
    commit: str
    seconds: float = 0.0  # from the order to all traffic being served by it
    diff: str = ""  # unified diff against what ran before


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A dependency of the app that the harness runs, and the token for its admin route."""

    url: str
    admin_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a running target is reached."""

    url: str
    upstreams: Mapping[str, Upstream]
    secrets: frozenset[str] = frozenset()  # what the app knows and nobody else is to learn
