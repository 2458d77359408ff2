"""What served apps share: they obey the orders of a test and tell it facts.

Orders are files in the directory that the environment names STAGE; a step may put
a prefix before them. `wait`: the step waits while it exists; `go.<pid>` lets one
process pass. `hang`: the same without exception. `raise`, `exit`: the step ends in
RuntimeError, in SystemExit. Facts are lines appended to `<name>.facts` there.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

STAGE = Path(os.environ["STAGE"])


def ordered(name: str) -> bool:
    """Tell whether the test has given this order."""
    return (STAGE / name).exists()


def tell(name: str, line: object) -> None:
    """Append a line to a fact, in one write: processes do not cut each other's lines."""
    path = STAGE / f"{name}.facts"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def perform(prefix: str = "") -> None:
    """Be a step: tell that it started, obey, take SETUP_SECONDS, tell that it finished."""
    me = os.getpid()
    tell(f"{prefix}started", me)
    while ordered(f"{prefix}wait") and not ordered(f"{prefix}go.{me}"):
        time.sleep(0.01)
    while ordered(f"{prefix}hang"):
        time.sleep(0.01)
    if ordered(f"{prefix}raise"):
        raise RuntimeError(f"{prefix}told to raise")
    if ordered(f"{prefix}exit"):
        sys.exit(3)
    time.sleep(float(os.environ.get("SETUP_SECONDS", "0")))
    tell(f"{prefix}finished", me)
