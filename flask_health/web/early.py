"""Business requests that come before setup has finished."""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t

import flask

from ..config import Config
from ..workers.gate import Gate
from ..workers.running import running
from .headers import RETRY_AFTER, TEXT, headers
from .paths import in_environ
from .render import wants_json

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATIENCE_ALONE = 30.0
"""Seconds that a request waits for setup in a server of one, as with `before_first_request`."""

PROBLEM = "application/problem+json"


class Early:
    """Lets a request pass, has it wait, or refuses it.

    A server of one has nobody else to send the request to, so it waits there; in a worker of
    several the client does better to ask again.
    """

    def __init__(self, app: flask.Flask, gate: Gate, config: Config) -> None:
        self._app = app
        self._gate = gate
        self._config = config
        self._exempt = tuple(map(in_environ, config.gate_exempt))

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> cabc.Iterable[bytes] | None:
        """None when the request may pass, else the refusal."""
        gate = self._gate
        if not gate.begun:
            gate.begin()
        if not self._config.gate or self._is_exempt(environ):
            return None
        error = gate.settle(self._patience())
        if gate.local.is_set():
            return None
        if error is not None and self._shows_exceptions():
            raise error
        return _refuse(environ, start_response)

    def _is_exempt(self, environ: WSGIEnvironment) -> bool:
        if running.get():
            return True  # A step that calls the app would wait for itself.
        return bool(environ.get("PATH_INFO", "").startswith(self._exempt))

    def _patience(self) -> float:
        if self._config.gate_timeout is not None:
            return self._config.gate_timeout
        return PATIENCE_ALONE if self._gate.server.role == "alone" else 0.0

    def _shows_exceptions(self) -> bool:
        return self._gate.server.role == "alone" and bool(
            self._app.testing or self._app.config["PROPAGATE_EXCEPTIONS"]
        )


def _refuse(environ: WSGIEnvironment, start_response: StartResponse) -> cabc.Iterable[bytes]:
    if wants_json(environ):
        content_type = PROBLEM
        body = json.dumps(
            {
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": "The service is starting.",
            }
        ).encode()
    else:
        content_type, body = TEXT, b"Service Unavailable: the service is starting.\n"
    start_response("503 Service Unavailable", [*headers(content_type, len(body)), RETRY_AFTER])
    return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)
