"""How much room is left on a file system."""

from __future__ import annotations

import os
import shutil
import typing as t

from ..exceptions import Degraded
from .readymade import ReadyMade, number

MEBIBYTE = 1024 * 1024


class disk(ReadyMade):
    """Passes while the file system of a path has room; observes its free bytes.

    Free is what a process without privileges may still use, as `df` tells it. A file system
    without a free inode fails too: no file can be created there. A path on a network file
    system whose server is gone blocks in the kernel, where no timeout of ours reaches.

    :param min_free: less free fails: bytes, or below 1 a share of the whole.
    :param warn_free: less free is degraded: bytes, or below 1 a share. None: never.
    """

    component_type: t.ClassVar[str] = "system"
    measurement: str = "free"
    network: t.ClassVar[bool] = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        min_free: float = 100 * MEBIBYTE,
        warn_free: float | None = None,
    ) -> None:
        self._path = os.fspath(path)
        self._min_free = _amount("min_free", min_free)
        self._warn_free = None if warn_free is None else _amount("warn_free", warn_free)
        if self._warn_free is not None and _misplaced(self._warn_free, self._min_free):
            raise ValueError(f"'warn_free' ({warn_free}) must not be less than 'min_free'.")

    def __call__(self) -> tuple[int, str]:
        """The free bytes; raises when there are too few of them."""
        _, used, free = shutil.disk_usage(self._path)
        usable = used + free  # without what is reserved for root
        told = f"{self._path}: {_human(free)} of {_human(usable)} free, less than"
        if free < _bytes(self._min_free, usable):
            raise RuntimeError(f"{told} {_limit(self._min_free)}")
        if _without_inodes(self._path):
            raise RuntimeError(f"{self._path}: no inode is free; there are too many files")
        if self._warn_free is not None and free < _bytes(self._warn_free, usable):
            raise Degraded(f"{told} {_limit(self._warn_free)}")
        return free, "bytes"


def _amount(name: str, value: object) -> float:
    if (found := number(name, value)) < 0:
        raise ValueError(f"{name!r} must be bytes, or a share below 1, not {value!r}.")
    return found


def _misplaced(warn: float, fail: float) -> bool:
    """Whether the warning would come too late; a share and bytes cannot be compared."""
    return (warn < 1) == (fail < 1) and warn < fail


def _bytes(limit: float, usable: int) -> float:
    return limit * usable if limit < 1 else limit


def _limit(limit: float) -> str:
    return f"{limit:.3g} of it" if limit < 1 else _human(limit)


def _human(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def _without_inodes(path: str) -> bool:
    """Whether the file system counts its inodes (btrfs does not) and has none left."""
    if not hasattr(os, "statvfs"):
        return False
    found = os.statvfs(path)
    return found.f_files > 0 and found.f_favail == 0
