"""What tokens cost, from a dated list: a wrong price is worse than none, so an unknown model has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

PRICES_AS_OF: Final = date(2026, 10, 7)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens: standard tier, prompts up to 200k tokens, thinking billed as output."""

    usd_in: float
    usd_out: float
    since: date = date.min


# https://ai.google.dev/gemini-api/docs/pricing as of PRICES_AS_OF; each model's prices oldest first
_PRICES: Final[Mapping[str, tuple[Price, ...]]] = {
    "gemini-3.8-flash": (Price(0.75, 3.75), Price(1.50, 7.50, since=date(2027, 1, 1))),
    "gemini-3.5-flash": (Price(1.50, 9.00),),
    "gemini-3.5-flash-lite": (Price(0.30, 2.50),),
    "gemini-3.1-pro-preview": (Price(2.00, 12.00),),
}


def price_usd(model: str, tokens_in: int, tokens_out: int, *, on: date) -> float | None:
    """What the tokens cost at list price on a day; None for a model without a known price.

    An upper bound where the provider bills part of the input as cached.
    """
    prices = [price for price in _PRICES.get(model.removeprefix("models/"), ()) if price.since <= on]
    if not prices:
        return None
    return (tokens_in * prices[-1].usd_in + tokens_out * prices[-1].usd_out) / 1_000_000
