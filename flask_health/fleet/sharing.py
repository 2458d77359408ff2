"""Checks with `scope="fleet"`: which server runs one now, and what it has come to."""

from __future__ import annotations

import collections.abc as cabc
import json
import random
import threading
import time
import typing as t

from ..model.check import Check, History, Outcome
from ..model.status import Status
from ..workers.abroad import Abroad

LEASE_MARGIN = 1.0
"""Seconds that a run may take beyond the check's timeout before another server takes it over."""


class Sharing(Abroad):
    """The fleet checks of one server: what it offers to the store, and what it was told.

    :param notice: seconds that it may take to notice that the store is gone.
    :param wake: has the store asked soon.
    """

    def __init__(
        self, checks: cabc.Iterable[Check], notice: float, wake: cabc.Callable[[], None]
    ) -> None:
        self.panics: cabc.Mapping[str, str] = {}
        self._checks = [check for check in checks if check.scope == "fleet"]
        self._notice = notice
        self._wake = wake
        self._lock = threading.Lock()
        self._bases: dict[str, str] = {}
        self._gives: dict[str, tuple[str, History, float]] = {}
        self._offered: dict[str, tuple[str, History, float]] = {}
        self._news: dict[str, History] = {}
        self._ordered: dict[str, float] = {}
        self._alone_since: float | None = time.monotonic()
        self._began = time.monotonic()
        self._random = random.Random()
        self._delays = {check.name: self._random.random() for check in self._checks}

    @property
    def ignorant(self) -> bool:
        """Whether a fleet check has no result yet."""
        return len(self._bases) < len(self._checks)

    @property
    def alone(self) -> bool:
        """Whether this server runs the checks for itself, as the store does not answer."""
        return bool(self._checks) and self._alone_since is not None

    def may_run(self, check: Check, history: History | None, now: float) -> bool:
        """Whether the store has told this server to run a check, or nobody else seems to."""
        with self._lock:
            if now < self._ordered.get(check.name, 0.0):
                return True
            since = history.last.ended if history else self._began
            if self._alone_since is None:
                return now - since > 2 * check.interval + (0.0 if history else check.timeout)
            # At random within what is left of an interval: a thousand servers must not ask a
            # dependency at once.
            room = max(0.0, check.interval - self._notice) / 2
            return now >= self._alone_since + room * self._delays[check.name]

    def ran(self, check: Check, history: History, due_in: float) -> None:
        """Keeps the result for the next time that the store is asked."""
        with self._lock:
            self._ordered.pop(check.name, None)
            self._gives[check.name] = self._bases.get(check.name, ""), history, due_in
        self._wake()

    def news(self) -> cabc.Mapping[str, History]:
        """What other servers have found out since this was asked last."""
        if not self._news:
            return {}
        with self._lock:
            found, self._news = self._news, {}
        return found

    def offer(self, now: float, able: bool) -> str:
        """What is said to the store; empty without fleet checks.

        :param able: whether this server runs checks by now.
        """
        if not self._checks:
            return ""
        with self._lock:
            self._offered = dict(self._gives)
            gives = [
                [name, base, encode(history, now - age), _ms(age), _ms(max(0.0, due_in))]
                for name, (base, history, due_in) in self._gives.items()
                for age in [self._age(history, now)]
            ]
            wants = [
                [check.name, self._bases.get(check.name, ""), _ms(_lease(check)) if able else 0]
                for check in self._checks
                if now >= self._ordered.get(check.name, 0.0)
            ]
        return json.dumps({"gives": gives, "wants": wants}, separators=(",", ":"))

    def _age(self, history: History, now: float) -> float:
        # What waits for the next beat is new: else short intervals would seem to be missed.
        age = now - history.last.ended
        return age if age > self._notice else 0.0

    def told(
        self,
        results: cabc.Iterable[cabc.Sequence[str]],
        ordered: cabc.Iterable[str],
        at: float,
        now: float,
    ) -> None:
        """Takes what the store has answered to the last offer.

        :param at: the time of the store, in milliseconds since the epoch.
        """
        leases = {check.name: _lease(check) for check in self._checks}
        with self._lock:
            for name, given in self._offered.items():
                if self._gives.get(name) is given:  # Else there is a newer one.
                    del self._gives[name]
            self._alone_since = None
            for name, base, text in results:
                history = decode(text, int(base), at, now)
                self._bases[name] = base
                if history is not None:
                    self._news[name] = history
            for name in ordered:
                self._ordered[name] = now + leases[name]

    def lost(self, now: float) -> None:
        """The store does not answer."""
        with self._lock:
            if self._alone_since is None:
                self._alone_since = now
                self._ordered.clear()


def encode(history: History, ended: float) -> str:
    """A history as text. It holds spans, and times that the store has told: the end of the last run
    is its to say, and 0 stands for that.

    :param ended: that end on the monotonic clock of this machine.
    """
    last = history.last
    return json.dumps(
        {
            "status": str(history.status),
            "last": [str(last.status), last.output, last.duration],
            "observed": [last.observed_value, last.observed_unit],
            "counts": [history.streak, history.failures],
            "since": 0 if history.since == last.time else history.since,
            "succeeded": 0 if history.succeeded == last.time else history.succeeded,
            "down": None if history.down_since is None else ended - history.down_since,
        },
        separators=(",", ":"),
    )


def decode(text: str, ended: int, at: float, now: float) -> History | None:
    """The history in a text; None when it is of another version of this format.

    :param ended: when its last run had ended, in milliseconds of the store's clock.
    :param at: the same clock now.
    :param now: the monotonic clock of this machine now.
    """
    try:
        found: dict[str, t.Any] = json.loads(text)
        status, output, duration = found["last"]
        value, unit = found["observed"]
        streak, failures = found["counts"]
        here = now - max(0.0, at - ended) / 1000
        last = Outcome(Status(status), output, ended / 1000, here, duration, value, unit)
        down, succeeded = found["down"], found["succeeded"]
        return History(
            Status(found["status"]),
            last,
            streak,
            failures,
            found["since"] or last.time,
            None if down is None else here - down,
            last.time if succeeded == 0 else succeeded,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _lease(check: Check) -> float:
    return check.timeout + LEASE_MARGIN


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
