"""The `file_age` check."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.calls import failure

from flask_health.checks import file_age
from flask_health.exceptions import Degraded

NOW = 1_700_000_000.0


@pytest.fixture
def heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was written now; the clock stands still."""
    path = tmp_path / "heartbeat"
    path.touch()
    os.utime(path, (NOW, NOW))
    monkeypatch.setattr(time, "time", lambda: NOW)
    return path


@pytest.mark.parametrize(
    ("age", "error", "words"),
    [
        (0, None, ""),
        (60, None, ""),
        (61, Degraded, "last written 61 s ago, more than 60 s"),
        (90, Degraded, "last written 90 s ago, more than 60 s"),
        (91, RuntimeError, "last written 91 s ago, more than 90 s"),
        (-90, None, ""),
        (-91, Degraded, "dated 91 s in the future; is the clock right"),
    ],
)
def test_age(heartbeat: Path, age: float, error: type[Exception] | None, words: str) -> None:
    """The threshold itself is fine."""
    os.utime(heartbeat, (NOW - age, NOW - age))
    check = file_age(heartbeat, 90, warn_age=60)
    if error is None:
        assert check() == (age, "s")
        return
    with pytest.raises(error, match=words) as caught:
        check()
    assert str(caught.value).startswith(f"{heartbeat}: ")


def test_without_warning(heartbeat: Path) -> None:
    """Unset, nothing warns."""
    os.utime(heartbeat, (NOW - 90, NOW - 90))
    assert file_age(heartbeat, 90)() == (90, "s")


def test_follows_a_file(tmp_path: Path) -> None:
    """Missing, written, removed again."""
    path = tmp_path / "heartbeat"
    check = file_age(str(path), 3600)
    assert str(failure(check)) == f"{path}: no such file; nothing has written it"
    path.touch()
    check()
    path.unlink()
    failure(check)


def test_liveness_may_use_it() -> None:
    """It asks no other process."""
    assert not file_age("x", 1).network


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("x", 0), {}, ValueError, "'max_age' must be more than 0, not 0"),
        (("x", "60"), {}, TypeError, "'max_age' must be a number, not '60'"),
        (("x", 60), {"warn_age": 61}, ValueError, r"'warn_age' \(61\) must not exceed 'max_age'"),
        ((None, 60), {}, TypeError, "NoneType"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        file_age(*arguments, **options)
