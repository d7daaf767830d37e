"""The fixer that asks any server of OpenAI's protocol: OpenAI itself, Ollama, vLLM, llama.cpp, LM Studio.

Protocol: ``POST /chat/completions``, the one that all of these speak. They differ in the ``response_format`` that they
take: a JSON schema, any JSON object, or none; some refuse with 400, some with 500. The fixer goes down that list until
one is taken, and stays with it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from harness.errors import InputError, install
from harness.fixing import reply
from harness.fixing.address import host, is_loopback, key
from harness.fixing.consultation import Consultation, Provider, Usage, answered
from harness.fixing.exchanges import Exchanges
from harness.fixing.prices import price_usd
from harness.fixing.prompt import Prompt, render, template
from harness.fixing.retries import RETRIED_CODES, Response, Retries, Setback, asked_s
from harness.fixing.said import openai_said, openai_usage
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree

if TYPE_CHECKING:
    from openai import APIStatusError

HOST: Final = "api.openai.com"

_NO_KEY: Final = "none"  # the SDK wants one; local servers ignore it
_RETRY_CURE: Final = "Try again later, raise the quota, or choose another model with OPENAI_MODEL."
_OTHER_CURE: Final = "Check what answers at OPENAI_BASE_URL (it mostly ends in /v1), and OPENAI_MODEL."
_CURES: Final = {
    400: "Check OPENAI_MODEL, and whether its context holds the prompt.",
    401: "Check OPENAI_API_KEY.",
    403: "Check OPENAI_API_KEY and what it may use.",
    404: _OTHER_CURE,
}
_FORMATS: Final[tuple[Mapping[str, Any] | None, ...]] = (
    {
        "type": "json_schema",
        "json_schema": {"name": "fix", "strict": True, "schema": reply.response_schema()},
    },
    {"type": "json_object"},
    None,  # the prompt alone asks for JSON
)
_FORMAT_REFUSED: Final = frozenset({400, 422, 501})
_SPEAKS_OF_FORMAT: Final = re.compile(r"response_format|json_schema|json schema|grammar", re.IGNORECASE)


class OpenAIFixer:
    """Proposes what the model answers. Every failure of the model, the network or the quota is a ProposalFailed.

    What is not given comes from the environment: ``OPENAI_MODEL``, ``OPENAI_API_KEY`` (not needed on this machine) and
    ``OPENAI_BASE_URL``. ``budget_s`` bounds all tries and waits together, and may be set before a proposal;
    ``timeout_s`` bounds one try, counted from the last byte received. Prices are OpenAI's own: other servers have none.

    ``exchanges`` records all that is sent and answered, or answers in place of the model; then no key is needed.

    Raises InputError when the model, the key or the SDK is missing, or the key or the address is none.
    """

    name = "openai"

    def __init__(
        self,
        *,
        model: str | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        tries: int = 4,
        budget_s: float = 110.0,
        timeout_s: float = 60.0,
        backoff_s: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        exchanges: Exchanges | None = None,
    ) -> None:
        self.model = (model or os.environ.get("OPENAI_MODEL") or "").strip()
        self._key = key(api_key or os.environ.get("OPENAI_API_KEY") or "", variable="OPENAI_API_KEY")
        self._base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or "").strip() or f"https://{HOST}/v1"
        self._host = host(self._base_url, variable="OPENAI_BASE_URL")
        self.budget_s = budget_s
        self._retries = Retries(tries=tries, timeout_s=timeout_s, backoff_s=backoff_s, sleep=sleep)
        self._exchanges, self._format = exchanges, 0
        if not self.model:
            raise InputError("the fixer openai needs a model's name", cure="set OPENAI_MODEL, as the server calls it")
        if exchanges is not None and exchanges.replays:
            return
        if not self._key and not is_loopback(self._host):
            raise InputError(
                f"{self._host} needs an API key", cure="set OPENAI_API_KEY, or OPENAI_BASE_URL to a local server"
            )
        if importlib.util.find_spec("openai") is None:
            raise InputError("the package openai is not installed", cure=install("openai"))

    @property
    def template(self) -> tuple[str, str]:
        """The name and the text of what its prompts are made of."""
        return template()

    def prompt(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> str:
        """The exact text that ``propose`` sends for the same arguments, and all of it that is not the same for all."""
        return render(incident, passages, tree, earlier).text

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        prompt = render(incident, passages, tree, earlier)
        retries = replace(self._retries, budget_s=self.budget_s)
        talk = Consultation(self._provider(), attempt=len(earlier) + 1, retries=retries, exchanges=self._exchanges)
        with talk.accounted():
            said = openai_said(answered(self._response(talk, prompt)))
            read = reply.read(reply.block(said.text))
            return reply.to_fix(read, cost=talk.cost, model=talk.named(said.model or self.model), prompt=prompt.id)

    def _response(self, talk: Consultation, prompt: Prompt) -> Response:
        """What came of the first format that the server takes, or of the last of all."""
        for number in range(self._format, len(_FORMATS)):
            request = self._request(prompt, _FORMATS[number])
            response = talk.ask(request, partial(self._try, request))
            if response.status == 200:
                self._format = number
            if not _refuses_format(response):
                break
        return response

    def _request(self, prompt: Prompt, response_format: Mapping[str, Any] | None) -> dict[str, Any]:
        """The body that is sent, but for what depends on the server: the thing that is recorded."""
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
        }
        if response_format is not None:
            request["response_format"] = response_format
        return request

    def _try(self, request: Mapping[str, Any], timeout_s: float) -> Response | Setback:
        """One request. A setback is worth another try."""
        # openai takes half a second or more to import, and is an extra
        import httpx2  # noqa: PLC0415 - see above
        import openai  # noqa: PLC0415 - see above

        # incidents hold code and logs; other servers may refuse a key that they do not know
        body = {**request, "store": False} if self._host == HOST else dict(request)
        # a redirect would carry the key to another host; a proxy is no way to this machine itself
        http = openai.DefaultHttpxClient(follow_redirects=False, trust_env=not is_loopback(self._host))
        try:
            with openai.OpenAI(
                api_key=self._key or _NO_KEY,
                base_url=self._base_url,
                timeout=timeout_s,
                max_retries=0,
                http_client=http,
            ) as client:
                raw = client.chat.completions.with_raw_response.create(**cast(Any, body))
                answer = json.loads(raw.http_response.content)
        except httpx2.InvalidURL:
            return Response(status=0, error="the base URL is not an address", cure="Check OPENAI_BASE_URL.")
        except openai.APIStatusError as error:
            return _refusal(error)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error  # the SDK words all of these alike
            if isinstance(cause, httpx2.TransportError):
                return Setback(what=f"{type(cause).__name__}: {cause}")
            return _misshapen(cause)
        except (openai.OpenAIError, httpx2.HTTPError, ValueError, TypeError, RecursionError) as error:
            return _misshapen(error)
        return Response(status=200, body=answer) if isinstance(answer, dict) else _misshapen(answer)

    def _provider(self) -> Provider:
        return Provider(
            fixer=self.name,
            title="OpenAI" if self._host == HOST else self._host,
            model=self.model,
            retry_cure=_RETRY_CURE,
            usage=openai_usage,
            price=self._price,
            secret=self._key,
        )

    def _price(self, usage: Usage, day: date) -> float | None:
        return price_usd(self.model, usage.tokens_in, usage.tokens_out, on=day) if self._host == HOST else None


def _refusal(error: APIStatusError) -> Response | Setback:
    """An HTTP error: a setback, unless it would come again. ``error.body`` is the value under "error", or the text."""
    told = error.body if isinstance(error.body, dict) else {}
    message = told.get("message") or error.message
    what = f"HTTP {error.status_code} {told.get('code') or ''}: {message}"
    lasting = told.get("code") == "insufficient_quota" or _SPEAKS_OF_FORMAT.search(str(message)) is not None
    if error.status_code in RETRIED_CODES and not lasting:
        return Setback(what=what, asked_s=asked_s(error.response.headers))
    return Response(status=error.status_code, error=what, cure=_CURES.get(error.status_code, _OTHER_CURE))


def _misshapen(what: object) -> Response:
    error = f"the answer is not in OpenAI's protocol ({type(what).__name__})"
    return Response(status=0, error=error, cure=_OTHER_CURE)


def _refuses_format(response: Response) -> bool:
    if response.status in _FORMAT_REFUSED:
        return True
    return response.status >= 500 and _SPEAKS_OF_FORMAT.search(response.error) is not None
