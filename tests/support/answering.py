"""A server of a few lines that answers each connection as a test says."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Act = Callable[[socket.socket], object]
"""What is done with a connection once its request has been read."""


def says(answer: bytes) -> Act:
    """Send an answer."""
    return lambda connection: connection.sendall(answer)


def trickles(answer: bytes, pause: float = 0.05) -> Act:
    """Send an answer byte by byte."""

    def act(connection: socket.socket) -> None:
        for number in range(len(answer)):
            connection.sendall(answer[number : number + 1])
            time.sleep(pause)

    return act


def hangs(connection: socket.socket) -> None:
    """Say nothing until the other side has enough."""
    with contextlib.suppress(OSError):
        connection.recv(1)


@contextmanager
def answering(
    act: Act, path: str = "", tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """Answer until the block ends; yields the port (0: the unix socket at `path`), and the requests
    that have been read.
    """
    family = socket.AF_UNIX if path else socket.AF_INET
    requests: list[bytes] = []
    with socket.socket(family) as listener:
        listener.bind(path or ("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), plain:
                    plain.settimeout(10)
                    connection = tls.wrap_socket(plain, server_side=True) if tls else plain
                    with connection:
                        requests.append(connection.recv(65536))
                        act(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield 0 if path else int(listener.getsockname()[1]), requests
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
