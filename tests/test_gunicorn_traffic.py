"""Real workers count what a client sends: no more and no less, whoever dies."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.statedir import boots
from support.waiting import eventually

from flask_health.workers import tally
from flask_health.workers.boots import join
from flask_health.workers.records import EVERY
from flask_health.workers.statedir import StateDir

SEEN = {"FLASK_HEALTH_DETAILS": "always"}
KINDS = ["sync", "gthread", "gevent"]


def start(serve: Serve, tmp_path: Path, *args: str, **options: Any) -> Gunicorn:
    """Start a server of `busy` and wait until it is ready."""
    if "gevent" in args:
        pytest.importorskip("gevent")
    if "gthread" in args:
        args = (*args, "--threads", "4")
    server = serve("busy:app", *args, env=SEEN, stage=Stage(tmp_path / "stage"), **options)
    server.answers(200)
    return server


def told(server: Gunicorn) -> Any:
    """What a worker tells of all of them."""
    return server.get("/health?format=json").json()["traffic"]


def counts(server: Gunicorn, number: int) -> Any:
    """Wait until that many requests are told of, and see that it stays so in every worker."""
    eventually(lambda: told(server)["boot"]["requests"], lambda n: n == number, why=f"{number}")
    again = [told(server) for _ in range(20)]
    assert {traffic["boot"]["requests"] for traffic in again} == {number}
    return again[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_workers_count_what_was_sent(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Over all of them, and also what those counted that were killed between two requests; probes
    are none of it.
    """
    server = start(serve, tmp_path, "-k", kind)
    assert counts(server, 0)["inFlight"] == 0
    with server.prober() as prober, server.load() as load:
        for _ in range(3):
            load.sees(60)
            with load.paused(), prober.paused():
                killed = server.workers()[0]
                server.kill(killed)
                server.has_workers(3)
                server.has_markers(3)
        eventually(lambda: len(load.pids()), lambda number: number > 3)
    sent = len(load.seen)
    assert load.codes() == {200}
    for _ in range(4):
        assert server.get("/fail").code == 500
    traffic = counts(server, sent + 4)
    assert traffic["inFlight"] == 0
    assert traffic["boot"]["errorShare"] == pytest.approx(4 / (sent + 4), abs=1e-6)
    assert traffic["boot"]["p99"] < max(seen.took for seen in load.seen)
    assert traffic["5m"]["requests"] == sent + 4
    assert server.get("/health/info").json()["traffic"]["boot"]["requests"] == sent + 4
    for pid in server.workers():
        assert f"record.{pid}." in " ".join(names(server))


def names(server: Gunicorn) -> list[str]:
    """The files among the records of a server."""
    (boot,) = boots(server.state)
    return sorted(path.name for path in (boot / "records").iterdir())


def test_workers_that_are_replaced_all_the_time(serve: Serve, tmp_path: Path) -> None:
    """`max_requests` ends a worker every few requests: the sum stays right, and their records do
    not pile up.
    """
    server = start(serve, tmp_path, "--max-requests", "8", "--max-requests-jitter", "4", workers=2)
    with server.load(threads=3) as load:
        eventually(lambda: len(load.pids()), lambda number: number >= 7, within=60.0)
    answered = [seen for seen in load.seen if seen.code == 200]
    assert len(answered) == len(load.seen)
    counts(server, len(answered))
    eventually(lambda: names(server), lambda found: len(found) <= 6, why="folded")
    assert "total" in names(server)


def test_a_reload_keeps_what_was_counted(serve: Serve, tmp_path: Path) -> None:
    """HUP ends all workers, in good order; their boot goes on, and so do its numbers."""
    server = start(serve, tmp_path, "--preload", workers=2)
    for _ in range(10):
        assert server.get("/work").code == 200
    counts(server, 10)
    old = server.workers()
    server.signal(signal.SIGHUP)
    eventually(lambda: set(server.workers()).isdisjoint(old) and len(server.workers()) == 2)
    for _ in range(5):
        assert server.get("/work").code == 200
    assert counts(server, 15)["boot"]["seconds"] > counts(server, 15)["boot"]["mean"]


@pytest.mark.parametrize("kind", KINDS)
def test_in_flight(serve: Serve, tmp_path: Path, kind: str) -> None:
    """What a worker has at hand is told of by its sibling, and dies with it."""
    server = start(serve, tmp_path, "-k", kind, workers=2)
    server.stage.order("hold")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.get, "/hold")
        eventually(lambda: told(server)["inFlight"], lambda n: n == 1, why="in flight")
        assert told(server)["boot"]["requests"] == 1
        (busy,) = [r.pid for r in readings(server) if r.in_flight]
        server.kill(busy)
        assert held.result().code == "reset"
    server.stage.withdraw("hold")
    server.has_workers(2)
    eventually(lambda: told(server)["inFlight"], lambda n: n == 0, why="dead")
    assert told(server)["boot"]["requests"] == 1


def joined(server: Gunicorn) -> StateDir:
    """The state directory of a server, as a worker opens it."""
    (boot,) = boots(server.state)
    directory = join(boot.name.removeprefix("v1-"), [str(server.state)], [])
    assert directory
    return directory


def readings(server: Gunicorn) -> list[tally.Reading]:
    """The records of a server's workers."""
    directory = joined(server)
    try:
        return tally.read(directory)[1]
    finally:
        directory.leave()


@pytest.mark.parametrize("kind", KINDS)
def test_the_beat_of_the_loop_is_in_the_record(serve: Serve, tmp_path: Path, kind: str) -> None:
    """It moves while the loop does, and stands still with it."""
    server = start(serve, tmp_path, "-k", kind, "--timeout", "2", workers=1)

    def age() -> float:
        (reading,) = readings(server)
        return time.monotonic() - reading.beat

    eventually(age, lambda seconds: 0 < seconds < 2.5, why="beats")
    (worker,) = server.workers()
    server.signal(signal.SIGSTOP, worker)
    (reading,) = readings(server)
    before = reading.beat
    eventually(age, lambda seconds: seconds > 1.5, why="stands still")
    still = [reading.beat for reading in readings(server) if reading.pid == worker]
    assert set(still) <= {before}
    eventually(lambda: worker in processes.children(server.pid), lambda there: not there)
    server.answers(200)


def test_the_ring_fills_without_requests(serve: Serve, tmp_path: Path) -> None:
    """The keeper's thread takes a snapshot every few seconds, also of a worker that is idle."""
    server = start(serve, tmp_path, workers=1)
    assert server.get("/work").code == 200

    def rows() -> int:
        (reading,) = readings(server)
        return len(reading.series.points)

    first = rows()
    eventually(rows, lambda number: number >= first + 2, within=4 * EVERY)


SENDFILE = """
def post_worker_init(worker):
    from gunicorn.http import wsgi
    real = wsgi.Response.sendfile

    def sendfile(self, respiter):
        done = real(self, respiter)
        print("sendfile:", done, flush=True)
        return done

    wsgi.Response.sendfile = sendfile
"""


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_files_are_still_sent_by_the_kernel(serve: Serve, tmp_path: Path, kind: str) -> None:
    """The server gets the very object that it made for that: `sendfile` does the work."""
    server = start(serve, tmp_path, "-k", kind, workers=1, config=SENDFILE)
    (server.stage.root / "file").write_text("x" * 3_000_000)
    assert server.get("/file").body == "x" * 3_000_000
    eventually(server.log, lambda log: "sendfile: True" in log)
    counts(server, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_arrives_as_it_is_made(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Its first half is there before the second is made; by then it counts as done."""
    server = start(serve, tmp_path, "-k", kind, workers=2)
    server.stage.order("hold")
    assert isinstance(server.address, int)
    with socket.create_connection(("127.0.0.1", server.address), 10.0) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b""
        while b"one\n" not in got:
            got += client.recv(4096)
        traffic = counts(server, 1)
        assert traffic["inFlight"] == 0
        assert traffic["boot"]["p99"] < 1.0
        server.stage.withdraw("hold")
        while more := client.recv(4096):
            got += more
    assert b"two\n" in got


def test_a_disk_without_room_stops_nobody(serve: Serve, tmp_path: Path) -> None:
    """Workers serve, and say why they count for themselves."""
    config = """
import errno, os

def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

os.posix_fallocate = no_room
"""
    server = start(serve, tmp_path, workers=1, config=config)
    for _ in range(3):
        assert server.get("/work").code == 200
    counts(server, 3)
    notes = server.get("/health?format=json").json()["notes"]
    assert notes == ["cannot keep the records of traffic: No space left on device"]
    assert server.log().count(notes[0]) == 1
    assert not [name for name in names(server) if name.startswith("record")]
