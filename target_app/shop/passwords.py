"""Password hashes, cheap to check: these users are made up, and signing in must not dominate a load test."""

from __future__ import annotations

from functools import cache

from werkzeug.security import check_password_hash, generate_password_hash

METHOD = "pbkdf2:sha256:1000"  # for real customers: scrypt, Werkzeug's default


def hashed(password: str) -> str:
    return generate_password_hash(password, METHOD)


def matches(password_hash: str | None, password: str) -> bool:
    """None is an unknown user: it takes as long as a wrong password, so that the time does not tell which it was."""
    return check_password_hash(password_hash or _nobody(), password) and password_hash is not None


@cache
def _nobody() -> str:
    return hashed("nobody")
