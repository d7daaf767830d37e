"""Images of the app's code, pushed to ECR. Nothing of the code runs while they are made."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.aws.errors import explained
from harness.errors import InputError, ServiceUnavailable

FOLDER = "/release"
_BUILD_S = 600.0
_PASSED = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")


class Images:
    """Needs Docker's engine. ``client`` is boto3's of ECR, which says who may push."""

    def __init__(self, client: Any, repository: str) -> None:  # noqa: ANN401 - boto3 publishes no types
        """InputError where Docker is missing."""
        if shutil.which("docker") is None:
            raise InputError("--target ecs needs Docker, to build images", cure="install Docker's engine")
        self._ecr, self._repository = client, repository

    def push(self, base: str, folder: Path, tag: str) -> str:
        """The image ``base`` with the folder's files in FOLDER, where it now starts; its name. ServiceUnavailable."""
        image = f"{self._repository}:{tag}"
        with self._signed_in() as env:
            self._docker(["build", "--quiet", "--tag", image, "-"], env, stdin=_context(base, folder))
            self._docker(["push", image], env)
        return image

    @contextmanager
    def _signed_in(self) -> Iterator[dict[str, str]]:
        """An environment for Docker, for which no password is on a command line or stays on disk."""
        with explained("ECR, get_authorization_token"):
            token = self._ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        with tempfile.TemporaryDirectory(prefix="docker-") as config:
            registry = self._repository.partition("/")[0]
            text = json.dumps({"auths": {registry: {"auth": token}}})
            Path(config, "config.json").write_text(text, encoding="ascii")
            yield {key: os.environ[key] for key in _PASSED if key in os.environ} | {"DOCKER_CONFIG": config}

    def _docker(self, words: Sequence[str], env: dict[str, str], *, stdin: bytes = b"") -> None:
        what = f"docker {words[0]}"
        try:
            done = subprocess.run(
                ["docker", *words], env=env, input=stdin, capture_output=True, timeout=_BUILD_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise ServiceUnavailable(f"{what} did not end within {_BUILD_S:g} s", cure="docker info") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-800:]
            raise ServiceUnavailable(f"{what} of {self._repository}: {said}", cure="look at Docker: docker info")


def _context(base: str, folder: Path) -> bytes:
    """What Docker builds from: two instructions, neither of which runs anything, and the files as they are."""
    file = f"FROM {base}\nWORKDIR {FOLDER}\nCOPY app/ {FOLDER}/\n".encode()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        head = tarfile.TarInfo("Dockerfile")
        head.size = len(file)
        tar.addfile(head, io.BytesIO(file))
        tar.add(folder, "app", filter=_kept)
    return made.getvalue()


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if {".git", "__pycache__"} & set(Path(member.name).parts):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0  # by content alone Docker knows a layer again
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
