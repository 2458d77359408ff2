"""What the kernel says about the processes of a session (Linux: `/proc`)."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One line of `/proc/<pid>/stat`; `start` is in clock ticks since boot."""

    pid: int
    state: str
    ppid: int
    session: int
    start: int

    @property
    def runs(self) -> bool:
        """False for a zombie: it is dead and only waits to be reaped."""
        return self.state not in "ZX"


def process(pid: int) -> Process | None:
    """Return what the kernel knows about `pid`, None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return Process(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def running(pid: int) -> bool:
    """Tell whether `pid` is a process that has not ended."""
    found = process(pid)
    return found is not None and found.runs


def stopped(pid: int) -> bool:
    """Tell whether no thread of a process runs any more; each stops when it is scheduled next."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    try:
        return {path.read_text().rpartition(")")[2][1] for path in threads} <= set("TZX")
    except (FileNotFoundError, ProcessLookupError):  # one has just ended: look again
        return False


def all_running() -> list[Process]:
    """Return every process that has not ended, oldest first."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    found = (process(pid) for pid in pids)
    return sorted((p for p in found if p and p.runs), key=lambda p: (p.start, p.pid))


def children(ppid: int) -> list[int]:
    """Return the running children of `ppid`, oldest first."""
    return [p.pid for p in all_running() if p.ppid == ppid]


def in_session(session: int) -> list[int]:
    """Return the running processes of a session, oldest first."""
    return [p.pid for p in all_running() if p.session == session]


def locks(pid: int) -> list[str]:
    """Return the files on which `pid` holds a lock, alone or with a parent that forked it."""
    found = []
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            if "lock:" in info.read_text():
                found.append(os.readlink(f"/proc/{pid}/fd/{info.name}"))
    return found


def send(number: signal.Signals, *pids: int) -> None:
    """Send a signal to each process; one that is gone already is no error."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
