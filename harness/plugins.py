"""Classes of other people, by dotted path: ``mypkg.mymod:MyFixer``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from harness.errors import InputError


def made(path: str, what: str, method: str, *args: object, **options: object) -> Any:  # noqa: ANN401 - anybody's class
    """The class at ``module:Class``, called. ``what`` is said of it in errors, ``method`` is what it has to have.

    InputError whatever is wrong with it: it is anybody's code, and nothing has started yet.
    """
    module, _, attribute = path.partition(":")
    if "" not in sys.path:
        sys.path.append("")  # the installed command does not look into the working directory by itself
    try:
        thing = getattr(importlib.import_module(module), attribute)(*args, **options)
    except Exception as error:
        given = [*(type(each).__name__ for each in args), *(f"{name}=" for name in options)]
        cure = f"give module:Class, importable from here, that takes {', '.join(given) or 'no arguments'}"
        raise InputError(f"the {what} {path!r} cannot be had: {type(error).__name__}: {error}", cure=cure) from error
    if not callable(getattr(thing, method, None)):
        raise InputError(f"{path!r} is no {what}: it has no {method}()", cure=f"see harness.ports.{what.title()}")
    return thing
