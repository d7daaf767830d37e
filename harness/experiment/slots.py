"""How many trials of a sweep run at once on this machine: one, unless it was measured that more leave p95 as it is."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil
from pydantic import TypeAdapter, ValidationError

from harness.errors import InputError
from harness.experiment.lines import append_row, read_rows
from harness.identity import utc_now
from harness.sinks.journal import write_atomically

FILE = "slots.json"  # in the sweep's folder
_ROUNDS = "rounds.jsonl"  # in the calibration's, until it has come to an end
VERSION = 1  # of the files' shape, and of the way it was measured
LIMIT = 1.05  # p95 side by side, in times of p95 alone
_LEAST = 3  # rounds: fewer say nothing of their own spread
_MOST_VOID = 2  # rounds: a machine that is not quiet before anything runs side by side
_SEED = 1

Way = Literal["alone", "beside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine, as far as it decides what trials side by side do to one another."""

    name: str
    system: str
    processor: str
    processors: int
    memory_gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The p95 of one healthy app: alone, and with neighbours; None: it could not be measured.

    ``void`` tells why alone it could not, ``lost`` why side by side a trial could not, its own or a neighbour's.
    """

    scenario: str
    neighbour: str
    seed: int
    first: Way
    alone_p95_ms: float | None
    beside_p95_ms: float | None
    void: str = ""
    lost: str = ""

    @property
    def ratio(self) -> float | None:
        """Also where a trial was lost: what it did to the other can be told all the same."""
        if self.void or not self.alone_p95_ms or not self.beside_p95_ms:
            return None
        return self.beside_p95_ms / self.alone_p95_ms

    def __str__(self) -> str:
        parts = [f"{self.scenario} beside {self.neighbour}"]
        if self.ratio and self.alone_p95_ms and self.beside_p95_ms:
            times = f"{self.alone_p95_ms:.1f} ms alone, {self.beside_p95_ms:.1f} ms side by side"
            parts.append(f"p95 {times}, {self.ratio:.2f} times")
        parts += [f"alone: {self.void}"] if self.void else []
        parts += [f"side by side: {self.lost}"] if self.lost else []
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How many times p95 alone it is side by side: the geometric mean of ``n`` rounds, with its 95 % interval."""

    ratio: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"p95 side by side is {self.ratio:.2f} times that alone ({self.low:.2f} to {self.high:.2f}, n {self.n})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """What was found. ``hashes`` are the scenarios', by name; ``shift`` is None where too few rounds tell."""

    asked: int
    allowed: int
    reason: str
    shift: Shift | None
    rounds: tuple[Round, ...]
    host: Host
    hashes: Mapping[str, str]
    at: str
    version: int = VERSION

    def __str__(self) -> str:
        run = f"{self.allowed} trials at once" if self.allowed > 1 else "one trial at a time"
        return f"{run}: {self.reason}"

    @property
    def quiet(self) -> bool:
        """Whether the machine was quiet before anything ran side by side: else it was not measured at all."""
        return _voids(self.rounds) < _MOST_VOID

    def fits(self, host: Host, hashes: Mapping[str, str]) -> bool:
        """Whether it was found there, and with these scenarios."""
        return self.version == VERSION and self.host == host and dict(self.hashes) == dict(hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A round of a calibration that is under way, and what it is of."""

    asked: int
    host: Host
    hashes: Mapping[str, str]
    round: Round
    version: int = VERSION


_SLOTS, _KEPT = TypeAdapter(Slots), TypeAdapter(Kept)


def this_host() -> Host:
    return Host(
        name=platform.node(),
        system=platform.platform(),
        processor=_processor(),
        processors=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30),
    )


def shift(rounds: Sequence[Round]) -> Shift | None:
    """None where fewer than three rounds have a ratio.

    Student's interval of the logarithms of the ratios, with ten or more rounds a bootstrap: a round is what is drawn.
    """
    from harness.stats.bootstrap import Sample, clustered  # noqa: PLC0415 - numpy, and only who has measured needs it

    logs = [math.log(each.ratio) for each in rounds if each.ratio]
    if len(logs) < _LEAST:
        return None
    names = tuple(f"round {number}" for number in range(len(logs)))
    mean = clustered(Sample(values=tuple(logs), scenarios=names), _SEED).mean
    return Shift(ratio=math.exp(mean.value), low=math.exp(mean.low), high=math.exp(mean.high), n=len(logs))


def decided(rounds: Sequence[Round]) -> bool:
    """Whether more rounds could not change it: they can allow nothing any more.

    What is allowed is never decided early: who looks after each round, and stops when it pleases, allows too much.
    """
    found = shift(rounds)
    too_far = found is not None and found.low >= LIMIT
    return too_far or bool(_lost(rounds)) or _voids(rounds) >= _MOST_VOID


def concluded(rounds: Sequence[Round], *, asked: int, host: Host, hashes: Mapping[str, str]) -> Slots:
    """More than one slot only where the whole interval of the shift lies under the limit, and no trial was lost."""
    found, allowed = shift(rounds), 1
    lost, void = _lost(rounds), next((each.void for each in rounds if each.void), "")
    if lost:
        reason = f"side by side a trial could not be measured: {lost}"
    elif found is None or _voids(rounds) >= _MOST_VOID:
        reason = f"too few rounds could be measured: {void or f'{len(rounds)} of them'}"
    elif found.high < LIMIT:
        allowed, reason = asked, f"{found}, which is less than {LIMIT:g}"
    elif found.low >= LIMIT:
        reason = f"{found}, which is more than {LIMIT:g}"
    else:
        reason = f"{found}: it is not shown to stay under {LIMIT:g}"
    return Slots(
        asked=asked,
        allowed=allowed,
        reason=reason,
        shift=found,
        rounds=tuple(rounds),
        host=host,
        hashes=dict(hashes),
        at=utc_now(),
    )


def _lost(rounds: Sequence[Round]) -> str:
    """Why a trial side by side could not be measured; where the same one could not alone, no neighbour is to blame."""
    return next((each.lost for each in rounds if each.lost and not each.void), "")


def _voids(rounds: Sequence[Round]) -> int:
    return sum(bool(each.void) for each in rounds)


def keep(folder: Path, kept: Kept) -> None:
    """On disk when it returns: a crash costs one round, and nobody gets to begin anew until the rounds please."""
    append_row(folder / _ROUNDS, asdict(kept))


def rounds_kept(folder: Path, *, asked: int, host: Host, hashes: Mapping[str, str]) -> list[Round]:
    """Of a calibration of the same that was cut short, in order."""
    return [each.round for each in _kept(folder, host, hashes) if each.asked == asked]


def asked_before(folder: Path, *, host: Host, hashes: Mapping[str, str]) -> int | None:
    """For how many trials at once a calibration was begun last, and cut short; None: for none."""
    return next((each.asked for each in reversed(_kept(folder, host, hashes))), None)


def _kept(folder: Path, host: Host, hashes: Mapping[str, str]) -> list[Kept]:
    found, wanted = read_rows(folder / _ROUNDS, _KEPT, "a calibration"), (host, dict(hashes), VERSION)
    return [each for each in found if (each.host, dict(each.hashes), each.version) == wanted]


def forget(folder: Path) -> None:
    """The rounds of a calibration that has come to an end."""
    (folder / _ROUNDS).unlink(missing_ok=True)


def write(folder: Path, slots: Slots) -> None:
    write_atomically(folder / FILE, json.dumps(_SLOTS.dump_python(slots, mode="json"), indent=2).encode())


def stored(folder: Path) -> Slots | None:
    """What the sweep's folder has, wherever it was found; None: nothing. InputError where it cannot be read."""
    try:
        return _SLOTS.validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InputError(f"{folder / FILE} cannot be read: {why}", cure="remove it: it is measured again") from None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
