"""Clients of the second port that send whatever a test wants, to the byte."""

from __future__ import annotations

import contextlib
import socket
from typing import NamedTuple

from support.probing import Address


class Reply(NamedTuple):
    """An answer, to the letter."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def word(self) -> tuple[int, str]:
        """The code and the body as text."""
        return self.code, self.body.decode()


def connect(address: Address, timeout: float = 10.0) -> socket.socket:
    """Return a connection to a port of 127.0.0.1 or to a unix socket."""
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    connection.connect(address)
    return connection


def heard(connection: socket.socket) -> bytes:
    """Return everything that comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def send(address: Address, sent: bytes, timeout: float = 10.0) -> bytes:
    """Send some bytes on a connection of their own and return all that comes back."""
    with connect(address, timeout) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        return heard(connection)


def reply(received: bytes) -> Reply:
    """Return the one answer that was received, without what every answer has here."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, code, _ = first.split(" ", 2)
    assert version == "HTTP/1.1", received
    pairs = [line.split(": ", 1) for line in lines]
    assert len({name for name, _ in pairs}) == len(pairs), received
    headers = {name: value for name, value in pairs}
    assert headers.pop("Connection") == "close", received
    assert headers.pop("Date").endswith(" GMT"), received
    return Reply(int(code), headers, body)


def ask(address: Address, path: str = "/health", method: str = "GET", **headers: str) -> Reply:
    """Send one request as a prober would and return its answer."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    head = f"{method} {path} HTTP/1.1\r\nHost: probed\r\n{''.join(lines)}\r\n"
    return reply(send(address, head.encode("latin-1")))
