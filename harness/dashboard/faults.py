"""The panel that triggers the seed's faults in a running app. There only where fault injection is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx

_TIMEOUT_S = 15.0  # the slowest fault takes 5 s, and waits for a connection before


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    path: str
    title: str
    marker: str


FAULTS: Final = {
    "sql": Fault(path="/test-fault/run", title="Malformed SQL", marker="FAULT_SQL_INJECTION_TEST"),
    "upstream": Fault(
        path="/test-fault/external-api", title="Slow or failing upstream", marker="FAULT_EXTERNAL_API_LATENCY"
    ),
    "pool": Fault(path="/test-fault/db-timeout", title="A query that holds a connection", marker="FAULT_DB_TIMEOUT"),
}


def trigger(target_url: str, fault: Fault) -> str:
    """What came of it, in a sentence."""
    try:
        answer = httpx.post(f"{target_url}{fault.path}", timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        return f"{fault.title}: the app did not answer: {type(error).__name__}."
    if answer.status_code == httpx.codes.NOT_FOUND:
        return f"{fault.title}: the app knows no such fault: ENABLE_FAULT_INJECTION is off there."
    took_s = answer.elapsed.total_seconds()
    return f"{fault.title}: the app answered {answer.status_code} after {took_s:.1f} s. Look for {fault.marker}."
