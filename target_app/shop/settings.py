"""What the environment may set. Each field is the environment variable of the same name in capitals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

_SCHEMES = ("postgresql+psycopg://", "postgresql://", "postgres://")


class SettingsError(Exception):
    """A variable is missing or has a value that can't be used; the message names it."""


def _psycopg_url(url: str) -> str:
    for scheme in _SCHEMES:
        if url.startswith(scheme):
            return _SCHEMES[0] + url.removeprefix(scheme)
    raise ValueError("should start with postgresql://")


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("should start with http:// or https://")
    return url.rstrip("/")


class Settings(BaseModel):
    """Times carry their unit in the name: ``_s`` seconds, ``_ms`` milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: Annotated[str, AfterValidator(_psycopg_url)] = "postgresql://postgres@127.0.0.1:5432/shop"
    redis_url: str | None = None
    payments_url: Annotated[str, AfterValidator(_http_url)] = "http://127.0.0.1:5001"
    payments_client_id: str = "shop"
    payments_client_secret: SecretStr = SecretStr("for-trials-on-one-machine-only")
    secret_key: SecretStr | None = None
    cookie_secure: bool = False
    enable_fault_injection: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    db_pool_size: int = Field(default=3, ge=1)
    db_max_overflow: int = Field(default=0, ge=0)
    db_pool_timeout_s: float = Field(default=3.0, gt=0)
    db_statement_timeout_ms: int = Field(default=500, ge=0)  # 0: a statement may take for ever

    upstream_timeout_s: float = Field(default=1.5, gt=0)
    upstream_retries: int = Field(default=3, ge=0)
    upstream_backoff_s: float = Field(default=1.0, ge=0)
    upstream_slow_s: float = Field(default=1.5, gt=0)
    breaker_failures: int = Field(default=3, ge=1)
    breaker_cooldown_s: float = Field(default=60.0, gt=0)

    worker_threads: int = Field(default=2, ge=1)
    worker_poll_s: float = Field(default=0.2, gt=0)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """An empty variable counts as unset. Raises SettingsError, which names every bad variable."""
        given = {name: environ[name.upper()] for name in cls.model_fields if environ.get(name.upper())}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = [f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
            raise SettingsError("the environment can't be used: " + "; ".join(faults)) from None

    def require_secret_key(self) -> str:
        """Raises SettingsError when there is none; a made-up key would differ between workers."""
        if self.secret_key is None:
            raise SettingsError("SECRET_KEY is not set; give all web workers the same long random text")
        return self.secret_key.get_secret_value()
