"""Threads and waiting as the operating system has them, also where gevent has replaced both.

Sockets are those of `_socket`: the class in `socket` makes more of its kind by a name that gevent
replaces, and the module below it is what gevent itself stands on.
"""

from __future__ import annotations

import collections.abc as cabc
import importlib
import sys
import typing as t


def original(module: str, name: str) -> t.Any:
    """A member of a standard module, as it was before gevent replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


def start(target: cabc.Callable[[], object]) -> None:
    """Runs a function in a native thread that ends with the process.

    :raises RuntimeError: when this process may have no more threads.
    """
    original("_thread", "start_new_thread")(target, ())
