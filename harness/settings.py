"""What the environment says. Read once, at the command line's edge; secrets are never printed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    database_url: str | None  # DATABASE_URL: use this PostgreSQL instead of an embedded one
    redis_url: str | None  # REDIS_URL: use this Redis instead of an embedded Valkey
    has_gemini_key: bool  # GEMINI_API_KEY or GOOGLE_API_KEY; the fixer reads it itself

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        return cls(
            database_url=secret(environ, "DATABASE_URL"),
            redis_url=secret(environ, "REDIS_URL"),
            has_gemini_key=bool(environ.get("GEMINI_API_KEY") or environ.get("GOOGLE_API_KEY")),
        )


def secret(environ: Mapping[str, str], name: str) -> str | None:
    """The variable, or what stands in the file that ``NAME_FILE`` names; None: neither is set. InputError."""
    if value := environ.get(name):
        return value
    if not (path := environ.get(f"{name}_FILE")):
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}_FILE: {path} cannot be read: {error}", cure="mount the secret there") from None
