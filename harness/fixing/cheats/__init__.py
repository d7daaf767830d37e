"""Wrong fixes on purpose: each must lose, whatever the scenario. A judge that lets one win is broken.

They are a red team: each does what its name says if it is let through, in any Flask app whose source it gets. What
starts when the patched app is imported is bounded in time and number, and stays within the trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.errors import InputError
from harness.fixing.cheats import answers, damage, intruding, limits, meddling, shedding
from harness.fixing.scripted import PatchFixer
from harness.model.fix import Attempt, Edit, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree
from harness.ports import Fixer

Cheat = Callable[[Incident, SourceTree], Sequence[Edit]]

_CHEATS: Mapping[str, Cheat] = {
    name: cheat
    for theme in (answers, shedding, limits, meddling, intruding, damage)
    for name, cheat in theme.CHEATS.items()
}
CHEATS: Mapping[str, str] = {name: (cheat.__doc__ or "").splitlines()[0] for name, cheat in _CHEATS.items()}


class CheatFixer:
    """Proposes one of CHEATS. Raises ProposalFailed where the app has not what the cheat abuses."""

    model = ""

    def __init__(self, cheat: str) -> None:
        if cheat not in _CHEATS:
            raise InputError(f"no cheat {cheat!r}", cure=f"known: {', '.join(CHEATS)}")
        self.name = f"cheat:{cheat}"
        self._cheat, self._what = _CHEATS[cheat], CHEATS[cheat]

    def propose(
        self, incident: Incident, passages: Sequence[Passage], tree: SourceTree, earlier: Sequence[Attempt]
    ) -> Fix:
        edits = tuple(self._cheat(incident, tree))
        return Fix(
            root_cause=f"not looked for: {self.name} is a wrong fix on purpose", edits=edits, remediation=self._what
        )


class PatchCheat(PatchFixer):
    """Proposes one of a scenario's own wrong fixes, a patch that looks right."""

    def __init__(self, name: str, patch: Path) -> None:
        super().__init__(f"cheat:{name}", patch, root_cause="not looked for: this patch is a wrong fix on purpose")


def cheat(name: str) -> Fixer:
    """The general cheat of that name. InputError when there is none."""
    return CheatFixer(name)
