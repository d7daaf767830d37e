"""Takes secrets out of what leaves the machine: an incident's logs go to a model, a knowledge base and a database.

Found by redact-secret, a library without dependencies that works in this process only (its rules: the keys of some
hundred services, JWTs, bearer and basic authorisation, private keys, passwords in URLs, and random values under names
that say secret), and by a few patterns of our own for what it does not look for. Neither is a proof that none is left.

The time grows in line with the text, whatever it holds: lines and words without an end are cut first, since a rule of
the library needs the square of a word's length, and what was not looked through must not leave.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import quote, quote_plus, urlsplit

from redact_secret import SecretScanError, WholeInputLimits, scan

from harness.model.incident import Incident

MAX_LINE_CHARS: Final = 1 << 16
MAX_WORD_CHARS: Final = 2048  # tokens and keys are shorter, and nobody reads longer ones
_CHUNK_CHARS: Final = 1 << 20
_SHORTEST: Final = 8  # a known secret of fewer characters stands in too much that is none
_LIMITS: Final = WholeInputLimits(max_input_bytes=1 << 24, max_findings=1 << 20)
_WORD: Final = re.compile(rf"[\w+/=.~%-]{{{MAX_WORD_CHARS + 1},}}")
_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:key|token|secret|passw(?:or)?d|pass|credentials?|dsn)(?:_|$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """``hint`` is in any text that matches, in small letters. Group 1 is taken out, or all where there is none."""

    kind: str
    hint: str
    pattern: re.Pattern[str]


def _rule(kind: str, hint: str, pattern: str) -> _Rule:
    return _Rule(kind, hint, re.compile(pattern, re.IGNORECASE))


# no quantifier of these can give back what it took to one beside it, so that each place is looked at a bounded number
# of times
_RULES: Final = (
    _rule(  # one that breaks off, by which the library knows no private key
        "private key",
        "private key-----",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
        r"(?:(?:\s|\\[nr])++|[A-Za-z0-9+/=]{16,}+)*+(?:[A-Za-z0-9+/=]{1,15}+$)?",
    ),
    _rule(
        "cookie",
        "cookie",
        r"\bcookie[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
        r"((?:[\w.-]{1,64}+=(?:\[redacted: [\w ]+\]|[^\s;\"'\[]){0,4096}+(?:; ?)?+){1,50}+)",
    ),
    _rule("cookie", "=", r"\b(?:session|session_?id|sid|csrf_?token)=([\w.%+/=-]{16,}+)"),
    _rule(
        "token",
        "=",
        r"[?&][\w-]{0,20}?(?:token|secret|api_?key|password|passwd|pwd|signature)=([^&\s\"'<>\\\[]{4,}+)",
    ),
    _rule(
        "password hash",
        "$",
        r"\b(?:scrypt|pbkdf2):[\w:]{1,40}+\$[^\s\"'\\]{8,}+|\$(?:2[aby]|argon2\w{1,2}|[156])\$[^\s\"'\\]{8,}+",
    ),
    _rule("webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/([\w/]{8,}+)"),
    _rule("mail address", "@", r"(?<![\w.+/-])[\w.+-]{1,64}+@(?:[\w-]{1,63}\.){1,4}[a-z]{2,24}\b"),
)
_CARD: Final = re.compile(
    r"(?<![\w.-])(?:[3-6]\d{13,18}|[3-6]\d{3}([ -])\d{4}\1\d{4}\1\d{1,7}|3\d{3}([ -])\d{6}\2\d{5})(?![\w-])"
)


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """The text with ``[redacted: kind]`` for each secret: as many lines as before, and the rest of each as it was.

    ``secrets`` are values known to be secret; those of fewer than 8 characters are ignored. A line over 64 Ki
    characters is cut, and a word over 2048 taken out: how much is said in its place.
    """
    text = _known(text.encode(errors="replace").decode(), secrets)
    return "\n".join(_chunk(chunk) for chunk in _chunks(text))


def redacted_incident(incident: Incident, secrets: Collection[str] = ()) -> Incident:
    """The incident, fit to leave the machine. Logs are looked at together: a private key spans lines."""
    lines = iter(redacted("\n".join(incident.logs), secrets).split("\n"))
    return replace(
        incident,
        symptoms=redacted(incident.symptoms, secrets),
        breadcrumbs=tuple(redacted(crumb, secrets) for crumb in incident.breadcrumbs),
        logs=tuple("\n".join(next(lines) for _ in range(entry.count("\n") + 1)) for entry in incident.logs),
    )


def secrets_in(environment: Mapping[str, str]) -> frozenset[str]:
    """The values that must not leave: of variables whose names say secret, and passwords in URLs."""
    named = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    urls = {_password(value) for value in environment.values() if "://" in value}
    return frozenset(value for value in named | urls if len(value) >= _SHORTEST)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # a bracket in the host
        return ""


def _known(text: str, secrets: Collection[str]) -> str:
    """As they are, and as JSON and URLs spell them."""
    forms = {
        form
        for secret in secrets
        if len(secret) >= _SHORTEST
        for form in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, _mark("known secret"))
    return text


def _chunks(text: str) -> Iterator[str]:
    """Whole lines, cut to their bound, as many as are looked at together."""
    lines, size = [], 0
    for line in text.split("\n"):
        lines.append(_WORD.sub(_long_word, _cut(line)))
        size += len(lines[-1])
        if size >= _CHUNK_CHARS:
            yield "\n".join(lines)
            lines, size = [], 0
    if lines:
        yield "\n".join(lines)


def _cut(line: str) -> str:
    if len(line) <= MAX_LINE_CHARS:
        return line
    end = max(line.rfind(mark, MAX_LINE_CHARS - MAX_WORD_CHARS, MAX_LINE_CHARS) for mark in " \t\"',;&")
    end = end if end > 0 else MAX_LINE_CHARS  # else within a word that is taken out as too long
    return f"{line[:end]} [cut: {len(line) - end} characters]"


def _long_word(match: re.Match[str]) -> str:
    return _mark(f"word of {len(match[0])} characters")


def _chunk(text: str) -> str:
    text = _searched(text)
    small = text.lower()
    for rule in _RULES:
        if rule.hint in small:
            text = rule.pattern.sub(partial(_taken_out, rule), text)
    return _CARD.sub(lambda match: _mark("card number") if _luhn(match[0]) else match[0], text)


def _searched(text: str) -> str:
    """Without what the library finds. What it could not look through does not leave."""
    try:
        found = scan(text, limits=_LIMITS)
    except SecretScanError as error:
        return "\n".join(_mark(f"not searched, {type(error).__name__}") for _ in text.split("\n"))
    kept, end = [], 0
    for secret in sorted(found, key=lambda each: each.start):
        kept += [text[end : secret.start], _masked(text[secret.start : secret.end], secret.type.replace("_", " "))]
        end = secret.end
    return "".join([*kept, text[end:]])


def _taken_out(rule: _Rule, match: re.Match[str]) -> str:
    start, end = (place - match.start() for place in match.span(rule.pattern.groups))
    return match[0][:start] + _masked(match[0][start:end], rule.kind) + match[0][end:]


def _masked(secret: str, kind: str) -> str:
    """One that spans lines is masked in each, so that no line is lost."""
    return "\n".join(_mark(kind) if line.strip() else line for line in secret.split("\n"))


def _mark(kind: str) -> str:
    return f"[redacted: {kind}]"


def _luhn(number: str) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B."""
    digits = [int(char) for char in number if char.isdigit()]
    return sum(digits[-1::-2]) % 10 == -sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]) % 10
