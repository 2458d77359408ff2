"""The servers other than gunicorn, without any configuration of them: one function per server.

    uWSGI           the master imports the app, its workers are forked from C: no hook of Python's
                    runs, but uWSGI's own does; with `lazy-apps` each worker imports the app
    granian         each worker process imports the app
    hypercorn       as granian, in spawned interpreters
    uvicorn         as hypercorn
    mod_wsgi        each daemon process imports the app, at its start or with its first request
    waitress-serve, flask run   one process: a server of one

Each is known by what is on the stack while the app is loaded, or by the module that it offers.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import types
import typing as t
from pathlib import Path

from .process import start_time
from .server import Server, frames, members
from .serving import begin_when_loaded, leave_at_exit

log: logging.Logger = logging.getLogger("flask_health")

Stack = list[types.FrameType]
"""Frames, innermost first."""


def locate(frame: types.FrameType | None, workers: int | None) -> Server | None:
    """The server whose worker, master or only process runs this frame, and sees to it that setup
    starts there; None when there is none that we know.

    :param workers: `HEALTH_WORKERS`, for a server that does not tell its number of workers.
    """
    stack = frames(frame)
    for find in (_mod_wsgi, _uwsgi, _granian, _hypercorn, _uvicorn, _waitress, _flask_run):
        server = find(stack)
        if server is None:
            continue
        if server.role != "alone":
            leave_at_exit()
            server.workers = server.workers or workers or _unknown_number(server.kind)
        return server
    return None


def _uwsgi(stack: Stack) -> Server | None:
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None or not hasattr(uwsgi, "worker_id"):
        return None
    server = _uwsgi_now(uwsgi)
    if not getattr(uwsgi, "has_threads", True):
        log.warning(
            "uWSGI runs without threads: setup only goes on while a request is handled. Set "
            "'enable-threads = true'"
        )
    if server.role == "master":
        _chain_post_fork(uwsgi)
    else:
        begin_when_loaded(server, stack, "__main__")  # The script of `pyuwsgi`, if anything.
    return server


def _uwsgi_now(uwsgi: t.Any) -> Server:
    """What this process is to uWSGI now. Without a master the first worker forks the others."""
    number = uwsgi.worker_id()
    parent = os.getpid() if number == 1 and not uwsgi.masterpid() else os.getppid()
    wanted = uwsgi.opt.get("cheaper-initial") or uwsgi.opt.get("cheaper") or uwsgi.numproc
    return Server(
        role="worker" if number else "master",
        kind="uwsgi",
        master=parent if number else os.getpid(),
        workers=int(wanted),
        age=number,
        forks=True,
        found_again=lambda: _uwsgi_now(uwsgi),
    )


def _chain_post_fork(uwsgi: t.Any) -> None:
    before = getattr(uwsgi, "post_fork_hook", None)
    if getattr(before, "flask_health", False):
        return

    def post_fork_hook() -> None:
        try:
            if before is not None:
                before()
            for gate in members():
                gate.begin()
        except KeyboardInterrupt:  # A stop; uWSGI would swallow it, and wait for this worker.
            os._exit(0)

    post_fork_hook.flask_health = True  # type: ignore[attr-defined]
    uwsgi.post_fork_hook = post_fork_hook


def _mod_wsgi(stack: Stack) -> Server | None:
    mod_wsgi: t.Any = sys.modules.get("mod_wsgi")
    group = getattr(mod_wsgi, "process_group", None)
    if group is None or not hasattr(mod_wsgi, "maximum_processes"):
        return None  # The package of this name can be imported anywhere.
    server = Server(kind="mod_wsgi")
    if group:  # Else embedded: Apache starts and ends such processes as it likes.
        server = _worker("mod_wsgi", mod_wsgi.maximum_processes)
        server.group = f"{group}|{mod_wsgi.application_group}"
    begin_when_loaded(server, stack, "__main__")
    return server


def _granian(stack: Stack) -> Server | None:
    if not _caller(stack, "granian._internal", "load_target"):
        return None
    server = Server(kind="granian")
    if _has_parent():  # Else its workers are threads of one process.
        master = _caller(stack, "granian.server.common", "startup", "_respawn_workers")
        wanted = master.f_locals["self"].workers if master else _granian_option()
        server = _worker("granian", wanted)
        server.forks = master is not None
    begin_when_loaded(server, stack, "granian")
    return server


def _granian_option() -> int:
    """The number of workers on granian's command line, which a spawned worker knows; else 0."""
    program = Path(sys.argv[0])
    if "granian" not in (program.name, program.parent.name):
        return 0
    cli: t.Any = importlib.import_module("granian.cli").cli
    command = cli.make_context("granian", sys.argv[1:], auto_envvar_prefix="GRANIAN")
    return int(command.params["workers"])


def _hypercorn(stack: Stack) -> Server | None:
    for name in ("hypercorn.asyncio.run", "hypercorn.trio.run"):
        runner = _caller(stack, name, "asyncio_worker", "uvloop_worker", "trio_worker")
        if runner is not None:
            return _spawned("hypercorn", runner.f_locals["config"].workers, stack)
    return None


def _uvicorn(stack: Stack) -> Server | None:
    loader = _caller(stack, "uvicorn.config", "load", "load_app")
    return loader and _spawned("uvicorn", loader.f_locals["self"].workers, stack)


def _spawned(kind: str, workers: int, stack: Stack) -> Server:
    server = _worker(kind, workers) if _has_parent() else Server(kind=kind)
    begin_when_loaded(server, stack, kind)
    return server


def _has_parent() -> bool:
    """Whether `multiprocessing` started this process; then it is loaded."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None


def _waitress(stack: Stack) -> Server | None:
    if not _caller(stack, "waitress.runner", "run"):
        return None
    server = Server(kind="waitress")
    begin_when_loaded(server, stack, "waitress")
    return server


def _flask_run(stack: Stack) -> Server | None:
    command = _caller(stack, "flask.cli", "run_command")
    if command is None:
        return None
    server = Server(kind="werkzeug")
    reload = command.f_locals.get("reload")
    if reload is None:
        reload = command.f_globals["get_debug_flag"]()
    if not reload or os.environ.get("WERKZEUG_RUN_MAIN") == "true":  # Else the reloader's parent.
        begin_when_loaded(server, stack, "flask.cli")
    return server


def _worker(kind: str, workers: int) -> Server:
    """A worker that is a child of its master, ordered among the others by its start."""
    started = start_time(os.getpid()) or time.time_ns() // 10_000_000
    return Server("worker", kind, os.getppid(), workers, age=started)


def _unknown_number(kind: str) -> int:
    log.error("the number of workers of %s is unknown: set 'HEALTH_WORKERS'", kind)
    return 1


def _caller(stack: Stack, module: str, *functions: str) -> types.FrameType | None:
    """The innermost frame of one of these functions of a module."""
    for frame in stack:
        if frame.f_code.co_name in functions and frame.f_globals.get("__name__") == module:
            return frame
    return None
