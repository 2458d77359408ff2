"""Something that checks ask, over TCP: it counts what it is asked, and it can hang or die.

A caller sends its name and a line break, and gets `ok` and a line break.
"""

from __future__ import annotations

import socketserver
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """When somebody asked, in `time.monotonic()` seconds, and by what name."""

    moment: float
    name: str


class Dependency:
    """Serves on a port of 127.0.0.1 for as long as the `with` block lasts.

    :ivar calls: what it has been asked so far.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._hangs_for: float | None = None
        self._awake = threading.Event()
        self._awake.set()
        self._server = _Server(self, 0)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Dependency:
        self._server.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        self.thaw()
        self._server.end()

    def freeze(self, seconds: float | None = None) -> float:
        """Accepts from now on, but takes that long to answer; None: until it thaws.

        :return: when that was.
        """
        self._hangs_for = seconds
        self._awake.clear()
        return time.monotonic()

    def thaw(self) -> None:
        """Answers again, also those who have been waiting."""
        self._awake.set()

    def die(self) -> float:
        """Refuses connections from now on; returns when that began."""
        moment = time.monotonic()
        self._server.end()
        return moment

    def revive(self) -> None:
        """Serves again, on the same port."""
        self._server = _Server(self, self.port)
        self._server.begin()

    def answer(self, name: str) -> bytes:
        """What the caller of that name gets, when it is time."""
        self.calls.append(Call(time.monotonic(), name))
        self._awake.wait(self._hangs_for)
        return b"ok\n"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, dependency: Dependency, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.dependency = dependency
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that has gone is nobody's trouble."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        name = self.rfile.readline().decode().strip()
        self.wfile.write(self.server.dependency.answer(name))
