"""Waiting for a condition with a deadline, so that no test sleeps and hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    read: Callable[[], T],
    until: Callable[[T], object] = bool,
    *,
    within: float = 20.0,
    every: float = 0.02,
    why: str = "",
) -> T:
    """Return the first value of `read()` for which `until` holds.

    `read` is called every `every` seconds. After `within` seconds AssertionError
    says `why` and shows the last value.
    """
    deadline = time.monotonic() + within
    while not until(value := read()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{why or 'condition'}: not within {within} s, last seen: {value!r}"
            )
        time.sleep(every)
    return value
