"""A receiver of webhook messages on 127.0.0.1 that behaves as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.waiting import eventually

Behave = Callable[[BaseHTTPRequestHandler], None]
"""Answers one request, or does not."""


def answer(code: int, **headers: str) -> Behave:
    """Answer with this code and these headers (`_` for `-`)."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return behave


class Webhook:
    """A context manager: listens while the block runs; `got` are the messages it has taken.

    `plan` are the behaviours for the next requests; without one it takes the message with 200.
    """

    def __init__(self, *plan: Behave) -> None:
        self.plan = list(plan)
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.got: list[Any] = []
        self.let_go = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30.0

            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.requests.append((self.path, dict(self.headers), message))
                if hook.plan:
                    hook.plan.pop(0)(self)
                else:
                    hook.got.append(message)
                    answer(200)(self)

            def do_GET(self) -> None:
                hook.requests.append((self.path, dict(self.headers), None))
                answer(200)(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Webhook:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens; the path is a secret, as with Slack."""
        return f"http://127.0.0.1:{self._server.server_port}/services/T1/s3cret"

    def hang(self, request: BaseHTTPRequestHandler) -> None:
        """Answer nothing, until the block ends or `let_go` is set."""
        self.let_go.wait(30.0)

    def cut(self, request: BaseHTTPRequestHandler) -> None:
        """Close the connection without an answer."""

    def takes(self, number: int, within: float = 20.0) -> list[Any]:
        """Wait until it has taken this many messages; return them."""
        return eventually(
            lambda: list(self.got), lambda got: len(got) >= number, within=within, why="messages"
        )
