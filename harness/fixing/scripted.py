"""Fixers that need no model: do nothing, restart, patches known to be good or bad, and a script for dry runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import ProposalFailed
from harness.fixing.guard import may_edit
from harness.git import GitFailed, patched
from harness.model.fix import Attempt, DeleteFile, Edit, Fix, WriteFile
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree


class NoopFixer:
    """Changes nothing. A scenario that this one heals measures nothing."""

    name = "noop"
    model = ""

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        return Fix(root_cause="not looked for: the no-op fixer always abstains")


class RestartFixer:
    """Deploys what runs already: what people on call do first. A scenario that this one heals has a fault that passes.

    A constant that nobody reads is added to one file, or the review would refuse to deploy it at all. Deterministic.
    """

    name = "restart"
    model = ""

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        modules = sorted(path for path in tree.files if _of_package(path) and may_edit(tree, path))
        if not modules:
            raise ProposalFailed("no module of a package may be edited", cure="Let the app's editable: name one.")
        content = f"{tree.files[modules[0]].rstrip()}\n\nRESTARTED = {len(earlier) + 1}\n"
        return Fix(
            root_cause="not looked for: the restart fixer changes nothing that matters",
            edits=(WriteFile(path=modules[0], content=content.lstrip()),),
            remediation="restart the app",
        )


class PatchFixer:
    """Proposes a unified diff, whatever the incident. What stands before the first ``diff --git`` is for people.

    Deterministic. Raises ProposalFailed when the patch cannot be read or does not apply to the tree, and
    ServiceUnavailable when git is missing.
    """

    model = ""

    def __init__(self, name: str, patch: Path, *, root_cause: str) -> None:
        self.name = name
        self._patch, self._root_cause = patch, root_cause

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        try:
            after = patched(tree, self._patch.read_bytes().decode()).files
        except OSError as error:
            cure = "Put the patch there, or name another one."
            raise ProposalFailed(f"{self._patch}: {error.strerror}", cure=cure) from error
        except (GitFailed, UnicodeDecodeError) as error:
            cure = "Make the patch again, of plain text files, against the code that runs now."
            raise ProposalFailed(f"{self._patch.name} does not apply: {error}", cure=cure) from error
        return Fix(
            root_cause=self._root_cause,
            edits=tuple(_edits(tree.files, after)),
            remediation=f"apply {self._patch.name}",
        )


class ReferenceFixer(PatchFixer):
    """Proposes a patch that is known to heal: what a perfect fixer would do."""

    def __init__(self, patch: Path) -> None:
        super().__init__("reference", patch, root_cause="known beforehand: this is the reference fix")


class ScriptedFixer:
    """Returns the given fixes in turn, then fails: for dry runs and tests."""

    name = "scripted"
    model = ""

    def __init__(self, fixes: Iterable[Fix]) -> None:
        self._fixes = iter(tuple(fixes))

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        try:
            return next(self._fixes)
        except StopIteration:
            raise ProposalFailed("the script has no further fix", cure="Script one fix an attempt.") from None


def _of_package(path: str) -> bool:
    return "/" in path and path.endswith(".py")


def _edits(before: Mapping[str, str], after: Mapping[str, str]) -> list[Edit]:
    gone: list[Edit] = [DeleteFile(path=path) for path in sorted(before.keys() - after.keys())]
    changed = [path for path, content in sorted(after.items()) if before.get(path) != content]
    return gone + [WriteFile(path=path, content=after[path]) for path in changed]
