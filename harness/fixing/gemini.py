"""The fixer that asks Google's Gemini, through its own SDK, and reads the answer as data.

Protocol: ``generateContent`` of the Gemini API, with structured output (``response_json_schema``) or, where the model
may use tools, function calling in mode ANY. The API version is pinned: the SDK's default moved from v1beta to v1 in
3.0, and only v1beta is known to take every field used here. ``store=False`` is sent with each request, since incidents
hold code and logs; in generateContent it overrides the project's logging setting (google-genai 3.4,
``GenerateContentConfig.store``).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError, ProposalFailed
from harness.fixing import reply
from harness.fixing.address import host, is_loopback, key
from harness.fixing.consultation import Consultation, Means, Provider, Usage
from harness.fixing.exchanges import Exchanges
from harness.fixing.prices import price_usd
from harness.fixing.prompt import Prompt, render, template
from harness.fixing.retries import RETRIED_CODES, Response, Retries, Setback, asked_s
from harness.fixing.said import Said, ToolCall, gemini_said, gemini_usage
from harness.fixing.tools import PROPOSE, Toolbox, declarations
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree

if TYPE_CHECKING:
    from google.genai.types import HttpOptionsDict

DEFAULT_MODEL: Final = "gemini-3.8-flash"
API_VERSION: Final = "v1beta"
MAX_CALLS_A_STEP: Final = 16

_ANY_MODELS_LIMIT: Final = 8192  # tokens
_RETRY_CURE: Final = "Try again later, raise the quota, or choose another model with GEMINI_MODEL."
_OTHER_CURE: Final = "Check what answers at the base URL, and GEMINI_MODEL."
_URL_CURE: Final = "Check GEMINI_MODEL and GOOGLE_GEMINI_BASE_URL for characters that no address has."
# how the SDK fails on a body of another shape
_MISSHAPEN: Final = (ValueError, TypeError, AttributeError, RecursionError)
_CURES: Final = {
    400: "Check the key and the model's name; a model that lacks structured output cannot be used.",
    401: "Check GEMINI_API_KEY.",
    403: "Check GEMINI_API_KEY and what it may use.",
    404: "Check GEMINI_MODEL: models are shut down about a year after their release.",
}


class GeminiFixer:
    """Proposes what Gemini answers. Every failure of the model, the network or the quota is a ProposalFailed.

    What is not given comes from the environment: ``GEMINI_MODEL``, ``GEMINI_API_KEY`` or else ``GOOGLE_API_KEY``, and
    ``GOOGLE_GEMINI_BASE_URL``. ``budget_s`` bounds all tries and waits together, and may be set before a proposal;
    ``timeout_s`` bounds one try, counted by the SDK from the last byte received. The same input may get another answer.

    With ``tools`` the model may read code and log in up to ``max_steps`` requests. No further one is sent once they
    took ``max_tokens``, in and out, or cost ``max_usd``, with the earlier attempts (where the model's price is known).

    ``exchanges`` records all that is sent and answered, or answers in place of the model; then no key is needed.

    Raises InputError when the key is missing or none, or the address is none. The key appears in no error and no log.
    """

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
        tools: bool = False,
        max_steps: int = 12,
        max_tokens: int = 500_000,
        max_usd: float | None = None,
        exchanges: Exchanges | None = None,
    ) -> None:
        self.name = "gemini-tools" if tools else "gemini"  # told apart where fixers are compared
        self.model = (model or os.environ.get("GEMINI_MODEL") or "").strip() or DEFAULT_MODEL
        given = api_key or os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY") or ""
        self._key = key(given, variable="GEMINI_API_KEY or GOOGLE_API_KEY")
        self._base_url = (base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL") or "").strip() or None
        self._host = host(self._base_url, variable="GOOGLE_GEMINI_BASE_URL")
        self.budget_s = budget_s
        self._retries = Retries(tries=tries, timeout_s=timeout_s, backoff_s=backoff_s, sleep=sleep)
        self._tools, self._max_steps, self._means = tools, max_steps, Means(max_tokens=max_tokens, max_usd=max_usd)
        self._exchanges = exchanges
        if not self._key and not (exchanges and exchanges.replays):
            raise InputError("Gemini needs an API key", cure="set GEMINI_API_KEY, or choose another fixer")

    @property
    def template(self) -> tuple[str, str]:
        """The name and the text of what its prompts are made of."""
        return template()

    def prompt(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> str:
        """The exact text that ``propose`` sends for the same arguments, and all of it that is not the same for all.

        What tools return comes on top: it is of the same incident and tree.
        """
        return render(incident, passages, tree, earlier, tools=self._tools).text

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        prompt = render(incident, passages, tree, earlier, tools=self._tools)
        retries = replace(self._retries, budget_s=self.budget_s)
        talk = Consultation(self._provider(), attempt=len(earlier) + 1, retries=retries, exchanges=self._exchanges)
        with talk.accounted():
            if self._tools:
                spent_usd = sum(attempt.cost.usd or 0.0 for attempt in earlier)
                means = replace(self._means, spent_usd=spent_usd)
                return self._investigate(talk, prompt, Toolbox(incident, tree), means)
            said = self._said(talk, self._request(prompt, [_user({"text": prompt.user})], _structured()))
            return self._fix(talk, prompt, said, reply.read(said.text))

    def _investigate(self, talk: Consultation, prompt: Prompt, toolbox: Toolbox, means: Means) -> Fix:
        """Answer the model's calls until it proposes, or one of the limits ends it with ProposalFailed."""
        contents, complaint = [_user({"text": prompt.user})], ""
        for step in range(1, self._max_steps + 1):
            means.require(talk.cost)
            config = _with_tools(last=step == self._max_steps, max_tokens=means.tokens_left(talk.cost))
            said = self._said(talk, self._request(prompt, contents, config))
            if not said.calls:
                return self._fix(talk, prompt, said, reply.read(said.text))
            if len(said.calls) > MAX_CALLS_A_STEP:
                what = f"the model made {len(said.calls)} calls in one step, more than {MAX_CALLS_A_STEP}"
                raise ProposalFailed(what, cure="Try again, or another model with GEMINI_MODEL.")
            results = []
            for call in said.calls:
                if call.name == PROPOSE:
                    try:
                        return self._fix(talk, prompt, said, reply.read(json.dumps(call.arguments)))
                    except ProposalFailed as error:
                        result = complaint = error.message
                else:
                    result = toolbox.use(call.name, call.arguments)
                results.append(_result(call, result))
            contents = [*contents, {**said.content, "role": "model"}, _user(*results)]
        what = f"no usable proposal within {self._max_steps} steps"
        raise ProposalFailed(f"{what}: {complaint}" if complaint else what, cure="Allow more steps, or change little.")

    def _said(self, talk: Consultation, request: Mapping[str, Any]) -> Said:
        return gemini_said(talk.answer(request, partial(self._try, request)))

    def _fix(self, talk: Consultation, prompt: Prompt, said: Said, read: reply.Reply) -> Fix:
        model = talk.named(said.model or self.model)
        return reply.to_fix(read, cost=talk.cost, model=model, prompt=prompt.id)

    def _request(
        self, prompt: Prompt, contents: Sequence[Mapping[str, Any]], config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What is handed to the SDK, as JSON: the thing that is recorded."""
        always = {
            "system_instruction": prompt.system,
            "automatic_continuation": False,  # a further request would escape the budget
            "store": False,
        }
        return {"model": self.model, "contents": list(contents), "config": {**always, **config}}

    def _try(self, request: Mapping[str, Any], timeout_s: float) -> Response | Setback:
        """One request. A setback is worth another try."""
        # google.genai takes a second or more to import, and most commands never need it
        import httpx2  # noqa: PLC0415 - see above
        from google import genai  # noqa: PLC0415 - see above
        from google.genai.errors import APIError  # noqa: PLC0415 - see above

        # read as JSON, in which the signatures of a model's thoughts are base64
        contents = [genai.types.Content.model_validate_json(json.dumps(each)) for each in request["contents"]]
        config = genai.types.GenerateContentConfig.model_validate(request["config"])
        with genai.Client(vertexai=False, api_key=self._key, http_options=self._options(timeout_s)) as client:
            try:
                answer = client.models.generate_content(model=request["model"], contents=contents, config=config)
                body = answer.model_dump(mode="json", exclude_none=True, exclude={"sdk_http_response", "parsed"})
                return Response(status=200, body=body)
            except APIError as error:
                what = f"HTTP {error.code} {error.status or ''}: {error.message or 'no message'}"
                if error.code in RETRIED_CODES:
                    headers = getattr(error.response, "headers", {})
                    return Setback(what=what, asked_s=asked_s(headers, error.details))
                return Response(status=error.code, error=what, cure=_CURES.get(error.code, _OTHER_CURE))
            except httpx2.TransportError as error:
                return Setback(what=f"{type(error).__name__}: {error}")
            except httpx2.InvalidURL:
                return Response(status=0, error="the base URL and the model's name make no address", cure=_URL_CURE)
            except (httpx2.HTTPError, *_MISSHAPEN) as error:
                what = f"the answer is not in Gemini's protocol ({type(error).__name__})"
                return Response(status=0, error=what, cure=_OTHER_CURE)

    def _options(self, timeout_s: float) -> HttpOptionsDict:
        return {
            "api_version": API_VERSION,
            "base_url": self._base_url,
            "timeout": max(1, round(timeout_s * 1000)),
            # a redirect would carry the key to another host; a proxy is no way to this machine itself
            "client_args": {"follow_redirects": False, "trust_env": not is_loopback(self._host)},
        }

    def _provider(self) -> Provider:
        return Provider(
            fixer=self.name,
            title="Gemini",
            model=self.model,
            retry_cure=_RETRY_CURE,
            usage=gemini_usage,
            price=self._price,
            secret=self._key,
        )

    def _price(self, usage: Usage, day: date) -> float | None:
        return price_usd(self.model, usage.tokens_in, usage.tokens_out, on=day)


def _structured() -> dict[str, Any]:
    return {"response_mime_type": "application/json", "response_json_schema": reply.response_schema()}


def _with_tools(*, last: bool, max_tokens: int) -> dict[str, Any]:
    """Function calling: the model has to call something, and in the last step to propose."""
    functions = [
        {"name": tool["name"], "description": tool["description"], "parameters_json_schema": tool["parameters"]}
        for tool in declarations()
    ]
    mode: dict[str, Any] = {"mode": "ANY", **({"allowed_function_names": [PROPOSE]} if last else {})}
    return {
        "tools": [{"function_declarations": functions}],
        "tool_config": {"function_calling_config": mode},
        "automatic_function_calling": {"disable": True},
        # a limit beyond the model's own is refused; any model can say as much as this
        **({"max_output_tokens": max_tokens} if max_tokens < _ANY_MODELS_LIMIT else {}),
    }


def _user(*parts: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def _result(call: ToolCall, output: str) -> dict[str, Any]:
    named = {"name": call.name} if call.id is None else {"name": call.name, "id": call.id}
    return {"function_response": {**named, "response": {"output": output}}}
