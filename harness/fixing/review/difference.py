"""What a change adds and takes away. What the app's code was like before is not held against a fix."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from harness.fixing.review.module import Module, source
from harness.model.fix import Severity
from harness.model.source import SourceTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    rule: str
    severity: Severity
    path: str
    line: int
    message: str
    evidence: str  # the same before and after means: the same thing, wherever in the file it stands now


Detector = Callable[[Module], Iterable[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The trees, and the Python files that differ, parsed; new ones only in ``after``, deleted ones in ``before``."""

    old: SourceTree
    new: SourceTree
    before: Mapping[str, Module]
    after: Mapping[str, Module]
    paths: tuple[str, ...]  # of every file that differs, of any kind

    def added(self, detect: Detector) -> Iterator[Finding]:
        """What ``detect`` finds in a file more often than before."""
        for path, module in self.after.items():
            findings = sorted(detect(module), key=lambda each: each.line)
            earlier = detect(self.before[path]) if findings and path in self.before else ()
            known = Counter(_identity(each) for each in earlier)
            for finding in findings:
                if known[_identity(finding)] > 0:
                    known[_identity(finding)] -= 1
                else:
                    yield finding

    def removed(self, detect: Detector) -> Iterator[Finding]:
        """What ``detect`` found in the files before, and finds in none of them now, or fewer times."""
        left = Counter(each.evidence for module in self.after.values() for each in detect(module))
        for module in self.before.values():
            for finding in detect(module):
                if left[finding.evidence] > 0:
                    left[finding.evidence] -= 1
                else:
                    yield finding


def found(
    rule: str, severity: Severity, module: Module, node: ast.AST, message: str, evidence: str | None = None
) -> Finding:
    """At the node; the evidence is the node's source and the function that it stands in, unless given."""
    told = f"{module.scope(node)}: {source(node)}" if evidence is None else evidence
    line: int = getattr(node, "lineno", 0)
    return Finding(rule=rule, severity=severity, path=module.path, line=line, message=message, evidence=told)


def gone(
    rule: str, severity: Severity, module: Module, node: ast.AST, message: str, evidence: str | None = None
) -> Finding:
    """Of the code before: no line of the patched file is to be pointed to."""
    return replace(found(rule, severity, module, node, message, evidence), line=0)


def _identity(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, finding.severity, finding.evidence
