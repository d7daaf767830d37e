"""The fixer that is an AWS Lambda function: the same question over Invoke, and the same answer (see errand.py).

Protocol: ``Invoke`` of the Lambda API 2015-03-31, by boto3
(https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html). The other side is ``harness.aws.lambda_handler``.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.errors import InputError, ProposalFailed, install
from harness.fixing.errand import MAX_SECONDS, Errand, read_answer
from harness.fixing.retries import RETRIED_CODES, Response, Retries, Setback, asked_s
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree
from harness.redaction import redacted, secrets_in

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

MAX_REQUEST_BYTES: Final = 6_291_456  # of a synchronous invocation, and of its answer
MAX_EVENT_BYTES: Final = 1_048_576  # of an asynchronous one

_CONNECT_TIMEOUT_S: Final = 10.0
_CHUNK_BYTES: Final = 1 << 20
_MARGIN_S: Final = 5.0  # waited beyond the function's own time: it starts late, and may say that it ran out of it
_ARN: Final = re.compile(r"arn:aws[\w-]*:lambda:(?P<region>[a-z0-9-]+):\d{12}:function:.+")
_LOGIN: Final = re.compile(r"\S*@")  # in an address
_TIMED_OUT: Final = re.compile(r"Task timed out after [\d.]+ seconds")
_CREDENTIALS_CURE: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or use a role"
_CURES: Final = {
    "AccessDeniedException": "Allow lambda:InvokeFunction on the function to these credentials.",
    "ExpiredTokenException": "Get new credentials: these have expired.",
    "UnrecognizedClientException": "Check the credentials, and that they belong to this region's partition.",
    "InvalidSignatureException": "Check AWS_SECRET_ACCESS_KEY, and this machine's clock.",
    "ResourceNotFoundException": "Check LAMBDA_FUNCTION and the region.",
    "RequestTooLargeException": "Show less: narrow `source` in the app's app.yml.",
}


class LambdaFixer:
    """Proposes what a Lambda function answers. Every failure of AWS or of the function is a ProposalFailed.

    What is not given comes from the environment: ``LAMBDA_FUNCTION``, a name or an ARN; credentials, region and
    ``AWS_ENDPOINT_URL_LAMBDA`` as boto3 finds them, and ``AWS_REGION``. ``budget_s`` bounds all tries and waits, and
    may be set before a proposal; each try tells the function what is left of it, less the way there and back.
    Throttling and errors of the service are tried again, by this loop and not by boto3, so that they count in the
    budget; what the function itself says is final.

    Raises InputError where function, region, credentials or boto3 are missing. Keys appear in no error.
    """

    name = "lambda"

    def __init__(
        self,
        function: str | None = None,
        *,
        budget_s: float = 110.0,
        tries: int = 4,
        backoff_s: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.model = function or os.environ.get("LAMBDA_FUNCTION") or ""
        self.budget_s = budget_s
        self._retries = Retries(tries=tries, timeout_s=math.inf, backoff_s=backoff_s, sleep=sleep)
        if not self.model:
            raise InputError("no Lambda function is named", cure="set LAMBDA_FUNCTION to its name or ARN")
        self._session, self._secrets = _session(self.model)

    def prompt(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> str:
        """The exact payload that is sent for the same arguments, but for ``budget_s``: that is less with each try."""
        return self._payload(_errand(incident, passages, tree, earlier), _its_own(self.budget_s)).decode()

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        started_s = time.monotonic()
        errand = _errand(incident, passages, tree, earlier)
        response = self._invoked(errand, "RequestResponse", MAX_REQUEST_BYTES)
        body: bytes = response["Payload"]
        if len(body) > MAX_REQUEST_BYTES:
            raise self._failed(f"the answer has more than {MAX_REQUEST_BYTES} bytes", cure="Answer briefly.")
        if response.get("FunctionError"):
            raise self._function_failed(body)
        try:
            fix = read_answer(body)
        except ProposalFailed as error:
            raise self._failed(error.message, cure=error.cure, cost=error.cost) from None
        return replace(fix, cost=replace(fix.cost, seconds=time.monotonic() - started_s))

    def invoke_async(
        self,
        incident: Incident,
        passages: Sequence[Passage],
        tree: SourceTree,
        earlier: Sequence[Attempt],
        *,
        answer_url: str | None = None,
    ) -> str:
        """Asks and does not wait. The id of the request; ProposalFailed as above.

        The function PUTs its answer, which ``errand.read_answer`` reads, to ``answer_url``: https, such as a presigned
        URL of S3, or http on the function's own machine. Without one, what the function returns goes where its
        asynchronous invocation is configured to send it: a queue, a topic, a bus.
        """
        errand = _errand(incident, passages, tree, earlier).model_copy(update={"answer_url": answer_url})
        response = self._invoked(errand, "Event", MAX_EVENT_BYTES)
        return str(response["ResponseMetadata"].get("RequestId", ""))

    def _payload(self, errand: Errand, budget_s: float) -> bytes:
        try:
            return errand.model_copy(update={"budget_s": min(budget_s, MAX_SECONDS)}).payload()
        except ValueError as error:
            raise self._failed(f"the question cannot be said in JSON: {error}", cure="Report this.") from None

    def _invoked(self, errand: Errand, kind: Literal["RequestResponse", "Event"], most_bytes: int) -> Mapping[str, Any]:
        """What boto3 returns for the first invocation that Lambda accepts."""

        def send(left_s: float) -> Response | Setback:
            body = self._payload(errand, _its_own(left_s) if kind == "RequestResponse" else self.budget_s)
            if len(body) > most_bytes:
                what = f"the question has {len(body)} bytes, and Lambda takes {most_bytes}"
                return Response(status=0, error=what, cure=_CURES["RequestTooLargeException"])
            return self._sent(body, kind, left_s)

        retries = replace(self._retries, budget_s=self.budget_s)
        deadline_s = time.monotonic() + retries.budget_s
        response, _ = retries.response(send, deadline_s=deadline_s, cure="Try again later.")
        if response.error:
            raise self._failed(response.error, cure=response.cure)
        return response.body

    def _sent(self, payload: bytes, kind: str, timeout_s: float) -> Response | Setback:
        """One try."""
        from botocore import exceptions as aws  # noqa: PLC0415 - boto3 is optional, and slow
        from botocore.config import Config  # noqa: PLC0415 - as above

        config = Config(
            connect_timeout=min(_CONNECT_TIMEOUT_S, timeout_s),
            read_timeout=timeout_s,
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,  # a silent connection is cut by what lies between
        )
        try:
            with closing(self._session.client("lambda", config=config)) as client:
                response = client.invoke(FunctionName=self.model, InvocationType=kind, Payload=payload)
                with closing(response["Payload"]) as stream:
                    return Response(status=200, body={**response, "Payload": _read(stream)})
        except aws.ClientError as error:
            return _refused(error)
        except (aws.ReadTimeoutError, aws.IncompleteReadError, aws.ResponseStreamingError) as error:
            late = isinstance(error, aws.ReadTimeoutError)
            what = f"no answer within {timeout_s:.3g} s" if late else "the answer broke off"
            return Response(status=0, error=what, cure="Give the function less to do, or raise budget.fixer.")
        except (aws.ConnectionError, aws.HTTPClientError) as error:
            return Setback(what=f"{type(error).__name__}: {error}")
        except aws.BotoCoreError as error:
            return Response(status=0, error=f"{type(error).__name__}: {error}", cure=_CREDENTIALS_CURE)

    def _function_failed(self, body: bytes) -> ProposalFailed:
        """The function crashed, ran out of time, or could not start: the runtime's error object says which."""
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        said = said if isinstance(said, dict) else {}
        kind, message = str(said.get("errorType") or "unknown error"), str(said.get("errorMessage") or "no message")
        if kind == "Sandbox.Timedout" or _TIMED_OUT.search(message):
            cure = "Raise the function's timeout above budget.fixer: its handler then ends in time by itself."
            return self._failed(f"the function timed out: {message}", cure=cure)
        return self._failed(f"the function failed: {kind}: {message}", cure="See the function's log in CloudWatch.")

    def _failed(self, what: str, *, cure: str, cost: object = None) -> ProposalFailed:
        what = " ".join(redacted(what, self._secrets).split())[:600]
        return ProposalFailed(f"Lambda ({self.model}): {what}", cure=cure, cost=cost)


def _session(function: str) -> tuple[Any, frozenset[str]]:
    """boto3's session, and the keys that it found. InputError where something is missing."""
    try:
        import boto3  # noqa: PLC0415 - optional, and half a second to import
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above
    except ImportError as error:
        raise InputError("Lambda needs boto3", cure=install("aws")) from error
    arn = _ARN.fullmatch(function)
    try:
        session = boto3.Session(region_name=arn["region"] if arn else os.environ.get("AWS_REGION") or None)
        if not session.region_name:
            raise InputError("no AWS region is set", cure="set AWS_REGION, or give LAMBDA_FUNCTION as an ARN")
        credentials = session.get_credentials()
        found = credentials.get_frozen_credentials() if credentials else None
        session.client("lambda").close()
    except (BotoCoreError, ClientError, ValueError) as error:  # no such profile; no such role; no address
        what = _LOGIN.sub("", str(error))  # it repeats the endpoint
        raise InputError(f"AWS cannot be used as configured: {what}", cure=_CREDENTIALS_CURE) from None
    if found is None or not found.access_key or not found.secret_key:
        raise InputError("no AWS credentials are found", cure=_CREDENTIALS_CURE)
    keys = (found.access_key, found.secret_key, found.token)
    return session, secrets_in(os.environ) | {key for key in keys if key}


def _errand(incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]) -> Errand:
    return Errand(incident=incident, passages=tuple(passages), tree=tree, earlier=tuple(earlier))


def _its_own(left_s: float) -> float:
    """The seconds that the function may take where we wait ``left_s`` for it."""
    return max(left_s - _MARGIN_S, left_s / 2)


def _read(stream: Any) -> bytes:  # noqa: ANN401 - boto3 makes its types at run time
    """All of it, or just more than there may be; botocore looks at the length where it comes to the end."""
    read = b""
    while len(read) <= MAX_REQUEST_BYTES and (chunk := stream.read(_CHUNK_BYTES)):
        read += chunk
    return read


def _refused(error: ClientError) -> Response | Setback:
    """What Lambda said instead of running the function."""
    said, about = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code, status = str(said.get("Code", "unknown")), int(about.get("HTTPStatusCode", 0))
    what = f"HTTP {status} {code}: {said.get('Message') or said.get('message') or 'no message'}"
    if status in RETRIED_CODES:
        return Setback(what=what, asked_s=asked_s(about.get("HTTPHeaders", {})))
    return Response(status=status, error=what, cure=_CURES.get(code, "See the function's log in CloudWatch."))
