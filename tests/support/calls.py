"""Calls of a ready-made check as a test makes them, and what must hold for each."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from .backends import SECRET
from .waiting import eventually


def failure(check: Any) -> Exception:
    """What the check raises; it must do so within its timeout, and without telling a secret."""
    began = time.monotonic()
    with pytest.raises(Exception) as caught:
        check()
    took = time.monotonic() - began
    assert took < check.timeout, f"took {took:.2f} s of {check.timeout} s"
    assert SECRET not in str(caught.value)
    return caught.value


def passes(check: Any) -> bool:
    """Tell whether the check passes, for `eventually`."""
    with suppress(Exception):
        check()
        return True
    return False


def keeps_nothing(check: Any, runs: int = 50) -> None:
    """Call it so often; assert that neither connections nor threads add up.

    Each call must end as the first one did, passed or failed. One descriptor more is the pool's
    own connection, which not every failure leaves there.
    """
    passed = passes(check)
    descriptors, threads = _held()
    for _ in range(runs):
        assert passes(check) is passed
    most = descriptors + 1, threads
    eventually(
        _held,
        lambda now: now[0] <= most[0] and now[1] <= most[1],
        why=f"at most {most} descriptors and threads after {runs} calls",
    )


def _held() -> tuple[int, int]:
    """How many descriptors are open, how many threads alive."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()
