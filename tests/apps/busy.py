"""An app whose requests fail, hang, stream and send files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acting import ordered
from flask import Flask, send_file

from flask_health import HealthCheck

FILE = Path(os.environ["STAGE"]) / "file"

app = Flask("busy")
health = HealthCheck(app)


@app.get("/work")
def work() -> dict[str, Any]:
    """Tell which worker this is."""
    return {"pid": os.getpid()}


@app.get("/fail")
def fail() -> str:
    """Raise, which Flask answers with 500."""
    raise RuntimeError("told to fail")


@app.get("/hold")
def hold() -> dict[str, Any]:
    """Answer once the order `hold` is withdrawn."""
    while ordered("hold"):
        time.sleep(0.01)
    return {"pid": os.getpid()}


@app.get("/file")
def file() -> Any:
    """Send a large file, as WSGI servers can do without reading it."""
    return send_file(FILE, conditional=False)


@app.get("/stream")
def stream() -> Any:
    """Send a second half once the order `hold` is withdrawn."""

    def halves() -> Iterator[str]:
        yield "one\n"
        while ordered("hold"):
            time.sleep(0.01)
        yield "two\n"

    return halves(), {"Content-Type": "text/plain"}
