"""A fixer without a model: it does what the knowledge base recommends, by codemods, and abstains where none applies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.fixing.guard import may_edit
from harness.model.fix import Attempt, Edit, Fix, WriteFile
from harness.model.incident import Incident, Passage, Remedy
from harness.model.source import SourceTree

_STEP = re.compile(r"^(?:\d+\.|[-*]) +", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    passage: Passage
    remedies: tuple[Remedy, ...]
    edits: tuple[Edit, ...]


class PlaybookFixer:
    """Deterministic: the same incident, passages and tree give the same fix.

    The passages are walked best first. The first whose remedies change the tree gives the fix: its
    remedies are applied together, one after the other. A remedy that an earlier attempt applied
    without recovery, or that is known to have failed for the same error code, is left out.

    The confidence is a rule of thumb, stated before the outcome: 0.2, and 0.4 when the passage is about
    the incident's error code, and up to 0.3 for the share of passages with remedies that recommend
    the same; halved for each earlier attempt that did not recover.
    """

    name = "playbook"
    model = "playbook-1"

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        failed = [attempt for attempt in earlier if attempt.outcome != "recovered"]
        spent = {line.strip() for each in failed if each.fix for line in each.fix.remediation.splitlines()}
        spent |= {remedy.applied for each in passages if _failed_here(each, incident) for remedy in each.remedies}
        for passage in (each for each in passages if each.helped):
            untried = [remedy for remedy in passage.remedies if remedy.applied not in spent]
            applied = _apply(passage, untried, tree)
            if applied.edits:
                confidence = _confidence(incident, applied, passages, failures=len(failed))
                return _fix(applied, confidence)
        return Fix(root_cause=_why_none(passages, spent), model=self.model)


def _failed_here(passage: Passage, incident: Incident) -> bool:
    """Whether it tells what was tried in vain for the same error code."""
    return not passage.helped and incident.error_code in passage.text


def _apply(passage: Passage, remedies: Sequence[Remedy], tree: SourceTree) -> _Applied:
    """Those of the remedies that change something, and what they change in the end."""
    from harness.fixing.remedies import REMEDIES  # noqa: PLC0415 libcst takes 0.3 s to import

    files, changed, effective = dict(tree.files), set[str](), []
    for remedy in remedies:
        codemod = REMEDIES.get(remedy.name)
        edits = codemod(tree.with_files(files), remedy.parameters) if codemod else []
        edits = [edit for edit in edits if may_edit(tree, edit.path)]
        files.update((edit.path, edit.content) for edit in edits)
        changed.update(edit.path for edit in edits)
        if edits:
            effective.append(remedy)
    whole = tuple(WriteFile(path=path, content=files[path]) for path in sorted(changed))
    return _Applied(passage=passage, remedies=tuple(effective), edits=whole)


def _confidence(incident: Incident, applied: _Applied, passages: Sequence[Passage], *, failures: int) -> float:
    wanted = {remedy.name for remedy in applied.remedies}
    advising = [passage for passage in passages if passage.remedies]
    agreeing = [passage for passage in advising if wanted <= {remedy.name for remedy in passage.remedies}]
    same_code = 0.4 if incident.error_code in applied.passage.text else 0.0
    return round((0.2 + same_code + 0.3 * len(agreeing) / len(advising)) * 0.5**failures, 3)


def _fix(applied: _Applied, confidence: float) -> Fix:
    sections = applied.passage.sections
    lines = [remedy.applied for remedy in applied.remedies]
    remediation = "\n".join((*lines, f"As in {applied.passage.id}: {applied.passage.title}", ""))
    steps = _STEP.split(sections.get("Verification", ""))
    return Fix(
        root_cause=f"As in {applied.passage.id}: {sections.get('Root cause', applied.passage.title)}",
        edits=applied.edits,
        remediation=f"{remediation}\n{sections.get('Remediation', '')}".strip(),
        verification=tuple(" ".join(step.split()) for step in steps if step.strip()),
        confidence=confidence,
        model=PlaybookFixer.model,
    )


def _why_none(passages: Sequence[Passage], spent: set[str]) -> str:
    named = [remedy for passage in passages for remedy in passage.remedies]
    if not passages:
        return "No past incident resembles this one, so the playbook has nothing to go by."
    if not named:
        return f"None of the {len(passages)} past incidents found has an automatic remedy."
    tried = sorted({remedy.name for remedy in named if remedy.applied in spent})
    untried = sorted({remedy.name for remedy in named if remedy.applied not in spent})
    reasons = [f"{', '.join(untried)}: nothing in the code matches"] if untried else []
    reasons += [f"{', '.join(tried)}: tried before without recovery"] if tried else []
    return f"No remedy is left to apply ({'; '.join(reasons)})."
