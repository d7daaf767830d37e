"""What of the machine's files an app gets to see: the system's programs, our interpreter, and nothing that tells."""

from __future__ import annotations

import site
import sys
import sysconfig
from pathlib import Path

SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"]
_ETC = ["alternatives", "group", "gai.conf", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"]
_ETC += ["localtime", "mime.types", "nsswitch.conf", "passwd", "protocols", "services", "ssl", "timezone"]
CONFIGURATION = [f"/etc/{name}" for name in _ETC]
_PACKAGE = Path(__file__).resolve().parents[1]


def python_folders() -> list[Path]:
    """Where our interpreter and its packages are, by the names that they have, and by those that links lead to."""
    named = {sys.prefix, sys.base_prefix, *site.getsitepackages(), *sysconfig.get_paths().values()}
    named.add(str(Path(sys.executable).resolve().parent.parent))
    named |= {name for name in sys.path if name.endswith("-packages")}  # a user's own, and what a .pth file adds
    found = {path for name in named for path in (Path(name), Path(name).resolve()) if path.is_dir()}
    return sorted(path for path in found if not any(parent in found for parent in path.parents))


def visible() -> list[Path]:
    """All that an app sees beside its own folders."""
    return [*(Path(name) for name in (*SYSTEM, *CONFIGURATION) if Path(name).exists()), *python_folders()]


def hidden() -> list[Path]:
    """Folders within the visible ones that must not be seen: our own code with its answers, and a home."""
    checkout = _PACKAGE.parent
    ours = [_PACKAGE, checkout / "mock_api"] if _is_packages(checkout) else [checkout]
    seen = visible()
    return [path for path in (*ours, Path.home()) if path.is_dir() and any(parent in seen for parent in path.parents)]


def _is_packages(folder: Path) -> bool:
    """Whether other packages lie there too: we were installed, and are no checkout."""
    return any(Path(name).resolve() == folder for name in sysconfig.get_paths().values())
