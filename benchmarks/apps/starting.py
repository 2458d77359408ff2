"""Workers whose setup takes its time: `starting:app("dockerflow", 1.0, 2.0, 3.0, 4.0)`.

The first worker's setup takes the first number of seconds, and so on; every further worker's the
last. A peer's workers do what its users do: a thread does the work and sets a flag, and the check
asks for the flag. Every answer names the worker that gave it, in `X-Worker`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from ..measure import OURS
from . import ours, peers, slots

PATHS = {OURS: "/health", **peers.PATHS}


def app(name: str, *seconds: float, **config: Any) -> Flask:
    """The app; `config` is Flask configuration, for ours alone."""

    def setup() -> None:
        number = slots.take()
        time.sleep(seconds[min(number, len(seconds) - 1)])
        slots.record_end(number)

    flask = ours.app(setup, **config) if name == OURS else _peer(name, setup)
    flask.wsgi_app = _signed(flask.wsgi_app)  # type: ignore[method-assign]
    return flask


def _peer(name: str, setup: Callable[[], None]) -> Flask:
    ready = threading.Event()

    def work() -> None:
        setup()
        ready.set()

    threading.Thread(target=work, daemon=True).start()
    return peers.app(name, ready.is_set)


def _signed(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def signed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("X-Worker", str(os.getpid()))], *rest)

        return application(environ, start)

    return signed
