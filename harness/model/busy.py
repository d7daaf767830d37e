"""How busy other work kept the machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """In [start_s, end_s): the share of all processors, 0 to 1, that went to processes which are not the trial's."""

    start_s: float
    end_s: float
    others: float
