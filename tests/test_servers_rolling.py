"""Rolling restarts of two servers behind a real HAProxy and a real nginx, under load."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import proxies, system
from support.gunicorn import Serve
from support.probing import Load, get
from support.waiting import eventually

ROUNDS = int(os.environ.get("FLASK_HEALTH_ROUNDS", "2"))
"""How often each of the servers is restarted; in a campaign more often."""

PROXIES = [
    pytest.param(
        proxies.haproxy,
        id="haproxy",
        marks=pytest.mark.skipif(
            not system.HAPROXY.is_met, reason=f"needs {system.HAPROXY.apt_get}"
        ),
    ),
    pytest.param(
        proxies.nginx,
        id="nginx",
        marks=pytest.mark.skipif(not system.NGINX.is_met, reason=f"needs {system.NGINX.apt_get}"),
    ),
]


def answers_again(load: Load, workers: list[int]) -> None:
    """Wait until one of these workers has been sent a request."""
    eventually(load.pids, lambda pids: pids & set(workers))


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_rolling_restart_loses_nothing(
    serve: Serve, tmp_path: Path, proxy: Callable[..., Any]
) -> None:
    """One server after the other is stopped and started again: every request is answered 200."""
    # Twice 0.2 s until HAProxy believes it, with room for a loaded machine.
    env = {"FLASK_HEALTH_DRAIN_DELAY": 3, "SETUP_SECONDS": 0.3}
    servers = [serve("served:app", workers=2, env=env) for _ in range(2)]
    for server in servers:
        server.answers(200)
    with proxy(tmp_path / "proxy", [server.address for server in servers]) as port:
        eventually(lambda: get(port, "/work").code, lambda code: code == 200)
        with Load(port) as load:
            load.sees(50)
            for _ in range(ROUNDS):
                for server in servers:
                    server.signal(signal.SIGTERM)
                    assert server.wait() == 0
                    server.start().listening()
                    server.answers(200)
                    answers_again(load, server.workers())
            load.sees(50)
    assert load.codes() == {200}
    assert not load.cold()
