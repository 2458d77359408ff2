"""SIGTERM to a server: readiness is red at once, and requests are served for the drain delay."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import statedir
from support.gunicorn import Gunicorn, Serve
from support.probing import Prober
from support.stage import Stage
from support.waiting import eventually

CLASSES: dict[str, tuple[str, ...]] = {
    "sync": (),
    "gthread": ("-k", "gthread", "--threads", "8"),
    "gevent": ("-k", "gevent"),
    "gevent_pywsgi": ("-k", "gevent_pywsgi"),
    "tornado": ("-k", "tornado"),
}
KEEPING = ["gthread", "gevent", "gevent_pywsgi", "tornado"]
"""Worker classes that keep connections open between two requests."""

INSTALL = "from flask_health.gunicorn import install\ninstall(globals())\n"
MOMENT = 1.0
"""Seconds that a loaded machine may take for what takes milliseconds; the figure is a benchmark's.
"""


def draining(serve: Serve, *args: str, delay: float = 2.0, **options: Any) -> Gunicorn:
    """A server with that delay, ready; each of its workers has entered its accept loop."""
    options.setdefault("workers", 2)
    env = options.pop("env", {}) | {"FLASK_HEALTH_DRAIN_DELAY": delay}
    server = serve("served:app", *args, env=env, **options)
    server.answers(200)
    server.all_answer(options["workers"])
    return server


def ended(server: Gunicorn, number: signal.Signals = signal.SIGTERM) -> float:
    """Send a signal to the master, wait for its good end; how many seconds that took."""
    began = time.monotonic()
    server.signal(number)
    assert server.wait() == 0
    return time.monotonic() - began


def answered_for(prober: Prober, since: float) -> float:
    """For how many seconds every request was answered 200."""
    bad = [seen.at for seen in prober.since(since) if seen.code != 200]
    return min(bad, default=prober.seen[-1].at) - since


@pytest.mark.parametrize("worker_class", CLASSES)
def test_readiness_is_red_and_requests_are_served(serve: Serve, worker_class: str) -> None:
    """For the whole delay, in every worker; liveness stays green; then gunicorn stops."""
    server = draining(serve, *CLASSES[worker_class], workers=3)
    with server.prober() as ready, server.prober("/health/live") as live, server.load() as load:
        load.sees(20)
        began = time.monotonic()
        assert ended(server) >= 2.0
    assert {seen.code for seen in ready.since(began + MOMENT) if seen.at < began + 2.0} == {503}
    red = ready.first(503)
    assert red
    assert red.at + red.took - began < MOMENT
    assert answered_for(live, began) >= 2.0
    assert answered_for(load, began) >= 2.0
    assert not load.cold()
    assert not statedir.boots(server.state)


@pytest.mark.parametrize("worker_class", KEEPING)
def test_connections_are_closed_politely(serve: Serve, worker_class: str) -> None:
    """Who keeps a connection learns from an answer that it ends, and is not cut off."""
    server = draining(serve, *CLASSES[worker_class], workers=1, delay=6.0)
    assert isinstance(server.address, int)
    connection = http.client.HTTPConnection("127.0.0.1", server.address, timeout=10.0)

    def closes() -> bool:
        connection.request("GET", "/work", headers={"Connection": "keep-alive"})
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        return answer.will_close

    assert not closes()
    server.signal(signal.SIGTERM)
    eventually(closes, within=5.0, every=0.05)
    connection.close()
    server.wait()


def test_a_request_longer_than_the_delay_is_answered(serve: Serve) -> None:
    """What has begun before gunicorn stops has the rest of `graceful_timeout`."""
    server = draining(serve, delay=0.5)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.get, "/work?seconds=3")
        time.sleep(0.3)  # On its way; if it comes later still, the delay takes it in.
        took = ended(server)
        assert slow.result().code == 200
    assert took >= 2.0


def test_a_repeated_signal_changes_nothing(serve: Serve) -> None:
    """Neither to the master nor to its workers."""
    server = draining(serve)
    workers = server.workers()
    with server.load(threads=2) as load:
        load.sees(10)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.has_markers(2, "draining")
        for _ in range(5):
            server.signal(signal.SIGTERM, server.pid, *workers)
            load.sees(5)
        assert server.wait() == 0
    assert answered_for(load, began) >= 2.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_ctrl_c_stops_at_once(serve: Serve, number: signal.Signals) -> None:
    """SIGINT and SIGQUIT wait for nothing."""
    server = draining(serve, "--graceful-timeout", "60", delay=40.0)
    assert ended(server, number) < 20.0
    assert not statedir.boots(server.state)


def test_ctrl_c_ends_the_delay(serve: Serve) -> None:
    """Who has lost patience does not wait for it either."""
    server = draining(serve, "--graceful-timeout", "60", delay=40.0)
    server.signal(signal.SIGTERM)
    server.has_markers(2, "draining")
    # A terminal sends it to all: gunicorn before 24 hears of nothing more while it stops.
    server.signal(signal.SIGINT, server.pid, *server.workers())
    assert server.wait() == 0


def test_term_during_import(serve: Serve, tmp_path: Path) -> None:
    """Workers that have nothing to serve end as soon as they can."""
    stage = Stage(tmp_path / "stage", "import")
    patient = ("--graceful-timeout", "60")
    server = serve(
        "served:app", *patient, workers=2, stage=stage, env={"FLASK_HEALTH_DRAIN_DELAY": 40}
    )
    eventually(lambda: stage.pids("imported"), lambda pids: len(pids) == 2)
    server.signal(signal.SIGTERM)
    eventually(lambda: "Handling signal: term" in server.log())
    stage.withdraw("import")
    assert server.wait() == 0
    assert not server.markers()


def test_an_earlier_order_shortens_the_delay(serve: Serve) -> None:
    """The time that readiness has been red already, as after a preStop hook, counts."""
    server = draining(serve, delay=4.0)
    (boot,) = statedir.boots(server.state)
    (boot / "drain").touch()
    server.answers(503)
    time.sleep(max(0.0, 3.0 - (time.time() - (boot / "drain").stat().st_mtime)))
    with server.prober() as prober:
        prober.sees(5)
        server.signal(signal.SIGTERM)
        eventually(lambda: prober.codes() - {503}, within=3.5)
        server.wait()


def test_an_order_of_tomorrow_does_not_lengthen_the_delay(serve: Serve) -> None:
    """A clock that was set back since leaves the delay as it is configured."""
    server = draining(serve, delay=2.0)
    (boot,) = statedir.boots(server.state)
    (boot / "drain").touch()
    tomorrow = time.time() + 86_400.0
    os.utime(boot / "drain", (tomorrow, tomorrow))
    server.answers(503)
    assert 2.0 <= ended(server) < 2.0 + 3.0
    assert "SIGKILL" not in server.log()


def test_a_handler_that_ignores_time_is_cut_off(serve: Serve) -> None:
    """It has the rest of `graceful_timeout`, is killed then, and holds up nobody longer."""
    server = draining(serve, "--graceful-timeout", "5", delay=1.0)
    with ThreadPoolExecutor(1) as pool, server.prober(timeout=1.0) as ready:
        for_ever = pool.submit(server.get, "/work?seconds=60", timeout=30.0)
        ready.sees(20)
        assert 5.0 <= ended(server) < 5.0 + 3.0
        assert for_ever.result().code == "reset"
    red = ready.first(503)
    assert red
    assert 200 not in ready.codes(since=red.at)


def test_a_delay_that_does_not_fit_is_shortened(serve: Serve) -> None:
    """One worker says so, with both numbers; then gunicorn kills nobody."""
    server = draining(serve, "--graceful-timeout", "4", delay=30.0, workers=3)
    assert server.log().count("is shortened from 30 s to 1 s") == 1
    assert "graceful_timeout of 4 s" in server.log()
    assert ended(server) < 4.0 + MOMENT
    assert "SIGKILL" not in server.log()


def test_where_the_master_cannot_be_seen(serve: Serve) -> None:
    """With `--reuse-port` the master has no socket to look at: it drains when all were told."""
    server = draining(serve, "--reuse-port")
    with server.load(threads=2) as load:
        load.sees(10)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.has_markers(2, "draining")
        assert server.get().code == 503
        server.wait()
    assert answered_for(load, began) >= 2.0


def test_one_worker_told_by_hand_is_no_drain(serve: Serve) -> None:
    """It leaves, another one comes, and readiness stays green."""
    server = draining(serve)
    first, second = server.workers()
    with server.prober() as prober, server.load() as load:
        load.sees(10)
        server.signal(signal.SIGTERM, first)
        new = eventually(server.workers, lambda pids: first not in pids and len(pids) == 2)
        eventually(load.pids, lambda pids: set(new) <= pids)
    assert second in new
    assert prober.codes() == load.codes() == {200}


def test_a_worker_that_may_open_no_more_files_is_no_drain(serve: Serve) -> None:
    """It cannot see what its master has open, and does not take that for the end of the server."""
    server = draining(serve, *CLASSES["gevent"], delay=1.0)
    first, second = server.workers()
    with server.prober() as prober:
        prober.sees(5)
        _, most = resource.prlimit(first, resource.RLIMIT_NOFILE)
        resource.prlimit(first, resource.RLIMIT_NOFILE, (0, most))
        server.signal(signal.SIGTERM, first)
        eventually(server.workers, lambda pids: first not in pids and len(pids) == 2)
        prober.sees(10)
    assert second in server.workers()
    assert prober.codes() == {200}


# Unix sockets, and the master's own delay


def test_a_unix_socket_needs_the_master(serve: Serve) -> None:
    """gunicorn removes its path at once: nobody waits for nothing, and the log says so."""
    server = draining(serve, bind="sock", delay=5.0)
    assert server.log().count("gunicorn removes the path of a unix socket") == 1
    assert ended(server) < 5.0


@pytest.mark.parametrize("bind", ["", "sock"])
def test_an_installed_master_delays_its_stop(serve: Serve, bind: str) -> None:
    """Readiness is red, requests are served, on unix sockets too; workers add no delay to it."""
    server = draining(serve, bind=bind, config=INSTALL)
    assert "unix socket" not in server.log()
    with server.prober() as ready, server.load() as load:
        load.sees(20)
        began = time.monotonic()
        took = ended(server)
    assert {seen.code for seen in ready.since(began + MOMENT) if seen.at < began + 2.0} == {503}
    assert answered_for(load, began) >= 2.0
    assert 2.0 <= took < 2.0 * 2 + 1.0 + MOMENT


def test_an_installed_master_goes_on_working(serve: Serve) -> None:
    """During its delay it replaces a worker that dies, and SIGINT ends it."""
    config = INSTALL
    server = draining(serve, "--graceful-timeout", "60", config=config, delay=40.0)
    server.signal(signal.SIGTERM)
    server.answers(503)
    victim = server.workers()[0]
    server.kill(victim)
    eventually(server.workers, lambda pids: victim not in pids and len(pids) == 2)
    server.has_markers(2, "ready")
    assert server.get().code == 503
    assert server.get("/work").code == 200
    server.signal(signal.SIGTERM)
    assert server.get("/work").code == 200
    assert ended(server, signal.SIGINT) < 20.0


def test_an_installed_master_waits_as_long_as_it_is_told_last(serve: Serve) -> None:
    """A reload may bring another delay: what the workers before it said does not count."""
    config = 'raw_env = ["FLASK_HEALTH_DRAIN_DELAY={}"]\n' + INSTALL
    server = draining(serve, config=config.format(40))
    old = server.workers()
    (server.home / "gunicorn.conf.py").write_text(config.format(2))
    server.signal(signal.SIGHUP)
    eventually(server.workers, lambda pids: len(pids) == 2 and not set(pids) & set(old))
    server.has_markers(2, "ready")
    with server.load(threads=2) as load:
        load.sees(10)
        began = time.monotonic()
        assert 2.0 <= ended(server) < 2.0 + 1.0 + 2 * MOMENT
    assert answered_for(load, began) >= 2.0


FORKED = """
import os, time

def post_fork(server, worker):
    stage = os.environ["STAGE"]
    if os.path.exists(f"{stage}/fork"):
        open(f"{stage}/forked.facts", "a").write(f"{os.getpid()}\\n")
    while os.path.exists(f"{stage}/fork"):
        time.sleep(0.01)

"""
"""A worker that has the signal handlers of its master still, for as long as it is ordered."""


def test_a_worker_that_was_just_forked_is_not_the_master(serve: Serve) -> None:
    """SIGTERM to it while it still has the master's handlers does not drain the server."""
    server = draining(serve, config=FORKED + INSTALL)
    (boot,) = statedir.boots(server.state)
    server.stage.order("fork")
    server.kill(server.workers()[0])
    (young,) = eventually(lambda: server.stage.pids("forked"), why="forked")
    server.signal(signal.SIGTERM, young)
    server.stage.withdraw("fork")
    server.has_markers(2, "ready")
    assert server.get().code == 200
    assert not (boot / "drain").exists()


def test_an_installed_master_turns_red_during_a_reload(serve: Serve) -> None:
    """gunicorn comes to the signal only when the reload is over; readiness does not wait for it."""
    server = draining(serve, "--graceful-timeout", "60", config=INSTALL, delay=1.0)
    server.stage.order("wait")
    server.signal(signal.SIGHUP)
    server.has_markers(2, "starting")
    server.signal(signal.SIGTERM)
    server.answers(503, within=5.0)
    assert server.get("/work").code == 200
    server.stage.withdraw("wait")
    assert server.wait() == 0
