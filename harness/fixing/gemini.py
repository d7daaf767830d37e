"""The fixer that asks Google's Gemini, through its own SDK, and reads the answer as data.

Protocol: ``generateContent`` of the Gemini API with structured output (``response_json_schema``). The API version is
pinned: the SDK's default moved from v1beta to v1 in 3.0, and only v1beta is known to take every field used here.
``store=False`` is sent with each request, since incidents hold code and logs; in generateContent it overrides the
project's logging setting (google-genai 3.4, ``GenerateContentConfig.store``).
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from harness.errors import InputError, ProposalFailed
from harness.fixing import reply
from harness.fixing.prices import price_usd
from harness.fixing.prompt import Prompt, render
from harness.model.fix import Attempt, Cost, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree

if TYPE_CHECKING:
    from google.genai.errors import APIError
    from google.genai.types import GenerateContentResponse, HttpOptionsDict

DEFAULT_MODEL: Final = "gemini-3.8-flash"
API_VERSION: Final = "v1beta"

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_RETRIED_CODES: Final = frozenset({408, 429, 500, 502, 503, 504})
_MAX_BACKOFF_S: Final = 30.0
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)s?")
_RETRY_CURE: Final = "Try again later, raise the quota, or choose another model with GEMINI_MODEL."
_OTHER_CURE: Final = "Check what answers at the base URL, and GEMINI_MODEL."
# how the SDK fails on a body of another shape
_MISSHAPEN: Final = (ValueError, TypeError, AttributeError, RecursionError)
_CURES: Final = {
    400: "Check the key and the model's name; a model that lacks structured output cannot be used.",
    401: "Check GEMINI_API_KEY.",
    403: "Check GEMINI_API_KEY and what it may use.",
    404: "Check GEMINI_MODEL: models are shut down about a year after their release.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setback:
    """Why a try failed that may succeed later; ``asked_s`` is how long the server wants to be left alone."""

    what: str
    asked_s: float | None = None


class GeminiFixer:
    """Proposes what Gemini answers. Every failure of the model, the network or the quota is a ProposalFailed.

    What is not given comes from the environment: ``GEMINI_MODEL``, ``GEMINI_API_KEY`` or else ``GOOGLE_API_KEY``, and
    ``GOOGLE_GEMINI_BASE_URL``. ``budget_s`` bounds all tries and waits together; ``timeout_s`` bounds one try, counted
    by the SDK from the last byte received. The same input may get another answer: compare by repeats.

    Raises InputError when the key is missing or the address is none. The key appears in no error and no log.
    """

    name = "gemini"

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
    ) -> None:
        self.model = model or os.environ.get("GEMINI_MODEL") or DEFAULT_MODEL
        key = api_key or os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY") or ""
        self._key = key.strip()
        self._base_url = base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL") or None
        self._tries, self._budget_s, self._timeout_s, self._backoff_s = tries, budget_s, timeout_s, backoff_s
        self._sleep = sleep
        if not self._key:
            raise InputError("Gemini needs an API key", cure="set GEMINI_API_KEY, or choose another fixer")
        if self._base_url and (urlsplit(self._base_url).scheme not in ("http", "https") or not self._host()):
            raise InputError(
                f"{self._base_url!r} is not an address", cure="set GOOGLE_GEMINI_BASE_URL to http(s)://host[:port]"
            )

    def prompt(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> str:
        """The exact text that ``propose`` sends for the same arguments, and all of it that is not the same for all."""
        return render(incident, passages, tree, earlier).text

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        started_s = time.monotonic()
        response = self._answer(render(incident, passages, tree, earlier), deadline_s=started_s + self._budget_s)
        cost = self._cost(response, time.monotonic() - started_s)
        try:
            text = _text(response)
            return reply.to_fix(reply.read(text), cost=cost, model=response.model_version or self.model)
        except ProposalFailed as error:
            used = f"{error.message} ({cost.tokens_in} tokens in, {cost.tokens_out} out)"
            raise ProposalFailed(self._redacted(used), cure=error.cure) from None

    def _answer(self, prompt: Prompt, *, deadline_s: float) -> GenerateContentResponse:
        """The first answer in at most ``tries``, or ProposalFailed."""
        setback = _Setback(what="no time was left")
        for number in range(1, self._tries + 1):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            outcome = self._try(prompt, timeout_s=min(self._timeout_s, left_s))
            if not isinstance(outcome, _Setback):
                return outcome
            setback = outcome
            if number < self._tries:
                self._wait(number, setback, deadline_s)
        what = f"gave up after {self._tries} tries or {self._budget_s:g} s: {setback.what}"
        raise self._failed(what, cure=_RETRY_CURE)

    def _try(self, prompt: Prompt, *, timeout_s: float) -> GenerateContentResponse | _Setback:
        """One request. A setback is worth another try; what would fail again raises ProposalFailed."""
        # google.genai takes a second or more to import, and most commands never need it
        import httpx2  # noqa: PLC0415 - see above
        from google import genai  # noqa: PLC0415 - see above
        from google.genai.errors import APIError  # noqa: PLC0415 - see above

        config = genai.types.GenerateContentConfig(
            system_instruction=prompt.system,
            response_mime_type="application/json",
            response_json_schema=reply.response_schema(),
            automatic_continuation=False,  # a further request would escape this loop's budget
            store=False,
        )
        with genai.Client(vertexai=False, api_key=self._key, http_options=self._options(timeout_s)) as client:
            try:
                return client.models.generate_content(model=self.model, contents=prompt.user, config=config)
            except APIError as error:
                what = f"HTTP {error.code} {error.status or ''}: {error.message or 'no message'}"
                if error.code in _RETRIED_CODES:
                    return _Setback(what=what, asked_s=_retry_after_s(error))
                raise self._failed(what, cure=_CURES.get(error.code, _OTHER_CURE)) from None
            except httpx2.TransportError as error:
                return _Setback(what=f"{type(error).__name__}: {error}")
            except (httpx2.HTTPError, *_MISSHAPEN) as error:
                what = f"the answer is not in Gemini's protocol ({type(error).__name__})"
                raise self._failed(what, cure=_OTHER_CURE) from None

    def _options(self, timeout_s: float) -> HttpOptionsDict:
        return {
            "api_version": API_VERSION,
            "base_url": self._base_url,
            "timeout": max(1, round(timeout_s * 1000)),
            # a redirect would carry the key to another host; a proxy is no way to this machine itself
            "client_args": {"follow_redirects": False, "trust_env": self._host() not in _LOOPBACK},
        }

    def _wait(self, number: int, setback: _Setback, deadline_s: float) -> None:
        """As long as the server asks; else twice as long each time, spread so that parallel trials part ways."""
        wait_s = setback.asked_s
        if wait_s is None:
            jitter = 0.5 + random.random() / 2  # noqa: S311 - it guards nothing
            wait_s = min(_MAX_BACKOFF_S, self._backoff_s * 2 ** (number - 1)) * jitter
        left_s = max(0.0, deadline_s - time.monotonic())
        if wait_s >= left_s:
            what = f"a wait of {wait_s:.1f} s is due, and {left_s:.1f} s are left: {setback.what}"
            raise self._failed(what, cure=_RETRY_CURE)
        self._sleep(wait_s)

    def _cost(self, response: GenerateContentResponse, seconds: float) -> Cost:
        usage = response.usage_metadata
        if usage is None:
            return Cost(seconds=seconds)
        tokens_in = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
        tokens_out = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        usd = price_usd(self.model, tokens_in, tokens_out, on=datetime.now(UTC).date())
        return Cost(seconds=seconds, tokens_in=tokens_in, tokens_out=tokens_out, usd=usd)

    def _host(self) -> str:
        return urlsplit(self._base_url or "").hostname or ""

    def _failed(self, what: str, *, cure: str) -> ProposalFailed:
        return ProposalFailed(f"Gemini ({self.model}): {self._redacted(what)}", cure=cure)

    def _redacted(self, text: str) -> str:
        """Servers echo keys. Errors are raised ``from None`` for the same reason: the SDK's own hold the answer."""
        return " ".join(text.replace(self._key, "<key>").split())[:600]


def _text(response: GenerateContentResponse) -> str | None:
    """The answer's text. Raises ProposalFailed when the prompt was blocked or the answer broke off."""
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        reason = f"{feedback.block_reason.value} {feedback.block_reason_message or ''}".strip()
        raise ProposalFailed(f"Gemini blocked the prompt: {reason}", cure="Try another model with GEMINI_MODEL.")
    if not response.candidates:
        raise ProposalFailed("Gemini gave no candidate", cure="Try again, or another model with GEMINI_MODEL.")
    finish = response.candidates[0].finish_reason
    if finish is not None and finish.value != "STOP":
        raise ProposalFailed(f"Gemini broke its answer off: {finish.value}", cure="Answer briefly: change little.")
    return response.text


def _retry_after_s(error: APIError) -> float | None:
    """How long the server asks to wait: ``Retry-After`` (RFC 9110, seconds or a date), or Google's ``RetryInfo``."""
    header = getattr(error.response, "headers", {}).get("retry-after", "")
    if seconds := _SECONDS.fullmatch(header.strip()):
        return float(seconds[1])
    if header:
        try:
            return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):  # no date; or one without a zone
            return None
    body = error.details.get("error") if isinstance(error.details, dict) else None
    details = body.get("details") if isinstance(body, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and (seconds := _SECONDS.fullmatch(str(detail.get("retryDelay", "")))):
            return float(seconds[1])
    return None
