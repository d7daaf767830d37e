"""Where a model is asked, as users give it."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from harness.errors import InputError

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def host(url: str | None, *, variable: str) -> str:
    """The host of a base URL, empty where none is given. InputError, which shows no password, where it is no address.

    ``variable`` is the setting that it comes from, for the cure.
    """
    if not url:
        return ""
    cure = f"set {variable} to http(s)://host[:port]"
    try:
        parts = urlsplit(url)
        named, _ = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"{variable} is not an address", cure=cure) from None
    if parts.username is not None or parts.password is not None:
        raise InputError(f"{variable} holds a user or a password", cure=f"{cure}; keys have settings of their own")
    if parts.scheme not in ("http", "https") or not named:
        raise InputError(f"{url!r} is not an address", cure=cure)
    return named


def is_loopback(named: str) -> bool:
    """Whether a host is this machine: then no proxy leads there, and no key is needed."""
    return named in _LOOPBACK
