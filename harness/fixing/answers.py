"""Where the answer to a scenario stands on this machine, for hiding it from a program that looks around."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from harness.errors import ServiceUnavailable
from harness.git import GitFailed, git
from harness.loading import LoadedScenario
from harness.model.faults import DefectFault
from harness.model.globs import matches

_TOLD: Final = (".git", "docs", "tests", "results")  # of a checkout: each tells of the scenarios, or of their trials
_TREE: Final = "worktree "  # before each one's path, in git's list of them


def answers(loaded: LoadedScenario, *others: Path) -> list[Path]:
    """Folders and files, there or not yet: the scenarios, the app as it was, past incidents, the checkout's history.

    The same of the repository's other worktrees, and the ``others``, such as the results. A folder that holds the home
    or a whole checkout is never among them: of scenarios in such a folder each is, and of an app its source.
    """
    folder, app = loaded.file.resolve().parent, loaded.app.resolve()
    common, trees = _checkouts(folder)
    wide = {above for path in (Path.home().resolve(), *trees) for above in (path, *path.parents)}
    kb = [loaded.kb.resolve()] if loaded.kb else []
    whole = [path for path in (folder, app, *kb) if path not in wide]
    inner = [str(path.relative_to(tree)) for path in whole for tree in trees[:1] if path.is_relative_to(tree)]
    found = [
        *whole,
        *(tree / name for tree in trees for name in (*_TOLD, *inner)),
        *common,
        *_named(loaded),
        *(_scenarios(folder) if folder in wide else ()),
        *(_source(loaded, app) if app in wide else ()),
        *others,
    ]
    return [path for path in dict.fromkeys(path.resolve() for path in found) if path not in wide]


def _checkouts(folder: Path) -> tuple[list[Path], list[Path]]:
    """Git's common folder, and all worktrees of the repository, the one of ``folder`` first; none outside of one."""

    def lines(*words: str) -> list[str]:
        return git(folder, "-c", "safe.directory=*", *words).splitlines()  # it may be another user's; nothing is run

    with contextlib.suppress(GitFailed, ServiceUnavailable):
        top, inner = lines("rev-parse", "--show-toplevel", "--git-common-dir")
        common = (folder / inner).resolve()
        listed = [line.removeprefix(_TREE) for line in lines("worktree", "list", "--porcelain") if _TREE in line[:9]]
        trees = dict.fromkeys(Path(path).resolve() for path in (top, *listed))
        return [common], [tree for tree in trees if tree != common]  # of a bare one, it is listed, too
    return [], []


def _named(loaded: LoadedScenario) -> Iterator[Path]:
    """What the scenario names, which may lie anywhere."""
    yield from (path for path in (loaded.file, loaded.defect, loaded.reference, loaded.cheats, *loaded.checks) if path)
    yield from (loaded.path(fault.patch) for fault in loaded.spec.method if isinstance(fault, DefectFault))


def _scenarios(folder: Path) -> Iterable[Path]:
    return (path for file in folder.glob("*.yml") for path in (file, file.with_suffix("")))


def _source(loaded: LoadedScenario, app: Path) -> Iterable[Path]:
    """The entries of the app's folder that hold code of it."""
    paths = (path.relative_to(app) for path in app.rglob("*") if path.is_file())
    return {app / path.parts[0] for path in paths if matches(loaded.manifest.source, path.as_posix())}
