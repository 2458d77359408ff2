"""The gunicorn hooks, for those who want them explicit.

The extension needs no configuration of gunicorn: it finds its worker by itself. As the last line
of a `gunicorn.conf.py` these hooks do the same where everyone can see it, and have the master
itself delay its stop by the drain delay, which helps on unix sockets too, and not tell systemd that
the server is ready before it is::

    from flask_health.gunicorn import install

    install(globals())
"""

from __future__ import annotations

import collections.abc as _cabc
import logging as _logging
import os as _os
import typing as _t

__all__ = ["install"]

# gunicorn reads every global of a configuration module that is named like one of its settings:
# this module has none, and imports under names that are none.
_log = _logging.getLogger("flask_health")
_MARK = "_flask_health_hook"


def install(namespace: dict[str, _t.Any]) -> None:
    """Adds our hooks to a gunicorn configuration file. A hook that the file defines itself still
    runs: before ours when the master starts and when a worker is about to accept, after ours when
    a worker ends.

    :param namespace: `globals()` of the file, after its own hooks.
    :raises TypeError: for anything else than a dict.
    """
    if not isinstance(namespace, dict):
        raise TypeError(f"install() takes globals(), not {namespace!r}")
    own_start, own_end = namespace.get("post_worker_init"), namespace.get("worker_exit")
    own_master, own_ready = namespace.get("on_starting"), namespace.get("when_ready")
    hidden: dict[str, str] = {}

    def on_starting(server: _t.Any) -> None:
        if own_master:
            own_master(server)
        _quietly(lambda: _delay(server))
        # Between these two hooks gunicorn tells systemd that it is ready.
        if "NOTIFY_SOCKET" in _os.environ:
            hidden["NOTIFY_SOCKET"] = _os.environ.pop("NOTIFY_SOCKET")

    def when_ready(server: _t.Any) -> None:
        _os.environ.update(hidden)
        if own_ready:
            own_ready(server)

    def post_worker_init(worker: _t.Any) -> None:
        if own_start:
            own_start(worker)
        _quietly(lambda: _server().serve(worker))

    def worker_exit(server: _t.Any, worker: _t.Any) -> None:
        _quietly(lambda: _server().leave())
        if own_end:
            own_end(server, worker)

    ours = (
        *((on_starting, own_master), (when_ready, own_ready)),
        *((post_worker_init, own_start), (worker_exit, own_end)),
    )
    for hook, own in ours:
        if not hasattr(own, _MARK):
            setattr(hook, _MARK, True)
            namespace[hook.__name__] = hook


def _server() -> _t.Any:
    from .workers import gunicorn

    return gunicorn


def _delay(server: _t.Any) -> None:
    from .workers import master

    master.delay(server)


def _quietly(act: _cabc.Callable[[], object]) -> None:
    # An exception in a hook would end the worker, and before it has booted the whole server.
    try:
        act()
    except Exception:
        _log.exception("a gunicorn hook of Flask-Health failed")
