"""Ports of 127.0.0.1."""

from __future__ import annotations

import random
import socket
import threading

from harness.errors import InputError

_PORTS = (15000, 32768)
_given: set[int] = set()
_lock = threading.Lock()


def free_port() -> int:
    """A TCP port that nobody listens on at 127.0.0.1, never the same twice.

    It lies below the range from which Linux picks ports for outgoing connections (32768 and up): a load test makes so
    many of those that one would sooner or later take the port before the server does.
    """
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311 - a port is no secret
        with _lock, socket.socket() as probe:
            if port not in _given:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                _given.add(port)
                return port


def require_port(port: int, host: str = "127.0.0.1") -> None:
    """InputError where the port that somebody chose cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be used: {error.strerror}", cure="choose another: --port N") from None
