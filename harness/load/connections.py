"""Connections that neither hide a failure nor invent one.

geventhttpclient sends an idempotent request again up to once a connection of its pool, also over new connections: a
worker that dies under a request is asked again 200 times, and nobody sees a failure. Not retrying at all is wrong too:
when a server closes its idle connections to restart, one may be written to at that very moment, and no user's browser
would show that. So, as in RFC 9110 section 9.2.2 and RFC 9112 section 9.3.1:

- An idempotent request goes over a kept connection where there is one. When that closes before the first byte of an
  answer, the request is sent once more, over a new connection. A time-out is never retried.
- Any other request goes over a new connection and is never sent twice: no order is placed by the generator itself.
"""

from __future__ import annotations

import errno
from typing import Any
from weakref import WeakSet

from gevent.socket import socket
from geventhttpclient.client import IDEMPOTENT_METHODS, HTTPClient, HTTPClientPool
from geventhttpclient.header import Headers
from geventhttpclient.response import HTTPConnectionClosed, HTTPSocketPoolResponse
from geventhttpclient.url import URL

_CLOSED = frozenset((errno.ECONNRESET, errno.EPIPE))


class Connections(HTTPClientPool):
    """The ``client_pool`` of a FastHttpUser. Takes the arguments of HTTPClient, such as ``concurrency``."""

    def get_client(self, url: str | URL) -> HTTPClient:
        url = url if isinstance(url, URL) else URL(url)
        key = url.host, url.port
        if key not in self.clients:
            self.clients[key] = _Client.from_url(url, **self.client_args)
        return self.clients[key]


class _Client(HTTPClient):
    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - HTTPClient's own
        super().__init__(*args, **options)
        self._seen: WeakSet[socket] = WeakSet()
        self._once = HTTPClient(*args, **{**options, "headers": {"Connection": "close"}})

    def close(self) -> None:
        super().close()
        self._once.close()

    def request(  # type: ignore[override]  # files and streams as bodies are not needed
        self, method: str, request_uri: str, body: bytes | str | None = b"", headers: Headers | None = None
    ) -> HTTPSocketPoolResponse:
        """Sends one request; returns when the headers of its answer are there."""
        data = body.encode() if isinstance(body, str) else body or b""
        message = method.upper(), request_uri, data, headers
        if message[0] in IDEMPOTENT_METHODS:
            connection = self._connection_pool.get_socket()
            reused = connection in self._seen
            self._seen.add(connection)
            try:
                return _exchange(self, connection, *message)
            except HTTPConnectionClosed:
                if not reused:
                    raise
        return _exchange(self._once, self._once._connection_pool.get_socket(), *message)


def _exchange(
    client: HTTPClient, connection: socket, method: str, request_uri: str, body: bytes, headers: Headers | None
) -> HTTPSocketPoolResponse:
    pool = client._connection_pool
    try:
        head = client._build_request(method, request_uri, body=body, headers=headers)
        connection.sendall(head.encode("latin-1") + body)
    except BaseException as error:  # also gevent's Timeout and GreenletExit: none may cost a place in the pool
        pool.release_socket(connection)
        if isinstance(error, OSError) and error.errno in _CLOSED:
            raise HTTPConnectionClosed("connection closed while the request was sent") from error
        raise
    # Gives the connection back by itself, also when it raises: HTTPConnectionClosed before the first byte only.
    response = HTTPSocketPoolResponse(connection, pool, block_size=client.block_size, method=method)
    response._sent_request = head  # Locust shows it beside an error
    return response
