"""Helpers for the tests of those who use the extension.

    with testing.running("shop:app", workers=4) as server:   a real gunicorn, always ended
        server.wait_until(200)
    testing.wait_until_ready(app)                            setup and first results, here
    with testing.forced(app, ready="fail"):                  what a probe answers, whatever is true
    with testing.frozen_clock(app) as clock:                 results that grow old without waiting
        clock.advance(60.0)

`pytest_plugins = ["flask_health.testing.fixtures"]` gives the same as fixtures.
"""

from __future__ import annotations

from .clock import Clock, frozen_clock
from .forcing import forced
from .serving import Answer, Server, running
from .waiting import eventually, wait_until_ready

__all__ = [
    "Answer",
    "Clock",
    "Server",
    "eventually",
    "forced",
    "frozen_clock",
    "running",
    "wait_until_ready",
]
