"""What a sweep is, in its folder: written once, and held against what is asked of it later."""

from __future__ import annotations

import fcntl
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.errors import InputError
from harness.experiment.results import FILE
from harness.identity import utc_now
from harness.loading import LoadedScenario, load_scenario
from harness.model.experiment import Experiment, SweepBudget
from harness.sinks.journal import EVENTS, write_atomically
from harness.trial.judge import JUDGE

PLAN = "sweep.json"  # in the sweep's folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``files`` and ``hashes`` by scenario's name; ``token`` is in the ids of the trials."""

    experiment: Experiment
    files: Mapping[str, str]
    hashes: Mapping[str, str]
    judge: str
    token: str
    created_at: str


_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A sweep that nobody else works on."""

    folder: Path
    manifest: Manifest
    scenarios: Mapping[str, LoadedScenario]  # by name

    @property
    def mark(self) -> Path:
        """A file that tells a machine whether this folder is on it."""
        return self.folder / f".{self.manifest.token}"


@contextmanager
def begun(experiment: Experiment, base: Path, folder: Path) -> Iterator[Opened]:
    """A new sweep in the folder, or the one that is there. ``base``: where files count from.

    That one may be given another budget, more retries, or other repeats; one of which no trial has begun may become any
    other. InputError where it is another sweep, or somebody works on it.
    """
    loaded = _loaded({name: str(base / name) for name in experiment.scenarios})
    hashes = {name: each.hash for name, each in loaded.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not (folder / PLAN).exists() or not _has_trials(folder):
            manifest = Manifest(
                experiment=experiment,
                files={name: str(each.file) for name, each in loaded.items()},
                hashes=hashes,
                judge=JUDGE,
                token=secrets.token_hex(3),
                created_at=utc_now(),
            )
            _write(folder, manifest)
        manifest = manifest_of(folder)
        if _core(manifest.experiment) != _core(experiment):
            raise InputError(f"{folder} holds another sweep", cure="give this one a name of its own: --name")
        _require_same(manifest, hashes, folder)
        if manifest.experiment != experiment:
            manifest = replace(manifest, experiment=experiment)
            _write(folder, manifest)
        (folder / f".{manifest.token}").touch()
        yield Opened(folder=folder, manifest=manifest, scenarios=loaded)


@contextmanager
def opened(folder: Path) -> Iterator[Opened]:
    """The one in the folder. InputError where there is none, where a scenario has changed, or somebody works on it."""
    manifest = manifest_of(folder)
    loaded = _loaded(manifest.files)
    with _alone(folder):
        _require_same(manifest, {name: each.hash for name, each in loaded.items()}, folder)
        yield Opened(folder=folder, manifest=manifest, scenarios=loaded)


def _has_trials(folder: Path) -> bool:
    """Whether any has begun; the rows may be all that was kept of them."""
    begun = (trial for pattern in (f"*/{EVENTS}", f"lane-*/*/{EVENTS}") for trial in folder.glob(pattern))
    return (folder / FILE).exists() or any(True for _ in begun)


def _core(experiment: Experiment) -> Experiment:
    """What makes it this sweep and no other: its scenarios, arms and seed."""
    return experiment.model_copy(update={"budget": SweepBudget(), "retries": 0, "repeats": 1})


def _write(folder: Path, manifest: Manifest) -> None:
    write_atomically(folder / PLAN, json.dumps(_MANIFEST.dump_python(manifest, mode="json"), indent=2).encode())


def _loaded(files: Mapping[str, str]) -> dict[str, LoadedScenario]:
    """By the scenarios' own names. InputError where two have one name."""
    found: dict[str, LoadedScenario] = {}
    for file in files.values():
        loaded = load_scenario(Path(file))
        if other := found.get(loaded.spec.metadata.name):
            what = f"{file} and {other.file} are both called {loaded.spec.metadata.name}"
            raise InputError(what, cure="name each of them once")
        found[loaded.spec.metadata.name] = loaded
    return found


def manifest_of(folder: Path) -> Manifest:
    """InputError where there is none."""
    try:
        return _MANIFEST.validate_json((folder / PLAN).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder} holds no sweep", cure="begin one: harness sweep SCENARIO... --fixer ...") from None
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InputError(f"{folder / PLAN} cannot be read: {why}", cure="begin another sweep") from None


def _require_same(manifest: Manifest, hashes: Mapping[str, str], folder: Path) -> None:
    cure = "what differs cannot be compared: begin another sweep"
    if changed := [name for name, known in manifest.hashes.items() if hashes.get(name) != known]:
        raise InputError(f"{changed[0]} has changed since the sweep in {folder} began", cure=cure)
    if manifest.judge != JUDGE:
        raise InputError(f"the sweep in {folder} is judged by judge {manifest.judge}, and this is {JUDGE}", cure=cure)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".sweep.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"somebody is at work on the sweep in {folder}", cure="wait, or end that one") from None
        yield
