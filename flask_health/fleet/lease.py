"""A lease on a step: held by one server at a time, renewed while the step runs."""

from __future__ import annotations

import collections.abc as cabc
import logging
import threading
import time
import uuid

from ..exceptions import LeaseLostError
from .keys import Keys
from .scripts import CLAIM, RENEW, TELL
from .store import Store, StoreError

log: logging.Logger = logging.getLogger("flask_health")

LENGTH = 15.0
"""Seconds after which the lease of a server that renews it no more is another's to take."""

KEPT = 30 * 86400.0
"""Seconds that what became of a step is kept after it was last asked for."""

MARGIN = 0.9
"""The share of its length for which its holder believes in a lease without a renewal: its own
clock may go slower than that of the store.
"""


class Answer:
    """What the store says of a step.

    :ivar state: `yours`, `running`, `failed` or `done`.
    :ivar by: the server that runs or ran it.
    :ivar reason: why it failed.
    :ivar fencing: the number of the last lease.
    :ivar runs: how many servers have begun it, one after the other.
    """

    def __init__(self, state: str, by: str, reason: str, fencing: int, runs: int) -> None:
        self.state = state
        self.by = by
        self.reason = reason
        self.fencing = fencing
        self.runs = runs


class Lease:
    """The lease on one step of one release, as one server sees it.

    :param who: this server, for people.
    :ivar fencing: its number, which is greater than that of any lease before it; 0 without it.
    """

    def __init__(self, store: Store, keys: Keys, release: str, step: str, who: str) -> None:
        self.fencing: int = 0
        self._store = store
        self._keys = [keys.step(release, step), keys.changes]
        self._step = step
        self._who = who
        self._token = uuid.uuid4().hex
        self._until = 0.0
        self._gone = False
        self._kept = False
        self._news: tuple[str, str] | None = None
        self._woken = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether another server may have it by now."""
        return self._gone or _now() > self._until

    def number(self) -> int:
        """The fencing number.

        :raises LeaseLostError: once the lease is lost.
        """
        if self.lost:
            raise LeaseLostError(
                f"the lease on setup step '{self._step}' is lost: another server may run it now"
            )
        return self.fencing

    def claim(self, fresh: bool, takeovers: int) -> Answer:
        """Asks for the lease.

        :param fresh: whether this server asks for the first time: then it may try a step again
            that another has given up.
        :param takeovers: how often the step may be taken over from a server that died in it.
        :raises StoreError: when the store does not answer.
        """
        asked = _now()
        times = (_ms(LENGTH), _ms(KEPT))
        args = (self._token, self._who, *times, int(fresh), takeovers, self._step)
        answer = Answer(*self._store.run(CLAIM, self._keys, args))
        if answer.state == "yours":
            self.fencing = answer.fencing
            self._until = asked + MARGIN * LENGTH
        return answer

    def tell(self, state: str, reason: str = "") -> bool:
        """Says how the step has ended: `done` or `given up`.

        :return: whether that counts: False when the lease is another's.
        :raises StoreError: when the store does not answer.
        """
        args = (self._token, state, reason, _ms(KEPT), self._who, self._step)
        return bool(self._store.run(TELL, self._keys, args))

    def mention(self, state: str, reason: str = "") -> None:
        """Has the thread that keeps the lease say how the step stands: `running` or `failed`."""
        self._news = state, reason
        self._woken.set()

    def keep(self, lost: cabc.Callable[[], None]) -> None:
        """Renews the lease in a thread, at a third of its length, until it is given back.

        :param lost: is called once when that comes too late.
        """
        self._kept = True
        threading.Thread(
            target=self._keep, args=(lost,), name="flask-health-lease", daemon=True
        ).start()

    def give_back(self) -> None:
        """Renews it no more."""
        self._kept = False
        self._woken.set()

    def _keep(self, lost: cabc.Callable[[], None]) -> None:
        told = False
        while self._kept and not self._gone:
            self._woken.wait(LENGTH / (15 if self._store.problem else 3))
            self._woken.clear()
            if self._kept:
                self._renew()
                if self.lost and not told:
                    told = True
                    lost()

    def _renew(self) -> None:
        asked = _now()
        news, self._news = self._news, None
        try:
            if self._store.run(RENEW, self._keys[:1], [self._token, _ms(LENGTH)]):
                self._until = asked + MARGIN * LENGTH
            else:
                self._gone = True
            if news:
                self.tell(*news)
        except StoreError:  # Told by the store; there is time for a few more attempts.
            self._news = self._news or news


def _now() -> float:
    # Of the usual clocks only this one goes on while the machine sleeps.
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
