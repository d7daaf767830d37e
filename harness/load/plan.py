"""What the generator is told: one JSON file, written by the harness and read by the generator's own process."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from harness.model.scenario import LoadSpec


class Plan(BaseModel):
    """Bounds and addresses of one run of the generator."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)

    url: str  # of the target, without a slash at the end
    load: LoadSpec
    seed: int
    samples: Path  # JSON lines are appended here, see samples.py
    max_seconds: float  # the generator ends by itself after this long
    locustfile: Path | None = None
    port: int = 0  # of 127.0.0.1, where workers meet their master; 0 where there are none

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json(by_alias=True, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Plan:
        return cls.model_validate_json(path.read_bytes())
