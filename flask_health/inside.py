"""What happens inside an app context: what an app has registered is called, and told of changes."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import logging
import typing as t

from .signals import status_changed
from .workers.calling import call_natively, gevent_rules

if t.TYPE_CHECKING:
    import flask

    from .workers.board import Transition

log: logging.Logger = logging.getLogger("flask_health")


def call(app: flask.Flask, function: cabc.Callable[[], object], native: bool) -> object:
    """Calls a step or a check, which may be async.

    :param native: under gevent, on a native thread instead of in a greenlet.
    """
    # Under gevent an event loop needs a thread of its own.
    apart = inspect.iscoroutinefunction(function) and gevent_rules()

    def inside() -> object:
        with app.app_context():
            if apart:
                import asyncio

                return asyncio.run(t.cast("cabc.Coroutine[t.Any, t.Any, t.Any]", function()))
            return app.ensure_sync(function)()

    return call_natively(inside) if native or apart else inside()


def send(app: flask.Flask, transition: Transition) -> None:
    """Sends `status_changed`."""
    told = {
        "check": transition.check,
        "old": transition.old,
        "new": transition.new,
        "output": transition.output,
        "failures": transition.failures,
        "outage": transition.outage,
    }
    with app.app_context():
        # One by one: a receiver that raises must not keep the others from hearing.
        for receiver in status_changed.receivers_for(app):
            try:
                receiver(app, **told)
            except Exception:
                log.exception("a receiver of 'status_changed' raised")
