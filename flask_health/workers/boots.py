"""The directories of boots: found or made by who joins, removed by who leaves last or joins later.

A lock on the directory itself says that it is in use: who joins shares it, who removes it must have
it alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

from .process import close
from .statedir import DIRECTORY, Lock, StateDir, Unusable, try_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections.abc as cabc


def join(boot: str, bases: cabc.Sequence[str], problems: list[str]) -> StateDir | None:
    """The directory of a boot: joined where a sibling created it, else created in the first
    usable base; None when there is none.

    What is wrong with the bases that come before it replaces the content of `problems`.
    """
    for create in (False, True):
        problems.clear()
        for base in bases:
            try:
                directory = _enter(base, boot, create)
            except (Unusable, OSError) as error:
                why = (isinstance(error, OSError) and error.strerror) or error
                problems.append(f"{base} cannot hold shared state: {why}")
                continue
            if directory:
                _sweep(os.path.dirname(directory.path))
                return directory
            if not os.access(base, os.W_OK | os.X_OK):
                problems.append(f"{base} cannot hold shared state: it is not writable")
    return None


def remove_if_unused(path: str) -> None:
    """Removes the directory of a boot, unless a living process uses it."""
    with contextlib.suppress(OSError):
        fd = os.open(path, DIRECTORY)
        # Who joins meanwhile fails to get its own lock, and looks again: see _enter.
        if try_lock(fd):
            try:
                # Another one may have been made at this path since it was opened; this one stays
                # where it is now, for whoever removes it needs the lock.
                if os.path.samestat(os.fstat(fd), os.lstat(path)):
                    _empty(fd)
                    os.rmdir(path)
            finally:
                close(fd)


def _enter(base: str, boot: str, create: bool) -> StateDir | None:
    home = os.path.join(base, f"flask-health-{os.geteuid()}")
    name = f"v1-{boot}"
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        home_fd = _open_private(home, create)
        if home_fd is None:
            return None
        try:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=home_fd)
            fd = os.open(name, DIRECTORY, dir_fd=home_fd)
        except FileNotFoundError:
            if not create:
                return None
            continue  # Swept between the two calls: look again.
        finally:
            close(home_fd)
        directory = _occupy(os.path.join(home, name), fd)
        if directory:
            if create:
                _prove_writable(directory)
            return directory
        time.sleep(0.01)  # It is being swept: look again.
    raise Unusable("the directory vanishes again and again")


def _open_private(path: str, create: bool) -> int | None:
    """Opens a directory that is ours alone; None when there is none."""
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    try:
        fd = os.open(path, DIRECTORY)
    except FileNotFoundError:
        if create:
            raise
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Unusable(f"{os.path.basename(path)} is not a real directory") from None
        raise
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077:
        return fd
    close(fd)
    raise Unusable(
        f"{os.path.basename(path)} must belong to uid {os.geteuid()} with mode 0700, "
        f"not to uid {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}"
    )


def _prove_writable(directory: StateDir) -> None:
    name = f".tmp.{os.getpid()}.probe"
    directory.create(name)
    directory.remove(name)


def _occupy(path: str, fd: int) -> StateDir | None:
    """Marks a directory as used by this process; None when a sweeper was faster."""
    presence = os.open(".", DIRECTORY, dir_fd=fd)
    try:
        if not try_lock(presence, shared=True):
            close(fd)
            return None
    except OSError:  # A file system without locks.
        close(fd)
        raise
    directory = StateDir(path, fd, Lock(presence))
    return directory if directory.in_place() else None


def _sweep(home: str) -> None:
    """Removes the directories of boots that no living process uses."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(home):
            if entry.name.startswith("v1-"):
                remove_if_unused(entry.path)


def _empty(fd: int) -> None:
    for name in os.listdir(fd):
        try:
            os.unlink(name, dir_fd=fd)
        except (IsADirectoryError, PermissionError):  # As Linux and macOS say it.
            folder = os.open(name, DIRECTORY, dir_fd=fd)
            try:
                _empty(folder)
            finally:
                close(folder)
            os.rmdir(name, dir_fd=fd)
