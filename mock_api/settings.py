"""What the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from mock_api.modes import parse_mode

_Share = Annotated[float, Field(ge=0, le=1)]
_Seconds = Annotated[float, Field(ge=0, le=600)]
_Life = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """One field for each variable; an unset or empty variable leaves the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    host: str = Field("127.0.0.1", alias="HOST")
    port: int = Field(5001, alias="PORT", ge=1, le=65535)
    mode: Annotated[str, AfterValidator(parse_mode)] = Field("healthy", alias="API_FAULT_MODE")
    seed: int | None = Field(None, alias="API_FAULT_SEED", description="makes the draws the same in every run")
    latency_share: _Share = Field(0.6, alias="API_FAULT_LATENCY_SHARE", description="requests that are answered late")
    latency_min_s: _Seconds = Field(2.0, alias="API_FAULT_LATENCY_MIN_S")
    latency_max_s: _Seconds = Field(8.0, alias="API_FAULT_LATENCY_MAX_S")
    error_share: _Share = Field(0.3, alias="API_FAULT_ERROR_SHARE", description="requests that fail at once")
    capacity_per_s: int = Field(
        40, alias="API_CAPACITY_PER_S", ge=1, le=10_000, description="what an overloaded service bears"
    )
    busy_s: _Seconds = Field(0.1, alias="API_CAPACITY_BUSY_S", description="what any answer takes it")
    stumble_s: _Seconds = Field(3.0, alias="API_CAPACITY_STUMBLE_S", description="when it refuses everybody")
    stumble_every_s: _Life = Field(20.0, alias="API_CAPACITY_STUMBLE_EVERY_S")
    client_id: str = Field("shop", alias="API_CLIENT_ID")
    client_secret: SecretStr = Field(SecretStr("for-trials-on-one-machine-only"), alias="API_CLIENT_SECRET")
    token_life_s: _Life = Field(3600.0, alias="API_TOKEN_LIFE_S")
    token_short_life_s: _Life = Field(3.0, alias="API_TOKEN_SHORT_LIFE_S", description="of those in expire_tokens")
    admin_token: SecretStr | None = Field(
        None, alias="API_ADMIN_TOKEN", description="without it there is no admin route"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.latency_share + self.error_share > 1:
            raise ValueError("API_FAULT_LATENCY_SHARE and API_FAULT_ERROR_SHARE add up to more than 1")
        if self.latency_min_s > self.latency_max_s:
            raise ValueError("API_FAULT_LATENCY_MIN_S is more than API_FAULT_LATENCY_MAX_S")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises ValueError that names each variable that is wrong, a line each."""
        names = [field.alias for field in cls.model_fields.values() if field.alias]
        try:
            return cls.model_validate({name: environment[name] for name in names if environment.get(name)})
        except ValidationError as error:
            lines = (": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())
            raise ValueError("\n".join(lines)) from error
