"""What a worker process uses, as the kernel counts it."""

from __future__ import annotations

import os

from .process import stat_fields


def uptime(pid: int) -> float | None:
    """Seconds since a process started; None where the kernel does not tell."""
    fields = stat_fields(pid)
    try:
        with open("/proc/uptime", encoding="utf-8") as file:
            running = float(file.read().split()[0])
        return round(running - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 2)
    except (OSError, ValueError, IndexError):
        return None


def vitals(pid: int) -> dict[str, object]:
    """Resident memory in bytes, share of one CPU since its start (1.0: all of it), threads and open
    files of a process; what the kernel does not tell is missing.
    """
    found: dict[str, object] = {}
    fields, age = stat_fields(pid), uptime(pid)
    if fields:
        found["memory"] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found["threads"] = int(fields[17])
        if age:
            ticks = int(fields[11]) + int(fields[12])
            found["cpu"] = round(ticks / os.sysconf("SC_CLK_TCK") / age, 4)
    try:
        found["files"] = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        pass  # Not ours to see, or gone.
    return found
