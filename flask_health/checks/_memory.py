"""How much of the memory that this process may use is used."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ..exceptions import Degraded
from .readymade import ReadyMade, number

NO_LIMIT = 1 << 60
"""Bytes; what cgroup v1 writes for "no limit" is rounded, and larger than this."""


class Use(t.NamedTuple):
    """Bytes used of those that may be, and who sets the limit."""

    used: int
    limit: int
    where: str

    @property
    def share(self) -> float:
        return self.used / self.limit


class memory(ReadyMade):
    """Passes while memory is left; observes the percentage used.

    In a container that is the memory of its cgroup, v2 or v1, against its limit, without the page
    cache that the kernel gives back first: what the kubelet calls the working set. Limits of
    cgroups above count too: the fullest is told. Without a limit it is the machine's memory, less
    what is available; where there is no `/proc`, psutil (extra `memory`) reads it.

    :param max_used: a share from 0 to 1; more fails.
    :param warn_used: a share from 0 to 1; more is degraded. None: never.
    """

    component_type: t.ClassVar[str] = "system"
    measurement: str = "utilization"
    network: t.ClassVar[bool] = False
    root: Path = Path("/")

    def __init__(self, max_used: float = 0.95, *, warn_used: float | None = None) -> None:
        self._max_used = _share("max_used", max_used)
        self._warn_used = None if warn_used is None else _share("warn_used", warn_used)
        if self._warn_used is not None and self._warn_used > self._max_used:
            raise ValueError(
                f"'warn_used' ({warn_used:g}) must not exceed 'max_used' ({max_used:g})."
            )

    def __call__(self) -> tuple[float, str]:
        """The percentage used; raises when it is too much."""
        use = fullest(self.root)
        told = f"{use.used >> 20} of {use.limit >> 20} MiB of {use.where} used, more than"
        if use.share > self._max_used:
            raise RuntimeError(f"{told} {self._max_used:.0%}")
        if self._warn_used is not None and use.share > self._warn_used:
            raise Degraded(f"{told} {self._warn_used:.0%}")
        return round(100 * use.share, 2), "percent"


def fullest(root: Path) -> Use:
    """Of the cgroups this process is in, the fullest with a limit; without one, the machine."""
    return max(_cgroups(root), key=lambda use: use.share, default=None) or _machine(root)


def _machine(root: Path) -> Use:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except FileNotFoundError:
        import psutil

        told = psutil.virtual_memory()
        return Use(told.total - told.available, told.total, "the machine")
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line}
    total = sizes["MemTotal"]
    return Use(total - sizes["MemAvailable"], total, "the machine")


def _cgroups(root: Path) -> t.Iterator[Use]:
    """Each cgroup that this process is in and that has a limit, from its own upwards."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except FileNotFoundError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for folder in _upwards(mounts, path):
                yield from _v2(folder)
        elif "memory" in controllers.split(","):
            for folder in _upwards(mounts / "memory", path):
                yield from _v1(folder)


def _upwards(mount: Path, path: str) -> t.Iterator[Path]:
    """The folder of a cgroup and those above it.

    In a container the path may be the host's, of which the mount shows the last part only: as
    its top.
    """
    folder = mount / path.strip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _v2(folder: Path) -> t.Iterator[Use]:
    return _use(folder, "memory.max", "memory.current", "inactive_file")


def _v1(folder: Path) -> t.Iterator[Use]:
    names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    return _use(folder, *names)


def _use(folder: Path, limit: str, current: str, cache: str) -> t.Iterator[Use]:
    try:
        most = (folder / limit).read_text().strip()
        if most in ("max", "0") or int(most) >= NO_LIMIT:
            return
        used = int((folder / current).read_text()) - _statistic(folder, cache)
    except OSError:
        return  # not there, as at the top of v2, or not readable
    yield Use(max(used, 0), int(most), f"the cgroup {folder.name}")


def _statistic(folder: Path, name: str) -> int:
    for line in (folder / "memory.stat").read_text().splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def _share(name: str, value: object) -> float:
    if not 0 < (found := number(name, value)) <= 1:
        raise ValueError(f"{name!r} must be a share above 0 and up to 1, not {value!r}.")
    return found
