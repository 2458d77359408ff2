"""The second port under servers other than gunicorn, without any configuration of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.environment import accepts, free_port
from support.probing import Prober, get
from support.servers import COMMANDS, OF_TWO, Served, command
from support.waiting import eventually

REPLACES = ["uwsgi", "uwsgi lazy-apps", "granian respawning", "uvicorn"]


class Second(Served):
    """A server with a second port."""

    def __init__(self, home: Path, line: list[str], **options: Any) -> None:
        self.second = free_port()
        env = {"FLASK_HEALTH_LISTEN": f"127.0.0.1:{self.second}"}
        super().__init__(home, line, env=env, **options)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(kind: str, **options: Any) -> Second:
            server = Second(tmp_path / "server", command(kind), **options)
            stack.enter_context(server)
            return server

        yield start


@pytest.mark.parametrize("kind", COMMANDS)
def test_it_answers(start: Any, kind: str) -> None:
    """The same word as the server's own port, and it goes with the server."""
    server = start(kind)
    server.answers(200)
    eventually(lambda: get(server.second).answer == (200, "ok"), why="answers")
    assert get(server.second, "/work").code == 404
    if kind != "uwsgi without master":  # There TERM ends one worker, and leaves the other one.
        server.stop()
        assert not accepts(server.second)


@pytest.mark.parametrize("kind", OF_TWO)
def test_every_worker_has_a_copy(start: Any, kind: str) -> None:
    """And nobody else: neither the master nor what the app has forked."""
    server = start(kind)
    workers = {marker.pid for marker in server.has_markers(2)}
    eventually(lambda: get(server.second).code == 200, why="answers")
    eventually(lambda: holders(server) == workers, why="all have a copy")


def holders(server: Second) -> set[int]:
    """The processes of a server that have the second port open."""
    found = set()
    port = f"0100007F:{server.second:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = [f.split()[9] for f in lines if f.split()[1] == port and f.split()[3] == "0A"]
    for pid in [server.pid, *server._left()]:
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                if os.readlink(path) in [f"socket:[{inode}]" for inode in inodes]:
                    found.add(pid)
            except FileNotFoundError:
                continue
    return found


@pytest.mark.parametrize("kind", REPLACES)
def test_a_killed_worker_is_not_missed(start: Any, kind: str) -> None:
    """The other one answers, and the replacement gets a copy."""
    server = start(kind)
    workers = [marker.pid for marker in server.has_markers(2)]
    eventually(lambda: holders(server) == set(workers), why="all have a copy")
    with Prober(server.second, timeout=1.0) as prober:
        prober.sees(5)
        server.kill(workers[0])
        prober.sees(20)
    assert len([seen for seen in prober.seen if seen.code != 200]) <= 1
    workers = [marker.pid for marker in server.has_markers(2)]
    eventually(lambda: holders(server) == set(workers), why="the new one has a copy, too")
