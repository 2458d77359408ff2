"""A small HTTP load generator: eight connections, each with one request under way.

wrk cannot run for less than a second; shorter runs in quick alternation keep a machine's slower
moods out of a ratio. A connection is kept for as long as the server keeps it.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from contextlib import ExitStack

CONNECTIONS = 8
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def requests_per_second(port: int, path: str, seconds: float = 0.2) -> float:
    """How many GETs of `path` were answered 200 a second; another answer raises RuntimeError."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
    answered = 0
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(CONNECTIONS):
            stack.callback(_Client(selector, port, request).close)
        begin = time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            for key, _ in selector.select(1.0):
                answered += key.data.receive()
    return answered / elapsed


class _Client:
    """One connection at a time, with one request under way."""

    def __init__(self, selector: selectors.BaseSelector, port: int, request: bytes) -> None:
        self._selector = selector
        self._port = port
        self._request = request
        self._socket: socket.socket
        self._received: bytes
        self._connect()

    def receive(self) -> int:
        """Takes what has arrived; returns how many answers that completed: 0 or 1."""
        chunk = self._receive_chunk()
        self._received += chunk
        done = _is_complete(self._received)
        if done:
            self._finish()
        elif not chunk:
            self.close()
            self._connect()
        return int(done)

    def close(self) -> None:
        self._selector.unregister(self._socket)
        self._socket.close()

    def _receive_chunk(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except ConnectionError:
            return b""

    def _finish(self) -> None:
        if self._received[9:12] != b"200":
            raise RuntimeError(f"not answered 200: {self._received!r}")
        closing = b"\r\nconnection: close" in self._received.lower()
        self._received = b""
        if closing:
            self.close()
            self._connect()
        else:
            self._socket.sendall(self._request)

    def _connect(self) -> None:
        self._received = b""
        self._socket = socket.create_connection(("127.0.0.1", self._port), 10.0)
        self._socket.sendall(self._request)
        self._selector.register(self._socket, selectors.EVENT_READ, self)


def _is_complete(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = LENGTH.search(head)
    return length is not None and len(body) >= int(length[1])
