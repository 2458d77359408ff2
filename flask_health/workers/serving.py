"""The life of a worker of any server but gunicorn: starting setup once the app is loaded, leaving,
and ending the whole server when its setup has failed.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import types
import typing as t

from .gunicorn import leave
from .server import Server, frames, members

if t.TYPE_CHECKING:
    from .gate import Gate

log: logging.Logger = logging.getLogger("flask_health")

LOADING_LOOK = 0.02
"""Seconds between two looks at a thread that loads the app."""

FAILED = 3
"""The exit status of a worker whose server ends with it: gunicorn's `WORKER_BOOT_ERROR`."""

FAILED_ALONE = 1
"""The exit status of a server of one; 3 would have Werkzeug's reloader start it again."""

UWSGI_FAILED_APP = 22
"""uWSGI's own exit status for an app that cannot be loaded."""

IN_SCRIPTS = frozenset({"waitress.server", "werkzeug.serving", "werkzeug._reloader"})
"""Modules of servers that a script may call."""


def begin_when_loaded(server: Server, stack: list[types.FrameType], loader: str) -> None:
    """Starts setup when the call in which a server loads the app has returned: only then are all
    steps registered. Where that cannot be seen, the first request starts it.

    :param stack: the frames of this thread, innermost first.
    :param loader: the module or package that called, and is not part of the app.
    """
    loading = _called_by(stack, loader)
    modules = [
        frame.f_globals.get("__name__")
        for frame in stack[: stack.index(loading) + 1]
        if frame.f_code.co_name == "<module>"
    ]
    thread = threading.get_ident()

    def watch() -> None:
        while loading in frames(sys._current_frames().get(thread)):
            time.sleep(LOADING_LOOK)
        if any(name not in sys.modules for name in modules):
            return  # The import failed, and Python has taken the module back.
        for gate in members():
            if gate.server is server:
                gate.begin()

    if not _patched_by_gevent():
        threading.Thread(target=watch, name="flask-health-starter", daemon=True).start()


def _called_by(stack: list[types.FrameType], loader: str) -> types.FrameType:
    """The outermost frame inside the innermost one of a module; without one, the outermost."""
    called = stack[0]
    for frame in stack:
        name = frame.f_globals.get("__name__") or ""
        if name == loader or name.startswith(f"{loader}."):
            break
        called = frame
    return called


def _patched_by_gevent() -> bool:
    # A greenlet never sees the stack of another one.
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def leave_at_exit() -> None:
    """Has the gates of this process withdraw their markers when its interpreter ends. Where a
    server ends it otherwise, the kernel drops their locks.
    """
    atexit.unregister(leave)
    atexit.register(leave)


def exit_if_wanted(gate: Gate) -> None:
    """Ends the server when its setup has failed for good before the gate has ever opened, if that
    is what the configuration asks for.
    """
    setup = gate.setup
    if not (gate.options.exit_on_failure and setup) or gate.event.is_set():
        return
    step = next(p for p in setup.steps if p.error)
    if step.step.retries is not None and not setup.gave_up and step.state == "failed":
        return  # It will be tried again.
    census = gate.census
    if census and census.opened:
        return
    log.critical("setup failed before the gate ever opened: ending the server: %s", step.error)
    status = end(gate.server)
    if status is None:
        return
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


def end(server: Server) -> int | None:
    """Has the server of this process end, as far as a worker can.

    :return: the status that this process has to exit with for that; None when it must go on.
    """
    if server.kind == "mod_wsgi":
        return None  # Apache is not ours to end, and would start this process again for ever.
    if server.role == "alone":
        return FAILED_ALONE if server.kind or _main_thread_serves() else None
    if server.kind == "uwsgi":
        options = sys.modules["uwsgi"].opt
        if options.get("lazy-apps") and options.get("need-app"):
            return UWSGI_FAILED_APP
        _signal_master(server, "SIGINT")
    if server.kind == "uvicorn":
        _signal_master(server, "SIGTERM")
    return FAILED


def _signal_master(server: Server, name: str) -> None:
    if server.master not in (os.getpid(), 0, 1):
        import signal

        with contextlib.suppress(OSError):
            os.kill(server.master, getattr(signal, name))


def _main_thread_serves() -> bool:
    """Whether this is a script that serves, as with `app.run()`: not a test that only calls us."""
    main = sys._current_frames().get(threading.main_thread().ident or 0)
    return any(frame.f_globals.get("__name__") in IN_SCRIPTS for frame in frames(main))
