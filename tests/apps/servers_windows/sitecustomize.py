"""On the path of a process, takes from it what Windows does not have: forks, locks, `/proc`."""

from __future__ import annotations

# What decides by the name of the platform has to find its parts before they go.
import asyncio  # noqa: F401
import builtins
import concurrent.futures.thread  # noqa: F401
import io
import logging.handlers  # noqa: F401
import multiprocessing.util  # noqa: F401
import os
import pathlib  # noqa: F401
import random  # noqa: F401
import select
import signal
import socketserver  # noqa: F401
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401
from typing import Any

for module in ("fcntl", "posix", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None  # type: ignore[assignment]

for owner, names in {
    os: "fork forkpty register_at_fork pidfd_open geteuid getuid getegid getgid getpgid killpg "
    "setsid O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_NONBLOCK sched_getaffinity",
    signal: "siginterrupt SIGQUIT SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGKILL SIGCHLD",
    select: "epoll poll",
}.items():
    for name in names.split():
        if hasattr(owner, name):
            delattr(owner, name)

_open, _stat, _listdir = builtins.open, os.stat, os.listdir


def _check(path: object) -> None:
    if str(path).startswith("/proc"):
        raise FileNotFoundError(2, "there is no such directory here", path)


def no_proc(path: Any, *args: Any, **kwargs: Any) -> Any:
    """Open a file, but none of `/proc`."""
    _check(path)
    return _open(path, *args, **kwargs)


def no_dir_fd(path: Any, *args: Any, **kwargs: Any) -> Any:
    """Look at a file, but none of `/proc` and none below a descriptor."""
    _check(path)
    if kwargs.get("dir_fd") is not None:
        raise NotImplementedError("dir_fd unavailable on this platform")
    return _stat(path, *args, **kwargs)


def no_listing(path: Any = ".") -> list[Any]:
    """List a directory, but not one of `/proc` and not a descriptor."""
    _check(path)
    if isinstance(path, int):
        raise TypeError("listdir: path should be string, bytes or os.PathLike, not int")
    return _listdir(path)


replaced: Any = no_proc
builtins.open = io.open = replaced
os.stat = no_dir_fd
os.listdir = no_listing
os.supports_dir_fd.clear()
os.supports_fd.clear()
