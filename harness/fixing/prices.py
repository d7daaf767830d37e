"""What tokens cost, from a dated list: a wrong price is worse than none, so an unknown model has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

GEMINI: Final = "https://ai.google.dev/gemini-api/docs/pricing"
OPENAI: Final = "https://developers.openai.com/api/docs/pricing, as quoted on https://tokenmix.ai that day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars a million tokens: standard tier, thinking billed as output, prompts of the shortest band."""

    usd_in: float
    usd_out: float
    most_tokens_in: int  # of one request: longer ones may be in a dearer band
    since: date = date.min  # the first day, UTC, on which it holds
    source: str
    read_on: date  # when the source said so


def _gemini(usd_in: float, usd_out: float, *, since: date = date.min) -> Price:
    """Prompts of up to 200,000 tokens."""
    read_on = date(2026, 10, 7)
    return Price(usd_in=usd_in, usd_out=usd_out, most_tokens_in=200_000, since=since, source=GEMINI, read_on=read_on)


def _openai(usd_in: float, usd_out: float) -> Price:
    """Prompts of up to 272,000 tokens. Since the day on which it was read: what was so before is not known."""
    read_on = date(2026, 6, 4)
    return Price(usd_in=usd_in, usd_out=usd_out, most_tokens_in=272_000, since=read_on, source=OPENAI, read_on=read_on)


# each model's prices, oldest first
PRICES: Final[Mapping[str, tuple[Price, ...]]] = {
    "gemini-3.8-flash": (_gemini(0.75, 3.75), _gemini(1.50, 7.50, since=date(2027, 1, 1))),
    "gemini-3.5-flash": (_gemini(1.50, 9.00),),
    "gemini-3.5-flash-lite": (_gemini(0.30, 2.50),),
    "gemini-3.1-pro-preview": (_gemini(2.00, 12.00),),
    "gpt-5.5": (_openai(5.00, 30.00),),
    "gpt-5.4": (_openai(2.50, 15.00),),
    "gpt-5.4-mini": (_openai(0.75, 4.50),),
    "gpt-5.4-nano": (_openai(0.20, 1.25),),
}


def price_on(model: str, day: date) -> Price | None:
    """The model's price on a day; None for a model, or a day, without a known one."""
    known = [price for price in PRICES.get(model.removeprefix("models/"), ()) if price.since <= day]
    return known[-1] if known else None


def price_usd(model: str, tokens_in: int, tokens_out: int, *, on: date) -> float | None:
    """What one request's tokens cost at list price on a day.

    None where no price is known: for another model, or for more input than ``most_tokens_in`` of its price.
    ``tokens_out`` holds the thinking. An upper bound where the provider bills part of the input as cached.
    """
    price = price_on(model, on)
    if price is None or tokens_in > price.most_tokens_in:
        return None
    return (tokens_in * price.usd_in + tokens_out * price.usd_out) / 1_000_000
