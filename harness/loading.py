"""A scenario file with all that it names, found."""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harness.errors import InputError, ScenarioError
from harness.model.app import AppManifest
from harness.model.faults import DefectFault
from harness.model.globs import matches
from harness.model.scenario import Scenario
from harness.reading import read
from harness.yamlfile import Lines, Place, brief, dotted

_MAX_FILES, _MAX_FILE_BYTES = 1000, 10_000_000  # of what a scenario names
_SHOWN = 200  # characters of a name in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A scenario with the files that it names, all found. ``hash`` is a sha256 over these and the app's source."""

    spec: Scenario
    file: Path
    app: Path  # the app's folder
    manifest: AppManifest
    defect: Path | None
    reference: Path | None
    checks: tuple[Path, ...]
    cheats: Path | None  # a folder of patches that must lose
    kb: Path | None  # the knowledge base: the first folder of that name above the scenario
    hash: str

    def path(self, name: str) -> Path:
        """A file that the scenario names, relative to its own folder."""
        return self.file.parent / name


def load_scenario(file: Path) -> LoadedScenario:
    """Read one scenario file. ScenarioError on anything wrong in it; nothing is started."""
    spec, lines = read(file, Scenario)
    app = _find_app(spec.target.app, file, lines)
    manifest, _ = read(app / "app.yml", AppManifest)
    named: dict[Place, str | None] = {
        ("target", "defect"): spec.target.defect,
        ("reference",): spec.reference,
        ("load", "locustfile"): spec.load.locustfile,
    }
    for number, fault in enumerate(spec.method):
        if isinstance(fault, DefectFault):
            named["method", number, "patch"] = fault.patch
    paths = {key: _find(file, name, key, lines) for key, name in named.items() if name is not None}
    checks = [_find(file, name, ("checks", number), lines, folder=True) for number, name in enumerate(spec.checks)]
    cheats = _find(file, spec.cheats, ("cheats",), lines, folder=True) if spec.cheats else None
    _require_known_upstreams(spec, manifest, file, lines)
    return LoadedScenario(
        spec=spec,
        file=file,
        app=app,
        manifest=manifest,
        defect=paths.get(("target", "defect")),
        reference=paths.get(("reference",)),
        checks=tuple(checks),
        cheats=cheats,
        kb=next((folder / "kb" for folder in file.resolve().parents if _is_there(folder / "kb", folder=True)), None),
        hash=_hash([file, *paths.values(), *checks, *_source(app, manifest)], file),
    )


def scenario_files(names: tuple[Path, ...], folder: Path = Path("scenarios")) -> list[Path]:
    """The files named, or every scenario in ``folder``. InputError where there is none."""
    files = list(names) or sorted(folder.glob("*.yml"))
    if not files:
        raise InputError(f"no scenario in {folder}/", cure="name one: harness validate path/to/scenario.yml")
    return files


def _find(file: Path, name: str, key: Place, lines: Lines, *, folder: bool = False) -> Path:
    path = file.parent / name
    if _is_there(path, folder=folder):
        return path
    siblings = path.parent.glob("*") if _is_there(path.parent, folder=True) else ()
    others = [other.name for other in siblings if _is_there(other, folder=folder)]
    near = difflib.get_close_matches(path.name, others, n=1)
    cure = f"did you mean {near[0]}?" if near else f"paths are relative to {file.parent}/"
    what = f"no such {'folder' if folder else 'file'}: {brief(repr(name), _SHOWN)}"
    raise ScenarioError(what, file=file, line=lines.get(key), key=dotted(key), cure=cure)


def _is_there(path: Path, *, folder: bool = False) -> bool:
    """Whether it can be seen. A name that no file system takes, or a closed folder above, is no crash."""
    try:
        return path.is_dir() if folder else path.is_file()
    except (OSError, ValueError):
        return False


def _find_app(name: str, file: Path, lines: Lines) -> Path:
    for folder in file.resolve().parents:
        if _is_there(folder / name / "app.yml"):
            return folder / name
    raise ScenarioError(
        f"no app {brief(repr(name), _SHOWN)}: a folder of that name with an app.yml, beside the scenario or above",
        file=file,
        line=lines.get(("target", "app")),
        key="target.app",
        cure="name the folder that holds the app's app.yml",
    )


def _require_known_upstreams(spec: Scenario, manifest: AppManifest, file: Path, lines: Lines) -> None:
    known = [upstream.name for upstream in manifest.upstreams]
    for number, fault in enumerate(spec.method):
        if fault.action == "upstream" and fault.upstream not in known:
            key = ("method", number, "upstream")
            raise ScenarioError(
                f"the app has no upstream {brief(repr(fault.upstream), _SHOWN)}",
                file=file,
                line=lines.get(key),
                key=dotted(key),
                cure=f"its app.yml has: {', '.join(known) or 'none'}",
            )


def _source(app: Path, manifest: AppManifest) -> list[Path]:
    """What of the app decides how it behaves."""
    files = [path for path in sorted(app.rglob("*")) if path.is_file()]
    return [app / "app.yml", *(path for path in files if matches(manifest.source, path.relative_to(app).as_posix()))]


def _hash(paths: list[Path], scenario: Path) -> str:
    digest = hashlib.sha256()
    count = 0
    for path in paths:
        files = sorted(islice(path.rglob("*"), _MAX_FILES + 1)) if path.is_dir() else [path]
        count += len(files)
        for file in files if count <= _MAX_FILES else ():
            if _is_there(file) and file.parent.name != "__pycache__":
                name, content = os.fsencode(file.relative_to(path.parent)), _content(file, scenario)
                digest.update(b"%b\0%d\0" % (name, len(content)) + content)
    if count > _MAX_FILES:
        what = f"it names folders of more than {_MAX_FILES} files"
        raise ScenarioError(what, file=scenario, cure="keep checks in a small folder of their own")
    return digest.hexdigest()


def _content(file: Path, scenario: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        what = f"it names {file}, which cannot be read: {error.strerror}"
        raise ScenarioError(what, file=scenario, cure="make it readable") from None
    if len(content) > _MAX_FILE_BYTES:
        what = f"it names {file}, which is longer than {_MAX_FILE_BYTES} bytes"
        raise ScenarioError(what, file=scenario, cure="name a patch, or keep only what the checks need in their folder")
    return content
