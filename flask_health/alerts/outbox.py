"""What is sent, when, and what is left out: pure decisions, time is an argument.

The first change of a component is sent at once. While its next ones come too early, or the receiver
cannot be reached, only the latest is kept, with the number of those that it stands for. So what
waits is never more than one message for each component, however much flaps and for however long.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from ..model.status import Status

APART = 60.0
"""Seconds between two messages about one component, at least."""

MOST = 20
"""Messages within `APART` seconds about all components together, at most."""

TRIES = 12
"""How often one message is tried, at most: for about six minutes."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries, at most."""


@dataclasses.dataclass(frozen=True)
class Edge:
    """A change that is worth a message.

    :ivar component: the name of a check, or `gate` or `workers`.
    :ivar worker: the process id of the worker that it is about; 0 when it is about the server.
    :ivar failures: failing runs in a row before it, or up to it.
    :ivar outage: for how many seconds it had been failing, when it works again; else 0.
    :ivar time: when, in seconds since the epoch.
    """

    component: str
    worker: int
    old: Status
    new: Status
    output: str
    failures: int
    outage: float
    time: float

    @property
    def key(self) -> str:
        """What two changes of the same thing have in common."""
        return f"{self.component} {self.worker}" if self.worker else self.component


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A change that waits to be sent.

    :ivar left_out: how many earlier changes of the component it stands for.
    :ivar tries: how often it was tried.
    """

    edge: Edge
    left_out: int = 0
    tries: int = 0


class Outbox:
    """The changes that wait to be sent. Times are on the monotonic clock.

    :ivar waiting: the latest change of each component that has one, in the order of their coming.
    :ivar failures: tries in a row that have failed, of whatever message.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.failures: int = 0
        self._sent: dict[str, float] = {}
        self._recent: list[float] = []
        self._not_before = 0.0

    def put(self, edge: Edge) -> None:
        """Has a change wait, in the place of an earlier one of its component."""
        before = self.waiting.get(edge.key)
        if before is None:
            self.waiting[edge.key] = Waiting(edge)
        else:
            latest = dataclasses.replace(edge, old=before.edge.old)
            self.waiting[edge.key] = Waiting(latest, before.left_out + 1)

    def next(self, now: float) -> Waiting | None:
        """What is to be sent now; None when nothing is."""
        if self._due_all(now) > now:
            return None
        return next((w for w in self.waiting.values() if self._due(w.edge.key) <= now), None)

    def pause(self, now: float) -> float | None:
        """Seconds until something is to be sent; None when nothing waits."""
        if not self.waiting:
            return None
        due = min(map(self._due, self.waiting))
        return max(due, self._due_all(now), now) - now

    def sent(self, item: Waiting, now: float) -> None:
        """A message has arrived."""
        key = item.edge.key
        self.failures, self._not_before = 0, 0.0
        self._sent = {k: at for k, at in self._sent.items() if now - at < APART} | {key: now}
        self._recent = [at for at in self._recent if now - at < APART] + [now]
        self._drop(item)

    def failed(self, item: Waiting, now: float, retry_after: float = 0.0) -> bool:
        """A message has not arrived. Tried again later, unless it was tried often enough.

        :param retry_after: seconds that the receiver has asked for.
        :return: whether it will be tried again.
        """
        self.failures += 1
        pause = min(2.0 ** min(self.failures - 1, 10), LONGEST_PAUSE)
        self._not_before = now + max(pause, min(retry_after, TRIES * LONGEST_PAUSE))
        current = self.waiting[item.edge.key]
        if current.tries + 1 >= TRIES:
            self._drop(item)
            return False
        self.waiting[item.edge.key] = dataclasses.replace(current, tries=current.tries + 1)
        return True

    def refused(self, item: Waiting) -> None:
        """The receiver will never take a message: it is dropped."""
        self._drop(item)

    def _drop(self, item: Waiting) -> None:
        """Forgets a message, but not what has come while it was under way."""
        current = self.waiting.pop(item.edge.key)
        since = current.left_out - item.left_out
        if since > 0:
            edge = dataclasses.replace(current.edge, old=item.edge.new)
            self.waiting[item.edge.key] = Waiting(edge, since - 1)

    def _due(self, key: str) -> float:
        return self._sent.get(key, -APART) + APART

    def _due_all(self, now: float) -> float:
        recent = [at for at in self._recent if now - at < APART]
        return max(self._not_before, recent[-MOST] + APART if len(recent) >= MOST else 0.0)

    def dump(self) -> dict[str, t.Any]:
        """All of it, for the next worker that sends, as JSON can hold it."""
        return {
            "waiting": [dataclasses.asdict(waiting) for waiting in self.waiting.values()],
            "sent": self._sent,
            "recent": self._recent,
        }

    @classmethod
    def load(cls, content: cabc.Mapping[str, t.Any]) -> Outbox:
        """What another worker has dumped.

        :raises KeyError, TypeError, ValueError: for anything else.
        """
        outbox = cls()
        for members in content["waiting"]:
            edge = members["edge"]
            statuses = {"old": Status(edge["old"]), "new": Status(edge["new"])}
            waiting = Waiting(Edge(**{**edge, **statuses}), members["left_out"], members["tries"])
            outbox.waiting[waiting.edge.key] = waiting
        outbox._sent = {str(key): float(at) for key, at in content["sent"].items()}
        outbox._recent = [float(at) for at in content["recent"]]
        return outbox
