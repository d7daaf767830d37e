"""Fixers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.fixing.answers import answers
from harness.fixing.cheats import CHEATS, PatchCheat, cheat
from harness.fixing.command import CommandFixer
from harness.fixing.exchanges import Exchanges
from harness.fixing.gemini import GeminiFixer
from harness.fixing.lambda_fixer import LambdaFixer
from harness.fixing.openai import OpenAIFixer
from harness.fixing.playbook import PlaybookFixer
from harness.fixing.scripted import NoopFixer, ReferenceFixer, RestartFixer
from harness.loading import LoadedScenario
from harness.plugins import made
from harness.ports import Fixer
from harness.services.containment import contained
from harness.settings import Settings
from harness.trial.proposal import SHARE as _SHARE

FIXERS = ("gemini", "gemini-tools", "openai", "lambda", "playbook", "reference", "restart", "noop")
RECORDED = ("gemini", "gemini-tools", "openai")  # whose exchanges are kept, and answer again
CHEAT = "cheat:"  # before the name of a wrong fix
COMMAND = "command:"  # before the words of a command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The trial's folder among the results. ``replay``: the folder of an earlier one, whose exchanges answer again."""

    results: Path
    folder: Path
    record: bool = True
    replay: Path | None = None

    def exchanges(self) -> Exchanges | None:
        if self.replay:
            return _recording(self.replay)
        return Exchanges.recording(self.folder / "exchanges") if self.record else None


def default_fixer(settings: Settings, replay: Path | None = None) -> tuple[str, str]:
    """Its name, and why it is this one. InputError where recordings of several are to be replayed, or none is there."""
    if replay:
        names = sorted(_recording(replay).fixers)
        if len(names) > 1:
            raise InputError(
                f"exchanges of {', '.join(names)} are recorded in {replay}", cure="choose one with --fixer"
            )
        return names[0], f"its exchanges are recorded in {replay}"
    if settings.has_gemini_key:
        return "gemini", "default: an API key for Gemini is set"
    return "playbook", "offline default: GEMINI_API_KEY is not set"


def choose_fixer(name: str, loaded: LoadedScenario, place: Place | None = None) -> Fixer:
    """The fixer of that name. InputError when there is none, or when it lacks what it needs. Nothing is started."""
    if place and place.replay:
        _require_recorded(name, place.replay)
    if name.startswith(CHEAT):
        return _cheat(name.removeprefix(CHEAT), loaded)
    if name.startswith(COMMAND):
        return _command(name.removeprefix(COMMAND), loaded, place)
    if ":" in name:
        fixer: Fixer = made(name, "fixer", "propose")
        return fixer
    budget, exchanges = loaded.spec.budget, place.exchanges() if place else None
    time_s = _SHARE * budget.fixer_s
    makers: dict[str, Callable[[], Fixer]] = {
        "gemini": lambda: GeminiFixer(budget_s=time_s, exchanges=exchanges),
        "gemini-tools": lambda: GeminiFixer(tools=True, max_usd=budget.fixer_usd, budget_s=time_s, exchanges=exchanges),
        "openai": lambda: OpenAIFixer(budget_s=time_s, exchanges=exchanges),
        "lambda": lambda: LambdaFixer(budget_s=time_s),
        "playbook": PlaybookFixer,
        "reference": lambda: _reference(loaded),
        "restart": RestartFixer,
        "noop": NoopFixer,
    }
    if name not in makers:
        known = ", ".join((*FIXERS, f"{CHEAT}NAME", f"'{COMMAND} ./my-agent'"))
        raise InputError(f"no fixer {name!r}", cure=f"known: {known}, or your own as mypkg.mymod:MyFixer")
    return makers[name]()


def _recording(replay: Path) -> Exchanges:
    """The exchanges in a trial's folder, or in a folder of their own. InputError where there are none."""
    inner = replay / "exchanges"
    return Exchanges.replaying(inner if inner.is_dir() else replay)


def _require_recorded(name: str, replay: Path) -> None:
    """InputError unless the fixer can answer from this recording."""
    if name not in RECORDED:
        cure = f"leave --replay out, or --fixer; these can: {', '.join(RECORDED)}"
        raise InputError(f"the fixer {name!r} cannot be replayed", cure=cure)
    if name not in (known := _recording(replay).fixers):
        what = f"no exchange of {name} is recorded in {replay}"
        raise InputError(what, cure=f"choose whose are: --fixer {' or '.join(sorted(known))}")


def cheats(loaded: LoadedScenario) -> tuple[str, ...]:
    """The names of all wrong fixes for a scenario: its own, then the general ones."""
    own = own_cheats(loaded)
    return (*own, *(name for name in CHEATS if name not in own))


def own_cheats(loaded: LoadedScenario) -> dict[str, Path]:
    """The scenario's own wrong fixes: patches by name."""
    patches = loaded.cheats.glob("*.patch") if loaded.cheats else ()
    return {patch.stem: patch for patch in sorted(patches)}


def _cheat(name: str, loaded: LoadedScenario) -> Fixer:
    """The scenario's own of that name, else a general one. InputError when there is neither."""
    own = own_cheats(loaded)
    return PatchCheat(name, own[name]) if name in own else cheat(name)


def _command(words: str, loaded: LoadedScenario, place: Place | None) -> Fixer:
    """What tells the answer is hidden from it where bubblewrap works."""
    return CommandFixer(
        words.strip(),
        budget_s=_SHARE * loaded.spec.budget.fixer_s,
        logs=place.folder / "logs" if place else None,
        hidden=answers(loaded, *([place.results, place.folder] if place else [])),
        bwrap=contained("auto").bwrap,
    )


def _reference(loaded: LoadedScenario) -> Fixer:
    """The ceiling. Where nothing is to be mended, to do nothing is the best that there is."""
    if loaded.spec.metadata.control:
        return NoopFixer()
    if loaded.reference is None:
        raise InputError(f"{loaded.file} has no reference patch", cure="add reference: NAME/reference.patch to it")
    return ReferenceFixer(loaded.reference)
