"""One trial, told by its journal: what users saw, what was done meanwhile, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.model.event import (
    Deployed,
    Event,
    FaultInjected,
    IncidentAnalyzed,
    IncidentCreated,
    RolledBack,
    TrialStarted,
)
from harness.model.incident import Passage
from harness.model.verdict import Outcome, Verdict
from harness.model.window import Window
from harness.reporting.drawing import short
from harness.reporting.exhibit import Diff, Exhibits, Table, Tone, Words, together
from harness.sinks.journal import read_events, read_verdict, read_windows

_TEXT = 300  # letters of what a fixer or a check says


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the folder of a trial holds. Times in seconds since it began."""

    started: TrialStarted
    events: tuple[Event, ...]
    windows: tuple[Window, ...]
    verdict: Verdict

    @property
    def injected_s(self) -> float | None:
        return next((event.injected_s for event in self.events if isinstance(event, FaultInjected)), None)

    @property
    def moments(self) -> list[tuple[str, float]]:
        """What is marked in a picture, in order."""
        found: list[tuple[str, float]] = [("fault", self.injected_s)] if self.injected_s is not None else []
        for event in self.events:
            match event:
                case IncidentCreated():
                    found.append(("detected", event.at_s))
                case Deployed():
                    found.append(("deployed", event.at_s))
                case RolledBack():
                    found.append(("rolled back", event.at_s))
        recovered = self.verdict.times.recover_s
        if recovered is not None and self.injected_s is not None:
            found.append(("recovered", self.injected_s + recovered))
        return sorted(found, key=lambda each: each[1])


def story(folder: Path | str) -> Story:
    """InputError where the folder holds no trial that has ended."""
    place = Path(folder)
    events, verdict = tuple(read_events(place)), read_verdict(place)
    started = next((event for event in events if isinstance(event, TrialStarted)), None)
    if verdict is None or started is None:
        cure = f"if its process is gone: harness resume {place}"
        raise InputError(f"the trial in {place} has not ended", cure=cure)
    return Story(started=started, events=events, windows=tuple(read_windows(place)), verdict=verdict)


def summary(told: Story) -> Exhibits:
    """How it ended and why; which trial it was; how long each step took."""
    verdict, trial, times = told.verdict, told.verdict.trial, told.verdict.times
    tone: Tone = "warning" if verdict.outcome is Outcome.INVALID else "finding"
    facts = [
        ("scenario", f"{told.started.title} ({trial.scenario}, {trial.scenario_hash[:12]})"),
        ("fixer", f"{trial.fixer} {trial.model}".strip()),
        ("retriever", " ".join((trial.retriever, trial.kb)).strip()),
        ("seed", str(trial.seed)),
        ("decided by", f"{verdict.rule}, judge {verdict.judge}"),
        ("confidence, stated before", _share(verdict.confidence)),
        ("error budget burned", f"{verdict.error_budget_burned:.1f} times"),
        ("fixer's time", f"{verdict.cost.seconds:.1f} s"),
        ("tokens in, out", f"{verdict.cost.tokens_in:,}, {verdict.cost.tokens_out:,}"),
        ("cost", "no price known" if verdict.cost.usd is None else f"${verdict.cost.usd:.4f}"),
        ("began", trial.started_at),
        ("harness", trial.commit),
    ]
    steps = [
        ("detected", times.detect_s),
        ("fix proposed", times.propose_s),
        ("fix deployed", times.deploy_s),
        ("first good window", times.recover_s),
        ("recovery confirmed", times.confirm_s),
        ("watched in vain for", times.censored_s),
    ]
    return together(
        [
            Words(text=f"{verdict.outcome}: {verdict.reason}", tone=tone),
            Table(title="The trial", head=("", ""), rows=facts),
            Table(
                title="Time from the fault",
                head=("step", "seconds"),
                rows=[(name, f"{seconds:.1f}") for name, seconds in steps if seconds is not None],
            ),
        ]
    )


def attempts(told: Story) -> Table:
    rows = [
        (
            str(each.number),
            each.outcome,
            each.rule or "-",
            _share(each.fix.confidence if each.fix else None),
            short(each.fix.root_cause if each.fix else "nothing usable was proposed", _TEXT),
            short(each.reason, _TEXT),
        )
        for each in told.verdict.attempts
    ]
    head = ("attempt", "outcome", "rule", "confidence", "root cause, as the fixer sees it", "why it ended so")
    return Table(title="What was tried", head=head, rows=rows or [("-", "", "", "", "nobody was asked", "")])


def passages(told: Story) -> Table:
    """What was looked up for the last attempt, nearest first."""
    analysed = [event for event in told.events if isinstance(event, IncidentAnalyzed)]
    found: Sequence[Passage] = analysed[-1].passages if analysed else ()
    rows = [
        (each.id, each.title, f"{each.score:.3g}", ", ".join(remedy.name for remedy in each.remedies) or "-")
        for each in found
    ]
    note = analysed[-1].failed if analysed else ""
    return Table(
        title="Past incidents that were found",
        head=("incident", "title", "score", "remedies"),
        rows=rows or [("none", "", "", "")],
        note=f"Nothing could be looked up: {note}" if note else "The score is the retriever's own, and no probability.",
    )


def diffs(told: Story) -> Exhibits:
    """What went live, attempt by attempt."""
    live = [each for each in told.verdict.attempts if each.deployment]
    return together(
        [Diff(title=f"Attempt {each.number}", text=each.deployment.diff) for each in live if each.deployment]
        or [Words(text="No fix went live.")]
    )


def checks(told: Story) -> Table:
    """Hidden checks, what failed first."""
    rows = [
        ("passed" if each.passed else "FAILED", each.name, short(each.evidence, _TEXT))
        for each in sorted(told.verdict.checks, key=lambda each: each.passed)
    ]
    head = ("", "check", "what was seen")
    return Table(title="Hidden checks", head=head, rows=rows or [("-", "none was run", "")])


def _share(value: float | None) -> str:
    return "none stated" if value is None else f"{value:.0%}"
