"""Ports of 127.0.0.1."""

from __future__ import annotations

import random
import socket
import threading

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
