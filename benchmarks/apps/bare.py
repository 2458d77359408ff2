"""A WSGI callable that does nothing but send the bytes of our plain probe: the floor of probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """A fresh list of headers each time: PEP 3333 lets the server change the one that it gets."""
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", "2"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response("200 OK", headers)
    return [b"ok"]


def beside_flask() -> Callable[..., list[bytes]]:
    """The same callable in a process that has loaded Flask, as every process of a Flask app has.

    A larger process takes some percent longer for each request, whatever answers it.
    """
    import flask  # noqa: F401

    return app
