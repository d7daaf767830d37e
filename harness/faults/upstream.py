"""A dependency that goes bad: its mode is switched while the app talks to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

from harness.errors import ServiceUnavailable
from harness.model.faults import UpstreamFault
from harness.model.source import Endpoints, Upstream
from harness.model.verdict import CheckResult

_TIMEOUT_S = 5.0
_HEALTHY = "healthy"


class UpstreamMode:
    """Implements ``ports.Fault`` through the upstream's admin route."""

    def __init__(self, spec: UpstreamFault) -> None:
        self.kind = f"upstream {spec.upstream} {spec.mode}"
        self._spec = spec

    @contextmanager
    def active(self, endpoints: Endpoints) -> Iterator[_Mode]:
        mode = _Mode(endpoints.upstreams[self._spec.upstream], self._spec)
        mode.switch(self._spec.mode)
        passing = threading.Timer(self._spec.for_s, mode.passes) if self._spec.for_s is not None else None
        if passing:
            passing.start()
        try:
            yield mode
        finally:
            if passing:
                passing.cancel()
                passing.join()
            mode.switch(_HEALTHY)


class _Mode:
    def __init__(self, upstream: Upstream, spec: UpstreamFault) -> None:
        self._upstream, self._spec = upstream, spec

    def switch(self, mode: str) -> None:
        self._ask("PUT", {"mode": mode})

    def passes(self) -> None:
        """By itself. That the upstream cannot be switched is told once more at the end, where somebody hears it."""
        with suppress(ServiceUnavailable):
            self.switch(_HEALTHY)

    def check(self) -> CheckResult:
        now = str(self._ask("GET").get("mode"))
        return CheckResult(
            name=f"fault still on ({self._spec.upstream})",
            passed=_words(now) == _words(self._spec.mode),
            evidence=f"the upstream says that its mode is {now}",
        )

    def _ask(self, method: str, body: dict[str, str] | None = None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._upstream.admin_token}"}
        try:
            with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
                answer = client.request(method, f"{self._upstream.url}/admin/mode", headers=headers, json=body)
                answer.raise_for_status()
                return dict(answer.json())
        except (httpx.HTTPError, ValueError) as error:  # ValueError: the answer is no JSON object
            raise ServiceUnavailable(
                f"the upstream {self._spec.upstream} could not be switched: {error}",
                cure="see its log in the result folder; the mode must be one that it knows",
            ) from None


def _words(mode: str) -> set[str]:
    return {word.strip() for word in mode.split(",")}
