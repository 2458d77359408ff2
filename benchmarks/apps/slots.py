"""Which of a server's workers this process is, and when its setup ended.

Each has a directory in `BENCHMARK_SLOTS`; `mkdir` is atomic: whoever makes `slot-N` owns it.
"""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

VARIABLE = "BENCHMARK_SLOTS"

NEVER_READY = "BENCHMARK_NEVER_READY"
"""Where this is set, the setup of worker 0 does not end."""


def take() -> int:
    """The number of this process: 0 for the first that asks, 1 for the second, ..."""
    for number in count():
        try:
            _slot(number).mkdir()
        except FileExistsError:
            continue
        return number
    raise AssertionError("unreachable")


def record_end(number: int) -> None:
    """Writes down that the setup of this process has ended, now."""
    text = f"{os.getpid()} {time.monotonic()!r}"
    temporary = _slot(number) / "end.tmp"
    temporary.write_text(text)
    temporary.rename(_slot(number) / "end")


def ends(directory: str | Path) -> dict[int, float]:
    """The pids of the workers whose setup has ended -> when, in `time.monotonic()` seconds."""
    texts = [path.read_text().split() for path in Path(directory).glob("slot-*/end")]
    return {int(pid): float(moment) for pid, moment in texts}


def _slot(number: int) -> Path:
    return Path(os.environ[VARIABLE]) / f"slot-{number}"
