"""Whether something that leaves a file behind, such as a cron job, has run lately."""

from __future__ import annotations

import os
import time
import typing as t

from ..exceptions import Degraded
from .readymade import ReadyMade, positive


class file_age(ReadyMade):
    """Passes while a file was written at most `max_age` seconds ago; observes its age.

    The time of the last modification counts: let the job `touch` the file when it has succeeded.
    A file dated in the future by more than `max_age` is degraded: it would hide a job that stops.

    :param max_age: seconds; an older file, or none, fails.
    :param warn_age: seconds; an older file is degraded. None: never.
    """

    component_type: t.ClassVar[str] = "system"
    measurement: str = "age"
    network: t.ClassVar[bool] = False

    def __init__(
        self, path: str | os.PathLike[str], max_age: float, *, warn_age: float | None = None
    ) -> None:
        self._path = os.fspath(path)
        self._max_age = positive("max_age", max_age)
        self._warn_age = None if warn_age is None else positive("warn_age", warn_age)
        if self._warn_age is not None and self._warn_age > self._max_age:
            raise ValueError(f"'warn_age' ({warn_age:g}) must not exceed 'max_age' ({max_age:g}).")

    def __call__(self) -> tuple[float, str]:
        """The file's age in seconds; raises when it is too old or missing."""
        try:
            age = time.time() - os.stat(self._path).st_mtime
        except FileNotFoundError:
            raise FileNotFoundError(f"{self._path}: no such file; nothing has written it") from None
        if age > self._max_age:
            raise RuntimeError(
                f"{self._path}: last written {age:.0f} s ago, {_limit(self._max_age)}"
            )
        if age < -self._max_age:
            raise Degraded(f"{self._path}: dated {-age:.0f} s in the future; is the clock right?")
        if self._warn_age is not None and age > self._warn_age:
            raise Degraded(f"{self._path}: last written {age:.0f} s ago, {_limit(self._warn_age)}")
        return round(age, 3), "s"


def _limit(seconds: float) -> str:
    return f"more than {seconds:g} s"
