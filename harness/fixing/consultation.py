"""One proposal's talk with a model: tries, recordings, and the one ledger of what it cost, the same for all models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from harness.errors import ProposalFailed
from harness.fixing.exchanges import Exchange, Exchanges, sha256, without
from harness.fixing.retries import Response, Retries, Send
from harness.model.fix import Cost

_MAX_ERROR_CHARS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as a server counts them. ``tokens_thought`` is a part of ``tokens_out``."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_thought: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a proposal of several requests may use up. ``max_usd`` is for all of a trial, ``spent_usd`` of it before."""

    max_tokens: int  # in and out
    max_usd: float | None = None  # None: as much as it takes
    spent_usd: float = 0.0  # as far as prices are known

    def tokens_left(self, cost: Cost) -> int:
        return self.max_tokens - cost.tokens_in - cost.tokens_out

    def require(self, cost: Cost) -> None:
        """ProposalFailed where nothing is left for a further request."""
        if self.tokens_left(cost) <= 0:
            raise ProposalFailed(f"no proposal within {self.max_tokens} tokens", cure="Allow more tokens.")
        if self.max_usd is not None and self.spent_usd + (cost.usd or 0.0) >= self.max_usd:
            before = f", {self.spent_usd:g} of them spent before" if self.spent_usd else ""
            raise ProposalFailed(f"no proposal within {self.max_usd:g} US dollars{before}", cure="Allow more money.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What differs between servers. ``usage`` reads an answer's JSON; ``price`` is in US dollars, None if unknown."""

    fixer: str  # the fixer's name, under which exchanges are kept
    title: str  # in errors
    model: str
    retry_cure: str
    usage: Callable[[Mapping[str, Any]], Usage]
    price: Callable[[Usage, date], float | None]
    secret: str = ""


class Consultation:
    """Used for one call of ``propose``; ``attempt`` counts from 1."""

    def __init__(self, provider: Provider, *, attempt: int, retries: Retries, exchanges: Exchanges | None) -> None:
        self._provider, self._attempt, self._retries, self._exchanges = provider, attempt, retries, exchanges
        self._deadline_s = time.monotonic() + retries.budget_s
        self._calls, self._differed = 0, False
        self.cost = Cost()

    def ask(self, request: Mapping[str, Any], send: Send) -> Response:
        """What came of the request, live or as recorded; ``send`` is one try of it. Its cost is counted."""
        self._calls += 1
        replayed = self._exchanges is not None and self._exchanges.replays
        exchange = self._recorded(request) if replayed else self._live(request, send)
        self._count(exchange)
        return Response(status=exchange.status, body=exchange.body, error=exchange.error, cure=exchange.cure)

    def answer(self, request: Mapping[str, Any], send: Send) -> Mapping[str, Any]:
        """The answer's JSON. ProposalFailed where there is none."""
        return answered(self.ask(request, send))

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Any failed proposal that leaves the block says whom was asked, and carries the cost; it tells no key.

        Raised ``from None``, since the SDKs' errors hold the server's answer, which may echo the key.
        """
        try:
            yield
        except (ProposalFailed, RecursionError) as error:
            what = error.message if isinstance(error, ProposalFailed) else "the answer is nested too deep"
            cure = error.cure if isinstance(error, ProposalFailed) else "Try again, or another model."
            spent, who = "", f"{self._provider.title} ({self._provider.model})"
            if self.cost.tokens_in or self.cost.tokens_out:
                spent = f" ({self.cost.tokens_in} tokens in, {self.cost.tokens_out} out)"
            raise ProposalFailed(f"{who}: {self._redacted(what)}{spent}", cure=cure, cost=self.cost) from None

    def named(self, model: str) -> str:
        """The model's name for the record: a replayed answer says that it is one."""
        if self._exchanges is None or not self._exchanges.replays:
            return model
        return f"{model} (replayed, the request differed)" if self._differed else f"{model} (replayed)"

    def _recorded(self, request: Mapping[str, Any]) -> Exchange:
        assert self._exchanges is not None
        found = self._exchanges.find(self._provider.fixer, request, attempt=self._attempt, call=self._calls)
        exchange, same = found
        self._differed = self._differed or not same
        return exchange

    def _live(self, request: Mapping[str, Any], send: Send) -> Exchange:
        started_s, now = time.monotonic(), datetime.now(UTC)
        cure = self._provider.retry_cure
        response, tries = self._retries.response(send, deadline_s=self._deadline_s, cure=cure)
        clean = without(self._provider.secret, request)
        exchange = Exchange(
            fixer=self._provider.fixer,
            attempt=self._attempt,
            call=self._calls,
            sha256=sha256(clean),
            recorded_at=now,
            request=clean,
            status=response.status,
            body=without(self._provider.secret, response.body),  # servers echo keys
            error=self._redacted(response.error),
            cure=response.cure,
            tries=tries,
            seconds=time.monotonic() - started_s,
            usd=self._usd(response, now.date()),
        )
        if self._exchanges is not None:
            self._exchanges.keep(exchange)
        return exchange

    def _usd(self, response: Response, day: date) -> float | None:
        if response.status != 200:
            return None
        try:
            return self._provider.price(self._provider.usage(response.body), day)
        except ProposalFailed:  # an answer of another shape; who reads it is told so
            return None

    def _count(self, exchange: Exchange) -> None:
        self.cost += Cost(seconds=exchange.seconds, calls=exchange.tries, usd=exchange.usd)
        if exchange.status == 200:  # of another shape, this fails, with the call counted
            usage = self._provider.usage(exchange.body)
            self.cost += Cost(
                tokens_in=usage.tokens_in, tokens_out=usage.tokens_out, tokens_thought=usage.tokens_thought
            )

    def _redacted(self, text: str) -> str:
        text = text.replace(self._provider.secret, "<key>") if self._provider.secret else text
        return " ".join(text.split())[:_MAX_ERROR_CHARS]


def answered(response: Response) -> Mapping[str, Any]:
    """The JSON of a response. ProposalFailed where it is none."""
    if response.status != 200:
        raise ProposalFailed(response.error, cure=response.cure)
    return response.body
