"""Measuring inside a gunicorn worker, where the real markers of its real siblings are.

The worker that gets `/measure/<what>?<rounds>` answers with JSON: for each name, a list of
nanoseconds per call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from werkzeug.test import create_environ

from flask_health.workers import verdict

from ..measure import Batch

Application = Callable[..., Iterable[bytes]]
Samples = dict[str, list[float]]


def measuring(
    application: Application, measures: Mapping[str, Callable[[int], Samples]]
) -> Application:
    """The application, and beside it the measures, which get the number of rounds."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        _, _, what = environ["PATH_INFO"].partition("/measure/")
        if what not in measures:
            return application(environ, start_response)
        body = json.dumps(measures[what](int(environ["QUERY_STRING"]))).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return app


def batch(application: Application, path: str, headers: Mapping[str, str] | None = None) -> Batch:
    """Calls an application as a server does: environ in, iterable out and closed."""
    sent = {"User-Agent": "kube-probe/1.30", "Accept": "*/*", **(headers or {})}
    environ = create_environ(path, headers=sent)

    def call(times: int) -> None:
        for _ in repeat(None, times):
            body = application(environ, _start_response)
            for _chunk in body:
                pass
            if hasattr(body, "close"):
                body.close()

    return call


@contextmanager
def nothing_remembered() -> Iterator[None]:
    """Every probe asks the kernel anew."""
    remembered, verdict.REMEMBERED = verdict.REMEMBERED, -1.0
    time.sleep(max(0.0, remembered))  # What the last probe remembered is past.
    try:
        yield
    finally:
        verdict.REMEMBERED = remembered


def _start_response(status: str, headers: list[tuple[str, str]]) -> None:
    pass
