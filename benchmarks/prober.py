"""Probes from outside, each on a fresh connection, as a load balancer or kubelet sends them."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What one probe saw; times are `time.monotonic()` seconds, the same for all processes."""

    sent: float
    received: float
    status: int | None
    worker: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.status == 200


def probe(port: int, path: str, timeout: float = 10.0) -> Answer:
    """One GET on a connection of its own; `status` is None when no answer came."""
    sent = time.monotonic()
    try:
        head = _exchange(port, path, timeout)
    except OSError as error:
        return Answer(sent, time.monotonic(), None, error=type(error).__name__)
    return answer_of(head, sent, time.monotonic())


def answer_of(head: bytes, sent: float, received: float) -> Answer:
    """What the bytes that were received say."""
    if not head.startswith(b"HTTP/"):
        return Answer(sent, received, None, error="no answer")
    return Answer(sent, received, int(head.split(b" ", 2)[1]), _header(head, b"x-worker"))


def request(path: str) -> bytes:
    """A GET after which the server hangs up."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()


def fetch(port: int, path: str, timeout: float = 60.0) -> tuple[bytes, bytes]:
    """The head and the body of the answer to one GET."""
    head, _, body = _exchange(port, path, timeout).partition(b"\r\n\r\n")
    return head, body


class Prober:
    """Probes `path` every `period` seconds in a thread, as long as the `with` block lasts."""

    def __init__(self, port: int, path: str, period: float) -> None:
        self.answers: list[Answer] = []
        self._port = port
        self._path = path
        self._period = period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self.answers.append(probe(self._port, self._path))
            due = max(due + self._period, time.monotonic())


def _exchange(port: int, path: str, timeout: float) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request(path))
        received = bytearray()
        while chunk := connection.recv(65536):
            received += chunk
        return bytes(received)


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""
