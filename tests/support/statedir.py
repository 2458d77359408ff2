"""Reading a state directory as an outsider: the names and the locks in it."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from support.waiting import eventually


class Marker(NamedTuple):
    """A file `worker.<age>.<pid>.<start>.<expected>.<state>` and who holds its lock."""

    age: int
    pid: int
    start: int
    expected: int
    state: str
    held: bool
    path: Path


def marker(path: Path) -> Marker:
    """Parse the name of a marker and try its lock."""
    _, age, pid, start, expected, state = path.name.split(".")
    return Marker(int(age), int(pid), int(start), int(expected), state, held(path), path)


def held(path: Path) -> bool:
    """Tell whether another process holds the lock of `path`; False if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def ours(base: Path) -> Path:
    """Return the component of the state directory that belongs to this user."""
    return base / f"flask-health-{os.geteuid()}"


def boots(base: Path) -> list[Path]:
    """Return the directories of the boots below `base`, oldest first."""
    found = ours(base).glob("v1-*")
    return sorted((p for p in found if p.is_dir()), key=lambda p: p.stat().st_ctime)


def markers(base: Path, state: str = "*") -> list[Marker]:
    """Return all markers below `base` in that state, by age, held or not."""
    found = ours(base).glob(f"v1-*/worker.*.{state}")
    return sorted(marker(path) for path in found)


def remove(path: Path | str) -> None:
    """Remove a directory as a whole, again if a worker has written to it meanwhile."""

    def removed() -> bool:
        with suppress(OSError):
            shutil.rmtree(path)
            return True
        return not Path(path).exists()

    eventually(removed, every=0.0, why="removed")


def names(base: Path) -> list[str]:
    """Return every name below the user's component, for messages."""
    return sorted(str(path.relative_to(base)) for path in ours(base).rglob("*"))
