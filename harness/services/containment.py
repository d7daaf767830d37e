"""By which means an app whose code nobody trusts is kept apart from the machine, as far as this machine has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from harness.errors import InputError
from harness.services import firewall, users
from harness.services.launch import NETWORK_ABI, can_filter, landlock_abi
from harness.services.unprivileged import NOBODY, can_reach
from harness.services.view import hidden, python_folders

Isolation = Literal["auto", "strict", "none"]
_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Something that the app is kept from. ``how`` is empty where nothing keeps it; then ``cure`` says what would."""

    name: str
    how: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """The means that are used, from the first to the last independent of each other."""

    user: bool = False  # a user of its own
    bwrap: str = ""  # the program; empty: none
    landlock: int = 0  # what the kernel offers; 0: nothing
    nft: bool = False  # loopback only, by user
    elsewhere: bool = False  # a service is not on this machine: connections cannot be held to it
    strict: bool = False  # nothing less will do
    active: bool = False  # False: nothing but the environment is held back
    containers: bool = False  # instead of all this: a compose file says how

    @property
    def text(self) -> str:
        """Such as "user+bwrap+landlock+nft"; "containers"; "none"."""
        means = {"user": self.user, "bwrap": self.bwrap, "landlock": self.landlock, "nft": self.nft}
        least = "containers" if self.containers else "limits" if self.active else "none"
        return "+".join(name for name, used in means.items() if used) or least

    @property
    def ports_only(self) -> bool:
        """Whether connections can be held to a list of TCP ports."""
        return self.landlock >= NETWORK_ABI and can_filter() and not self.elsewhere

    def layers(self) -> list[Layer]:
        """What the app is kept from, and how, for people to read."""
        root = os.geteuid() == 0
        bubblewrap = "apt-get install bubblewrap" + ("" if root else ", and allow user namespaces")
        kernel = "run as root, and apt-get install nftables; or use Linux 6.7 or later"
        kernel = "use services of this machine, not those of DATABASE_URL or REDIS_URL" if self.elsewhere else kernel
        user = "a user of its own" if self.user else "a user namespace" if self.bwrap and not root else ""
        bounded = "processes, open files, sizes of files" if self.active and (self.user or not root) else ""
        files = "bubblewrap" if self.bwrap else "Landlock" if self.landlock and not hidden() else ""
        processes = "a pid namespace" if self.bwrap else "all that runs as its user ends" if self.user else ""
        ports = "TCP, and to the ports of its services (Landlock, seccomp)" if self.ports_only else ""
        return [
            Layer(name="environment", how="an allow-list", cure=""),
            Layer(name="user", how=user, cure=bubblewrap),
            Layer(name="limits", how=bounded, cure=bubblewrap),
            Layer(name="files", how=files, cure=bubblewrap),
            Layer(name="processes", how=processes, cure=bubblewrap),
            Layer(name="network", how="loopback (nftables)" if self.nft else ports, cure=kernel),
        ]


def contained(isolation: Isolation = "auto", *, services: Iterable[str | None] = ()) -> Containment:
    """What this machine has; nothing where the isolation is "none". InputError where "strict" finds a layer missing.

    ``services`` are the URLs of those that were not started by us: the app has to reach them, wherever they are.
    """
    if isolation == "none":
        return Containment()
    bwrap = _bubblewrap()
    user = os.geteuid() == 0 and users.available() and (bool(bwrap) or _reachable(NOBODY))
    elsewhere = not all(on_this_machine(url) for url in services if url)
    found = Containment(
        user=user,
        bwrap=bwrap,
        landlock=landlock_abi(),
        nft=user and not elsewhere and firewall.works(),
        elsewhere=elsewhere,
        strict=isolation == "strict",
        active=True,
    )
    missing = [layer for layer in found.layers() if not layer.how]
    if isolation == "strict" and missing:
        names = ", ".join(layer.name for layer in missing)
        raise InputError(
            f"--isolation strict: on this machine the app is not kept apart by: {names}",
            cure="; ".join(dict.fromkeys(layer.cure for layer in missing)) + "; harness doctor shows the rest",
        )
    return found


def on_this_machine(url: str) -> bool:
    """Whether it is reached by the loopback interface."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _bubblewrap() -> str:
    """The program, where it works: some machines forbid user namespaces, some containers all mounts."""
    program = shutil.which("bwrap")
    if program is None:
        return ""
    command = [
        program,
        "--unshare-pid",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "/bin/sh",
        "-c",
        ":",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return program if done.returncode == 0 else ""


def _reachable(uid: int) -> bool:
    """Whether such a user can run our interpreter where it is."""
    return all(can_reach(path / "x", uid) for path in python_folders()) and can_reach(Path(sys.executable), uid)
