"""`flask_health.gunicorn.install(globals())` in a gunicorn.conf.py."""

from __future__ import annotations

import signal

from support.gunicorn import Serve
from support.waiting import eventually

INSTALL = """
from flask_health.gunicorn import install
install(globals())
"""

HOOKS = """
import os, sys
sys.path.insert(0, os.path.dirname(os.environ["STAGE"]))

def told(name, line):
    path = os.path.join(os.environ["STAGE"], name + ".facts")
    with open(path, "a") as fact:
        fact.write(f"{line}\\n")

def on_starting(server):
    told("on_starting", server.pid)

def when_ready(server):
    told("when_ready", server.pid)

def on_reload(server):
    told("on_reload", server.pid)

def nworkers_changed(server, new, old):
    told("nworkers_changed", f"{new} {old}")

def pre_fork(server, worker):
    told("pre_fork", server.pid)

def post_fork(server, worker):
    told("post_fork", worker.pid)

def post_worker_init(worker):
    told("post_worker_init", worker.pid)

def worker_exit(server, worker):
    told("worker_exit", worker.pid)

def child_exit(server, worker):
    told("child_exit", worker.pid)

def on_exit(server):
    told("on_exit", server.pid)
"""


def test_installed_hooks_gate_the_server(serve: Serve) -> None:
    """The explicit hooks give what the extension finds by itself."""
    server = serve(config=INSTALL, env={"SETUP_SECONDS": 0.5})
    assert server.get().answer == (503, "not ready")
    assert server.answers(200).body == "ok"
    assert sorted(server.stage.pids("started")) == sorted(server.workers())


def test_hooks_of_the_file_are_kept(serve: Serve) -> None:
    """Each hook of the file runs as often as without ours, with gunicorn's arguments."""
    server = serve(config=HOOKS + INSTALL)
    server.answers(200)
    first = server.workers()
    stage = server.stage
    assert stage.pids("on_starting") == stage.pids("when_ready") == [server.pid]
    assert stage.facts("nworkers_changed") == ["3 None"]
    assert sorted(stage.pids("post_worker_init")) == sorted(first)
    server.kill(first[0])
    server.has_markers(3, "ready")
    eventually(lambda: stage.pids("child_exit"), lambda pids: pids == [first[0]])
    last = server.workers()
    assert server.stop() == 0
    assert sorted(stage.pids("worker_exit")) == sorted(last)
    assert stage.pids("on_exit") == [server.pid]
    assert len(stage.pids("pre_fork")) == 4


def test_hooks_survive_a_reload(serve: Serve) -> None:
    """HUP executes the file again: the hooks work for the new workers too, once each."""
    server = serve(config=HOOKS + INSTALL)
    server.answers(200)
    server.signal(signal.SIGHUP)
    stage = server.stage
    eventually(lambda: stage.pids("finished"), lambda pids: len(pids) == 6)
    server.has_workers(3)
    server.has_markers(3, "ready")
    server.answers(200)
    assert stage.pids("on_reload") == [server.pid]
    assert len(stage.pids("post_worker_init")) == 6
    assert len(stage.pids("started")) == 6


def test_preload_with_installed_hooks(serve: Serve) -> None:
    """Explicit hooks and --preload: setup runs once per worker, not in the master."""
    server = serve("served:app", "--preload", config=INSTALL)
    server.answers(200)
    assert sorted(server.stage.pids("started")) == sorted(server.workers())
