"""Exchanges with models, kept as files, so that a run can be shown and judged again without a key and a network.

One JSON file an exchange: the request as it was sent, without key and headers, and what came of it. An exchange is
found again by the SHA-256 of its exact request. A live trial is never the same twice: its timings stand in the
prompt. So where no recording has exactly this request, that of the same attempt and call answers, and it is said.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError, ProposalFailed

logger = logging.getLogger(__name__)

MAX_FILES: Final = 10_000
MAX_FILE_BYTES: Final = 50_000_000
_MIN_SECRET_CHARS: Final = 8  # fewer stand in too much that is no secret
_CONFIG: Final = ConfigDict(frozen=True, extra="forbid")


class Exchange(BaseModel):
    """One request and what came of it. ``sha256`` is of ``canonical(request)``."""

    model_config = _CONFIG

    fixer: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    attempt: int = Field(ge=1, le=9999)  # of the trial
    call: int = Field(ge=1, le=9999)  # of the attempt
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    recorded_at: AwareDatetime
    request: dict[str, Any]
    status: int  # HTTP's; 0: none was had
    body: dict[str, Any]  # the answer's JSON; empty where there was none
    error: str
    cure: str
    tries: int = Field(ge=0)  # requests sent until this came
    seconds: float = Field(ge=0, allow_inf_nan=False)  # waits between tries included
    usd: float | None = Field(ge=0, allow_inf_nan=False)  # by the prices of that day; None: not known

    @property
    def file_name(self) -> str:
        return f"{self.fixer}-{self.attempt:03}-{self.call:03}-{self.sha256}.json"


def canonical(request: Mapping[str, Any]) -> str:
    """The same text for the same request: JSON, sorted, without white space."""
    return json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(request).encode()).hexdigest()


def without(secret: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object with ``<key>`` in place of the secret, wherever it stands."""
    text = json.dumps(value)
    if len(secret) >= _MIN_SECRET_CHARS:
        text = text.replace(json.dumps(secret)[1:-1], "<key>")
    clean: dict[str, Any] = json.loads(text)
    return clean


class Exchanges:
    """A folder of exchanges that is written, or answered from."""

    def __init__(self, folder: Path, *, kept: Sequence[Exchange] | None) -> None:
        self._folder, self.replays = folder, kept is not None
        self._kept = tuple(kept or ())

    @property
    def fixers(self) -> frozenset[str]:
        """The names of those whose exchanges can be answered again."""
        return frozenset(exchange.fixer for exchange in self._kept)

    @classmethod
    def recording(cls, folder: Path) -> Exchanges:
        """Keeps each exchange in the folder, which is made when the first one comes."""
        return cls(folder, kept=None)

    @classmethod
    def replaying(cls, folder: Path) -> Exchanges:
        """Answers from the folder. InputError where it holds nothing, or what is no exchange."""
        files = sorted(folder.glob("*.json"))[: MAX_FILES + 1]
        if not files or len(files) > MAX_FILES:
            what = "no recorded exchange" if not files else f"more than {MAX_FILES} files"
            raise InputError(f"{what} in {folder}", cure="record one first, with --record, or name another folder")
        return cls(folder, kept=sorted(map(_read, files), key=lambda exchange: exchange.recorded_at))

    def keep(self, exchange: Exchange) -> None:
        """Write it for its owner's eyes, whole or not at all. What cannot be written is logged: the answer counts."""
        file, draft = self._folder / exchange.file_name, self._folder / f".{exchange.file_name}.{os.getpid()}.part"
        try:
            text = json.dumps(exchange.model_dump(mode="json"), indent=1, sort_keys=True)
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.touch(mode=0o600)
            draft.write_text(text + "\n", encoding="ascii")
            draft.replace(file)
        except OSError as error:
            logger.warning("the exchange %s could not be kept: %s", exchange.file_name, error.strerror or error)
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def find(self, fixer: str, request: Mapping[str, Any], *, attempt: int, call: int) -> tuple[Exchange, bool]:
        """What was recorded last for it, and whether that is exactly this request. ProposalFailed where nothing was."""
        own = [exchange for exchange in self._kept if exchange.fixer == fixer]
        wanted = sha256(request)
        same = [exchange for exchange in own if exchange.sha256 == wanted]
        here = [exchange for exchange in own if (exchange.attempt, exchange.call) == (attempt, call)]
        for choice in ([exchange for exchange in same if exchange in here], same, here):
            if choice:
                return choice[-1], bool(same)
        raise ProposalFailed(
            f"nothing is recorded for call {call} of attempt {attempt} of {fixer}",
            cure="Record a run that goes as far, with --record, or run with a key and without --replay.",
        )


def _read(file: Path) -> Exchange:
    cure = "take the file away, or record the run again"
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{file} has more than {MAX_FILE_BYTES} bytes", cure=cure)
        exchange = Exchange.model_validate(json.loads(file.read_bytes()))
        if sha256(exchange.request) != exchange.sha256:
            raise InputError(f"{file}: sha256 is not that of the request", cure=cure)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{file}: {where}: {first['msg']}", cure=cure) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is no recorded exchange: {type(error).__name__}", cure=cure) from None
    return exchange
