"""Path patterns: ``**`` crosses folders, ``*`` and ``?`` stay within one, all else is literal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_TOKEN: Final = re.compile(r"(?:^|(?<=/))\*\*/|\*\*|\*|\?|.", re.DOTALL)
_REGEX: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def matches(globs: Iterable[str], path: str, *, ignore_case: bool = False) -> bool:
    """Whether any of the globs matches the whole path."""
    return any(_compiled(glob, ignore_case).fullmatch(path) for glob in globs)


@lru_cache(maxsize=256)
def _compiled(glob: str, ignore_case: bool) -> re.Pattern[str]:
    tokens = _TOKEN.findall(f"{glob}**" if glob.endswith("/") else glob)
    regex = "".join(_REGEX.get(token, re.escape(token)) for token in tokens)
    return re.compile(regex, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
