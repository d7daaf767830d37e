"""The charges that were made, and the requests that came."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Order(BaseModel):
    """The body of ``POST /charge``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    order_id: int | Annotated[str, Field(min_length=1, max_length=200)]
    amount_cents: int = Field(gt=0, le=100_000_000)


class Charge(Order):
    """Money taken, and the answer that says so."""

    charge_id: str
    status: str = "succeeded"


class KeyReused(Exception):
    """An Idempotency-Key came back with another order."""


class Ledger:
    """Holds the charges in memory. One key makes one charge, however often and from however many threads it comes."""

    def __init__(self) -> None:
        self._charges: dict[str, Charge] = {}
        self._lock = threading.Lock()

    def charge(self, key: str, order: Order) -> Charge:
        """Makes the charge, or returns the one that the key has made before. Raises KeyReused."""
        with self._lock:
            charge = self._charges.get(key)
            if charge is None:
                charge = Charge(charge_id=f"ch_{uuid.uuid4().hex}", **order.model_dump())
                self._charges[key] = charge
        if (charge.order_id, charge.amount_cents) != (order.order_id, order.amount_cents):
            raise KeyReused(key)
        return charge

    def charges(self) -> list[Charge]:
        """All charges, the first one first."""
        with self._lock:
            return list(self._charges.values())


class Requests:
    """Counts requests as they arrive, whatever becomes of them."""

    def __init__(self) -> None:
        self._paths: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, path: str, key: str) -> None:
        """``key``: the Idempotency-Key, or empty."""
        with self._lock:
            self._paths[path] += 1
            if key:
                self._keys[key] += 1

    def counted(self) -> dict[str, dict[str, int]]:
        """How often each path was asked for, and how often each key came."""
        with self._lock:
            return {"paths": dict(self._paths), "keys": dict(self._keys)}
