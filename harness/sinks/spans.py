"""The healing of a trial as nested stretches of time, worked out from its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from harness.model.event import (
    AttemptEnded,
    Deployed,
    Event,
    FaultInjected,
    FixProposed,
    FixRefused,
    IncidentAnalyzed,
    IncidentCreated,
    TrialEnded,
    TrialStarted,
)
from harness.model.fix import Attempt
from harness.model.incident import Passage

SpanKind = Literal["CHAIN", "RETRIEVER", "LLM", "GUARDRAIL", "TOOL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One stretch, in seconds since the trial began. ``failed``: what was wanted did not come."""

    name: str
    kind: SpanKind
    start_s: float
    end_s: float
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: Any = None
    failed: bool = False
    tokens: tuple[int, int] | None = None  # in, out
    children: tuple[Span, ...] = ()


def trial_span(events: Sequence[Event]) -> Span:
    """trial > incident, attempt 1 > retrieve, propose, guard, deploy, observe; attempt 2 > ..."""
    started = next(event for event in events if isinstance(event, TrialStarted))
    ended = next((event for event in events if isinstance(event, TrialEnded)), None)
    trial = started.trial
    return Span(
        name="trial",
        kind="CHAIN",
        start_s=0.0,
        end_s=max(event.at_s for event in events),
        inputs={"scenario": trial.scenario, "fixer": trial.fixer, "retriever": trial.retriever, "seed": trial.seed},
        outputs={"outcome": str(ended.verdict.outcome), "reason": ended.verdict.reason} if ended else None,
        failed=ended is None,
        children=(*_detections(events), *_attempts(events)),
    )


def _detections(events: Sequence[Event]) -> Iterator[Span]:
    """From the fault, or from the start where there is none, to the record of the incident."""
    since_s = next((event.at_s for event in events if isinstance(event, FaultInjected)), 0.0)
    for event in events:
        if isinstance(event, IncidentCreated):
            yield Span(
                name="incident",
                kind="TOOL",
                start_s=since_s,
                end_s=event.at_s,
                inputs={"signal": event.signal.kind, "detail": event.signal.detail},
                outputs={"error_code": event.incident.error_code, "symptoms": event.incident.symptoms},
            )


def _attempts(events: Sequence[Event]) -> Iterator[Span]:
    """What lies between two ends of attempts. One that was interrupted ends with the trial."""
    created = next((index for index, event in enumerate(events) if isinstance(event, IncidentCreated)), len(events))
    turn: list[Event] = []
    number, start_s = 1, 0.0
    for event in events[created:]:
        if isinstance(event, IncidentCreated | AttemptEnded):
            if isinstance(event, AttemptEnded):
                yield _attempt(event.attempt.number, turn, start_s, event.at_s, event.attempt)
                number = event.attempt.number + 1
            turn, start_s = [], event.at_s
        else:
            turn.append(event)
    if any(isinstance(event, IncidentAnalyzed) for event in turn):
        yield _attempt(number, turn, start_s, turn[-1].at_s, None)


def _attempt(number: int, turn: Sequence[Event], start_s: float, end_s: float, attempt: Attempt | None) -> Span:
    steps = list(_steps(turn, start_s))
    if attempt and attempt.deployment:
        live_s = steps[-1].end_s if steps else start_s
        steps.append(Span(name="observe", kind="TOOL", start_s=live_s, end_s=end_s, outputs=attempt.reason))
    return Span(
        name=f"attempt {number}",
        kind="CHAIN",
        start_s=start_s,
        end_s=end_s,
        outputs={"outcome": attempt.outcome, "reason": attempt.reason} if attempt else None,
        failed=attempt is None or attempt.outcome != "recovered",
        children=tuple(steps),
    )


def _steps(turn: Sequence[Event], start_s: float) -> Iterator[Span]:
    """Each step lasts from the end of the one before it; what passes between proposal and deployment is the guard."""
    for event in turn:
        if isinstance(event, Deployed):
            ordered_s = max(start_s, event.at_s - event.deployment.seconds)
            yield Span(name="guard", kind="GUARDRAIL", start_s=start_s, end_s=ordered_s, outputs="passed")
            start_s = ordered_s
        if step := _step(event, start_s):
            yield step
            start_s = step.end_s


def _step(event: Event, since_s: float) -> Span | None:
    match event:
        case IncidentAnalyzed():
            return Span(
                name="retrieve",
                kind="RETRIEVER",
                start_s=since_s,
                end_s=event.at_s,
                inputs={"query": event.query},
                outputs=[_document(passage) for passage in event.passages],
            )
        case FixProposed(fix=fix):
            return Span(
                name="propose",
                kind="LLM",
                start_s=since_s,
                end_s=event.at_s,
                inputs={"model": fix.model, **({"prompt": fix.prompt} if fix.prompt else {})},
                outputs={
                    "root_cause": fix.root_cause,
                    "remediation": fix.remediation,
                    "confidence": fix.confidence,
                    "edits": [asdict(edit) for edit in fix.edits],
                },
                tokens=(fix.cost.tokens_in, fix.cost.tokens_out),
            )
        case FixRefused():
            return Span(
                name="guard",
                kind="GUARDRAIL",
                start_s=since_s,
                end_s=event.at_s,
                outputs={"rule": event.rule, "reason": event.reason},
                failed=True,
            )
        case Deployed(deployment=live):
            return Span(
                name="deploy",
                kind="TOOL",
                start_s=since_s,
                end_s=event.at_s,
                inputs={"diff": live.diff},
                outputs={"commit": live.commit},
            )
        case _:
            return None


def _document(passage: Passage) -> dict[str, Any]:
    """As MLflow shows what a retriever found."""
    return {
        "id": passage.id,
        "page_content": passage.text,
        "metadata": {"title": passage.title, "score": passage.score},
    }
