"""A scenario file with all that it names, found."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError, ScenarioError
from harness.model.app import AppManifest
from harness.model.faults import DefectFault
from harness.model.scenario import Scenario
from harness.reading import read
from harness.yamlfile import Lines, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A scenario with the files that it names, all found. ``hash`` is a sha256 over every one of them."""

    spec: Scenario
    file: Path
    app: Path  # the app's folder
    manifest: AppManifest
    defect: Path | None
    reference: Path | None
    checks: tuple[Path, ...]
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
    _require_known_upstreams(spec, manifest, file, lines)
    return LoadedScenario(
        spec=spec,
        file=file,
        app=app,
        manifest=manifest,
        defect=paths.get(("target", "defect")),
        reference=paths.get(("reference",)),
        checks=tuple(checks),
        kb=next((folder / "kb" for folder in file.resolve().parents if (folder / "kb").is_dir()), None),
        hash=_hash([file, app / "app.yml", *paths.values(), *checks]),
    )


def scenario_files(names: tuple[Path, ...], folder: Path = Path("scenarios")) -> list[Path]:
    """The files named, or every scenario in ``folder``. InputError where there is none."""
    files = list(names) or sorted(folder.glob("*.yml"))
    if not files:
        raise InputError(f"no scenario in {folder}/", cure="name one: harness validate path/to/scenario.yml")
    return files


def _find(file: Path, name: str, key: Place, lines: Lines, *, folder: bool = False) -> Path:
    path = file.parent / name
    if path.is_dir() if folder else path.is_file():
        return path
    others = [other.name for other in path.parent.glob("*") if other.is_dir() == folder]
    near = difflib.get_close_matches(path.name, others, n=1)
    cure = f"did you mean {near[0]}?" if near else f"paths are relative to {file.parent}/"
    what = f"no such {'folder' if folder else 'file'}: {name!r}"
    raise ScenarioError(what, file=file, line=lines.get(key), key=".".join(map(str, key)), cure=cure)


def _find_app(name: str, file: Path, lines: Lines) -> Path:
    for folder in file.resolve().parents:
        if (folder / name / "app.yml").is_file():
            return folder / name
    raise ScenarioError(
        f"no app {name!r}: a folder of that name with an app.yml, beside the scenario or above",
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
                f"the app has no upstream {fault.upstream!r}",
                file=file,
                line=lines.get(key),
                key=".".join(map(str, key)),
                cure=f"its app.yml has: {', '.join(known) or 'none'}",
            )


def _hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and file.parent.name != "__pycache__":
                name, content = file.relative_to(path.parent).as_posix(), file.read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
