"""What one look at the workers of a server shows."""

from __future__ import annotations

import collections.abc as cabc
import enum
import typing as t


class WorkerState(str, enum.Enum):
    """What a worker says of itself in the name of its marker."""

    STARTING = "starting"
    """Its setup has not finished."""
    READY = "ready"
    """Its setup has finished and it serves."""
    LEAVING = "leaving"
    """Told to stop, and still serving."""
    FAILED = "failed"
    """Its setup raised or timed out."""
    STOPPING = "stopping"
    """Accepts no more requests."""

    def __str__(self) -> str:
        return self.value

    @property
    def serves(self) -> bool:
        """Whether a worker in this state takes requests that it can answer."""
        return self in SERVING


DRAIN = "drain"
"""The file that turns readiness red for good."""

PAUSE = "pause"
"""The file that turns it red for as long as it is there; its text is the reason."""

SERVING = frozenset({WorkerState.READY, WorkerState.LEAVING})


class Marker(t.NamedTuple):
    """A worker as its marker shows it.

    :ivar age: the order in which the server started it, from 1.
    :ivar pid: its process id.
    :ivar start: the start time of that process in clock ticks since the kernel's boot, 0 where
        the platform does not tell.
    :ivar expected: the number of workers that the server wanted when it started this one.
    :ivar state: what it says of itself.
    """

    age: int
    pid: int
    start: int
    expected: int
    state: WorkerState

    @property
    def name(self) -> str:
        """The file name that says all this."""
        return f"worker.{self.age}.{self.pid}.{self.start}.{self.expected}.{self.state}"


def parse_marker(name: str) -> Marker | None:
    """The marker that a file name says; None for any other name."""
    word, _, rest = name.partition(".")
    if word != "worker":
        return None
    *numbers, state = rest.split(".")
    if len(numbers) != 4 or not all(n.isascii() and n.isdigit() for n in numbers):
        return None
    age, pid, start, expected = map(int, numbers)
    try:
        return Marker(age, pid, start, expected, WorkerState(state))
    except ValueError:
        return None


class Census(t.NamedTuple):
    """One look at a server: its living workers and what has been decided for all of them.

    :ivar markers: the markers of living workers, oldest worker first.
    :ivar opened: whether the gate of this boot has ever opened.
    :ivar orphaned: whether the process that started the workers is gone.
    :ivar started: whether the checks of the startup probe have ever passed.
    :ivar allowed: whether the checks that one worker runs for all allow traffic.
    :ivar draining: whether readiness is red for good.
    :ivar paused: whether readiness is red until somebody resumes.
    """

    markers: tuple[Marker, ...] = ()
    opened: bool = False
    orphaned: bool = False
    started: bool = False
    allowed: bool = False
    draining: bool = False
    paused: bool = False

    def how_many(self, states: cabc.Container[WorkerState]) -> int:
        """The number of workers in one of these states."""
        return sum(marker.state in states for marker in self.markers)

    @property
    def expected(self) -> int:
        """The number of workers that the server wants, as its youngest worker knows it."""
        return max(self.markers, key=lambda marker: marker.age).expected if self.markers else 1
