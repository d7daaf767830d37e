"""Where a model is asked, and with which key, as users give them."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from harness.errors import InputError

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def host(url: str | None, *, variable: str) -> str:
    """The host of a base URL, empty where none is given. InputError where it is no address.

    ``variable`` is the setting that it comes from. The error names that alone: what stands there may hold a password.
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
    if parts.scheme not in ("http", "https") or not named or not url.isprintable():
        raise InputError(f"{variable} is not an address", cure=cure)
    return named


def key(given: str, *, variable: str) -> str:
    """The key without the blanks around it. InputError, which does not show it, where no header can carry it."""
    stripped = given.strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise InputError(f"{variable} holds characters that no key has", cure="copy it again, as one line")
    return stripped


def is_loopback(named: str) -> bool:
    """Whether a host is this machine: then no proxy leads there, and no key is needed."""
    return named in _LOOPBACK
