"""Text to search terms: error codes and identifiers stay whole and are split as well."""

from __future__ import annotations

import re

_STOP_WORDS = """
a about after all also an and any are as at be been before but by can did do does for from had has have how if in into
is it its more no not of on one only or our out over so some than that the their them then there these they this to
too under until up was we were what when where which while who why will with without would you
"""
_STOP = frozenset(_STOP_WORDS.split())
_TIMESTAMP = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")
_TIME_OUT = re.compile(r"\btim(?:e|ed|ing)[- ]out", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_]+")
_HUMP = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_OPAQUE = re.compile(r"(?=.*\d)[0-9a-f]{8,}", re.IGNORECASE)


def tokens(text: str) -> list[str]:
    """Lower-case terms in order, with repeats. ``QueuePool`` gives queuepool, queue, pool.

    Timestamps, long hexadecimal ids and numbers under 100 are left out: they name one event, not a kind of event.
    """
    plain = _TIME_OUT.sub("timeout", _TIMESTAMP.sub(" ", text))
    return [term for word in _WORD.findall(plain) if not _OPAQUE.fullmatch(word) for term in _terms(word)]


def _terms(word: str) -> list[str]:
    whole = word.strip("_")
    parts = _HUMP.findall(whole)
    spellings = [whole, *parts] if len(parts) > 1 else [whole]
    return [_singular(term) for term in map(str.lower, spellings) if _tells(term)]


def _tells(term: str) -> bool:
    return len(term) > 1 and term not in _STOP and not (term.isdecimal() and int(term) < 100)


def _singular(term: str) -> str:
    """Light plural handling: queries -> query, addresses -> address, timeouts -> timeout; status stays."""
    if len(term) < 4 or not term.endswith("s") or term.endswith(("ss", "us", "is")):
        return term
    if term.endswith("ies") and len(term) > 4:
        return term[:-3] + "y"
    return term[:-2] if term.endswith(("sses", "shes", "ches", "xes")) else term[:-1]
