"""What the kernel tells about processes: start times, children, who is alive."""

from __future__ import annotations

import contextlib
import errno
import os
from _weakrefset import WeakSet  # As of `weakref`, which takes longer to import than all of this.

try:
    # Not `os.close`: gevent replaces it by one that closes later, or never in a forked child.
    from posix import close
except ImportError:  # Windows
    from os import close


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since the kernel's boot.

    0 where the platform does not tell (no `/proc`), or for a process that is gone.
    """
    fields = stat_fields(pid)
    return int(fields[19]) if fields else 0


def parent(pid: int) -> int:
    """The parent of a process; 0 where the platform does not tell."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else 0


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to notice."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] in "ZX"


def is_alive(pid: int, start: int) -> bool:
    """Whether the process of this start time still runs."""
    fields = stat_fields(pid)
    if not fields:
        return exists(pid)  # Perhaps we may open no more files: nobody is dead for that.
    return int(fields[19]) == start and fields[0] not in "ZX"


def exists(pid: int) -> bool:
    """Whether there is a process of this number, be it somebody else's."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def children(pid: int) -> frozenset[int] | None:
    """The living children of a process; None where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            found = file.read().split()
    except (OSError, ValueError):
        return None
    return frozenset(int(child) for child in found if not is_zombie(int(child)))


def forked_children(pid: int) -> frozenset[int] | None:
    """Those of them that run the same program: a gunicorn master forks its workers, and executes
    anew the master of an upgrade. None where the kernel does not tell.
    """
    found = children(pid)
    return found and frozenset(child for child in found if is_forked(child))


def is_forked(pid: int) -> bool:
    """Whether a process has executed no program since it was forked."""
    fields = stat_fields(pid)
    return bool(fields) and bool(int(fields[6]) & FORKED_ONLY)


FORKED_ONLY = 0x40
"""`PF_FORKNOEXEC` in Linux's `include/linux/sched.h`."""


def open_files(pid: int) -> frozenset[str]:
    """What a process has open, as the kernel names it; empty where it does not tell us.

    :raises OSError: when we may open no more files ourselves.
    """
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return frozenset()
    found = set()
    for fd in fds:
        with contextlib.suppress(OSError):  # Closed meanwhile.
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return frozenset(found)


__all__ = [
    "children",
    "close",
    "exists",
    "forked_children",
    "is_alive",
    "is_forked",
    "is_zombie",
    "kernel_identity",
    "open_files",
    "parent",
    "start_time",
    "stat_fields",
    "when_forked",
]


TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing as t

    class Inherited(t.Protocol):
        """Something that a forked child must not share with its parent."""

        def let_go(self) -> None:
            """Closes what the child has inherited."""


_inherited: WeakSet[Inherited] = WeakSet()


def when_forked(thing: Inherited) -> None:
    """Has a thing let go in every child that this process forks."""
    _inherited.add(thing)


def _let_go() -> None:
    for thing in list(_inherited):
        thing.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def kernel_identity() -> str:
    """A text that differs between two boots of the kernel and between pid namespaces."""
    return f"{_boot_id()} {_pid_namespace()}"


def stat_fields(pid: int) -> list[str]:
    """The fields of `/proc/<pid>/stat`, from the state on; none when it cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The command's name stands in parentheses and may itself contain spaces and ")".
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
