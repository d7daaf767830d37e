"""The Lambda function that proposes a fix: ``harness.aws.lambda_handler.handler``.

The event is an ``Errand``, the result an ``Answer``, see harness/fixing/errand.py. The environment's ``FIXER`` says who
proposes, Gemini by default; the key that it needs stands in the environment too, or in Secrets Manager. Where the event
names an address, the answer is PUT there as well: who invoked by event gets no other.

A proposal that failed is an answer, not an error of the function: Lambda would run an asynchronous one up to three
times.
"""

from __future__ import annotations

import http.client
import json
import os
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError

from harness.aws.secrets import read_secrets
from harness.errors import HarnessError, InputError, ProposalFailed
from harness.fixing.address import is_loopback
from harness.fixing.errand import Answer, Errand, complaint
from harness.ports import Fixer

MARGIN_S: Final = 3.0  # to answer, and to hand the answer in
FIXERS: Final = ("gemini", "openai", "playbook")
_PUT_TIMEOUT_S: Final = 2.0


class Context(Protocol):
    """What is used here of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int: ...


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """The answer as JSON values. HandInFailed where it could not be PUT, so that Lambda tries again."""
    try:
        errand = Errand.model_validate(event)
        put = _address(errand.answer_url) if errand.answer_url else None
    except ValidationError as error:
        return _values(Answer(refused=f"the event is no errand: {complaint(error)}", cure="Send what Errand tells."))
    except InputError as error:
        return _values(Answer(refused=error.message, cure=error.cure))
    answer = _answer(errand, context.get_remaining_time_in_millis() / 1000 - MARGIN_S)
    if put:
        _hand_in(answer.payload(), put)
    return _values(answer)


class HandInFailed(Exception):
    """The answer could not be delivered where it was to go."""


def _answer(errand: Errand, left_s: float) -> Answer:
    budget_s = min(errand.budget_s, left_s)
    if budget_s <= 0:
        return Answer(refused="the function has no time left", cure="Raise the function's timeout.")
    try:
        read_secrets()
        fixer = _fixer(os.environ.get("FIXER") or FIXERS[0], budget_s)
        return Answer(fix=fixer.propose(errand.incident, errand.passages, errand.tree, errand.earlier))
    except ProposalFailed as error:
        return Answer.of_failure(error)
    except HarnessError as error:  # a missing key, or an unknown fixer: the function's environment is wrong
        return Answer(refused=error.message, cure=error.cure)


def _fixer(name: str, budget_s: float) -> Fixer:
    """Each is imported where it is wanted: a function's start is waited for."""
    match name:
        case "gemini":
            from harness.fixing.gemini import GeminiFixer  # noqa: PLC0415 - see above

            return GeminiFixer(budget_s=budget_s)
        case "openai":
            from harness.fixing.openai import OpenAIFixer  # noqa: PLC0415 - see above

            return OpenAIFixer(budget_s=budget_s)
        case "playbook":
            from harness.fixing.playbook import PlaybookFixer  # noqa: PLC0415 - see above

            return PlaybookFixer()
        case _:
            raise InputError(f"FIXER: no fixer {name!r}", cure=f"known: {', '.join(FIXERS)}")


def _address(url: str) -> SplitResult:
    """The answer holds code: it goes over https, or stays on this machine. InputError."""
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if secure and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a port or a bracket that is none
        pass
    raise InputError("answer_url is no address to send code to", cure="give https://host/..., or http on 127.0.0.1")


def _hand_in(payload: bytes, to: SplitResult) -> None:
    """One PUT, no redirect. The address is not told on: a presigned one is a key."""
    connect = http.client.HTTPSConnection if to.scheme == "https" else http.client.HTTPConnection
    connection = connect(to.hostname or "", to.port, timeout=_PUT_TIMEOUT_S)
    try:
        path = to._replace(scheme="", netloc="", fragment="").geturl() or "/"
        connection.request("PUT", path, body=payload, headers={"Content-Type": "application/json"})
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise HandInFailed(f"the answer could not be PUT to {to.hostname}: {type(error).__name__}") from None
    finally:
        connection.close()
    if status >= 300:
        raise HandInFailed(f"the answer could not be PUT to {to.hostname}: HTTP {status}")


def _values(answer: Answer) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(answer.payload())
    return values
