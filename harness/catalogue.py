"""Fixers and retrievers by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.fixing.cheats import CHEATS, PatchCheat, cheat
from harness.fixing.gemini import GeminiFixer
from harness.fixing.playbook import PlaybookFixer
from harness.fixing.scripted import NoopFixer, ReferenceFixer
from harness.loading import LoadedScenario
from harness.ports import Fixer, Retriever
from harness.retrieval.base import KnowledgeBase
from harness.retrieval.lexical import LexicalRetriever
from harness.retrieval.memory import NoRetriever
from harness.settings import Settings

FIXERS = ("gemini", "playbook", "reference", "noop")
CHEAT = "cheat:"  # before the name of a wrong fix
RETRIEVERS = ("lexical", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A fixer, and why it is this one, for the console."""

    fixer: Fixer
    reason: str


def choose_fixer(name: str | None, loaded: LoadedScenario, settings: Settings) -> Chosen:
    """The fixer of that name, or the default. InputError when there is none, or when it lacks what it needs."""
    if name is None:
        key = settings.has_gemini_key
        default = "gemini" if key else "playbook"
        why = "default: an API key for Gemini is set" if key else "offline default: GEMINI_API_KEY is not set"
        return Chosen(fixer=choose_fixer(default, loaded, settings).fixer, reason=why)
    if name.startswith(CHEAT):
        return Chosen(fixer=_cheat(name.removeprefix(CHEAT), loaded), reason="chosen by --fixer: it must lose")
    if ":" in name:
        return Chosen(fixer=_imported(name), reason="chosen by --fixer")
    makers: dict[str, Callable[[], Fixer]] = {
        "gemini": lambda: GeminiFixer(budget_s=0.95 * loaded.spec.budget.fixer_s),
        "playbook": PlaybookFixer,
        "reference": lambda: _reference(loaded),
        "noop": NoopFixer,
    }
    if name not in makers:
        known = ", ".join((*FIXERS, f"{CHEAT}NAME"))
        raise InputError(f"no fixer {name!r}", cure=f"known: {known}, or your own as mypkg.mymod:MyFixer")
    return Chosen(fixer=makers[name](), reason="chosen by --fixer")


def choose_retriever(name: str, base: KnowledgeBase | None) -> Retriever:
    """The retriever of that name over a knowledge base. InputError when there is none."""
    if name not in RETRIEVERS:
        raise InputError(f"no retriever {name!r}", cure=f"known: {', '.join(RETRIEVERS)}")
    if name == "none":
        return NoRetriever()
    if base is None:
        raise InputError("no knowledge base: no folder kb/ above the scenario", cure="make one, or --retriever none")
    return LexicalRetriever(base.documents, learned=base.learned)


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


def _reference(loaded: LoadedScenario) -> Fixer:
    """The ceiling. Where nothing is to be mended, to do nothing is the best that there is."""
    if loaded.spec.metadata.control:
        return NoopFixer()
    if loaded.reference is None:
        raise InputError(f"{loaded.file} has no reference patch", cure="add reference: NAME/reference.patch to it")
    return ReferenceFixer(loaded.reference)


def _imported(name: str) -> Fixer:
    """``mypkg.mymod:MyFixer``, called without arguments."""
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.append("")  # the installed command does not look into the working directory by itself
    try:
        made: Fixer = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # anybody's code: whatever it raises, the user is told, and nothing has started
        cure = "give module:Class, importable from here, that takes no arguments"
        raise InputError(f"the fixer {name!r} cannot be had: {type(error).__name__}: {error}", cure=cure) from error
    if not callable(getattr(made, "propose", None)):
        raise InputError(f"{name!r} is no fixer: it has no propose()", cure="see harness.ports.Fixer")
    return made
