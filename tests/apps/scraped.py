"""The app `checked` with work that is slow or fails, as the request says; few checks, often run."""

from __future__ import annotations

import time

import checked
from flask import request

app = checked.app


@app.get("/task")
def task() -> tuple[str, int]:
    """Take `?seconds=`, then answer with `?code=`."""
    time.sleep(request.args.get("seconds", 0.0, float))
    return "done", request.args.get("code", 200, int)
