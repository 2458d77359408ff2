"""On the path of a process, takes from it what macOS does not have: `/proc`, pidfds, epoll."""

from __future__ import annotations

# In Python 3.10 pathlib makes methods of functions that it finds: it has to find the real ones.
import builtins
import io
import os
import pathlib  # noqa: F401
import select
from typing import Any

for owner, name in ((os, "pidfd_open"), (select, "epoll")):
    if hasattr(owner, name):
        delattr(owner, name)

_open, _stat = builtins.open, os.stat


def _check(path: object) -> None:
    if str(path).startswith(("/proc", "/dev/shm")):
        raise FileNotFoundError(2, "there is no such directory here", path)


def no_proc(path: Any, *args: Any, **kwargs: Any) -> Any:
    """Open a file, but none of `/proc`."""
    _check(path)
    return _open(path, *args, **kwargs)


def no_stat(path: Any, *args: Any, **kwargs: Any) -> Any:
    """Look at a file, but at none of `/proc`."""
    _check(path)
    return _stat(path, *args, **kwargs)


replaced: Any = no_proc
builtins.open = io.open = replaced
os.stat = no_stat
