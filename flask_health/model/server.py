"""What one look at the workers of a server shows.

Plain classes: a command line that asks for nothing but readiness cannot wait for `enum` and
`typing`, and every worker has these in memory.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections.abc as cabc
    import typing as t

    Self = t.TypeVar("Self", bound="Value")


class WorkerState(str):
    """What a worker says of itself in the name of its marker. There is one of each.

    :raises ValueError: for any other word.
    """

    STARTING: t.ClassVar[WorkerState]
    """Its setup has not finished."""
    READY: t.ClassVar[WorkerState]
    """Its setup has finished and it serves."""
    LEAVING: t.ClassVar[WorkerState]
    """Told to stop, and still serving."""
    DRAINING: t.ClassVar[WorkerState]
    """Told to stop with all others, and still serving."""
    FAILED: t.ClassVar[WorkerState]
    """Its setup raised or timed out."""
    STOPPING: t.ClassVar[WorkerState]
    """Accepts no more requests."""

    __slots__ = ()

    def __new__(cls, word: str) -> WorkerState:
        if word not in _STATES:
            raise ValueError(f"{word!r} is not a state of a worker")
        return _STATES[word]

    @property
    def serves(self) -> bool:
        """Whether a worker in this state takes requests that it can answer."""
        return self in SERVING


_WORDS = ("starting", "ready", "leaving", "draining", "failed", "stopping")
_STATES: dict[str, WorkerState] = {word: str.__new__(WorkerState, word) for word in _WORDS}
STATES = tuple(_STATES.values())

for _state in STATES:
    setattr(WorkerState, _state.upper(), _state)

ALLOWED = "allowed"
"""The file that says that the checks allow traffic."""

DRAIN = "drain"
"""The file that turns readiness red for good."""

PAUSE = "pause"
"""The file that turns it red for as long as it is there; its text is the reason."""

SERVING = frozenset({WorkerState.READY, WorkerState.LEAVING, WorkerState.DRAINING})
TOLD = frozenset({WorkerState.LEAVING, WorkerState.DRAINING, WorkerState.STOPPING})


class Value:
    """Something that is equal to another one that holds the same."""

    __slots__: tuple[str, ...] = ()

    def _replace(self: Self, **changes: t.Any) -> Self:
        """The same with some things changed."""
        return type(self)(**({name: getattr(self, name) for name in self.__slots__} | changes))

    def _held(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._held() == self._held()

    def __hash__(self) -> int:
        return hash(self._held())

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self._held()}"


class Marker(Value):
    """A worker as its marker shows it.

    :ivar age: the order in which the server started it, from 1.
    :ivar pid: its process id.
    :ivar start: the start time of that process in clock ticks since the kernel's boot, 0 where
        the platform does not tell.
    :ivar expected: the number of workers that the server wanted when it started this one.
    :ivar state: what it says of itself.
    """

    __slots__ = ("age", "expected", "pid", "start", "state")

    def __init__(self, age: int, pid: int, start: int, expected: int, state: WorkerState) -> None:
        self.age: int = age
        self.pid: int = pid
        self.start: int = start
        self.expected: int = expected
        self.state: WorkerState = state

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


class Census(Value):
    """One look at a server: its living workers and what has been decided for all of them.

    :ivar markers: the markers of living workers, oldest worker first.
    :ivar opened: whether the gate of this boot has ever opened.
    :ivar orphaned: whether the process that started the workers is gone.
    :ivar started: whether the checks of the startup probe have ever passed.
    :ivar allowed: whether the checks that one worker runs for all allow traffic.
    :ivar draining: whether readiness is red for good.
    :ivar paused: whether readiness is red until somebody resumes.
    """

    __slots__ = ("allowed", "draining", "markers", "opened", "orphaned", "paused", "started")

    def __init__(
        self,
        markers: tuple[Marker, ...] = (),
        opened: bool = False,
        orphaned: bool = False,
        started: bool = False,
        allowed: bool = False,
        draining: bool = False,
        paused: bool = False,
    ) -> None:
        self.markers: tuple[Marker, ...] = markers
        self.opened: bool = opened
        self.orphaned: bool = orphaned
        self.started: bool = started
        self.allowed: bool = allowed
        self.draining: bool = draining
        self.paused: bool = paused

    def how_many(self, states: cabc.Container[WorkerState]) -> int:
        """The number of workers in one of these states."""
        return sum([marker.state in states for marker in self.markers])

    @property
    def expected(self) -> int:
        """The number of workers that the server wants, as its youngest worker knows it."""
        return max(self.markers, key=lambda marker: marker.age).expected if self.markers else 1


def take_census(
    names: cabc.Container[str], markers: cabc.Iterable[Marker], orphaned: bool
) -> Census:
    """What the names in a state directory say.

    :param markers: those of them that are markers of living workers.
    """
    markers = tuple(sorted(markers, key=lambda marker: marker.age))
    return Census(
        markers,
        opened="open" in names,
        started="started" in names,
        allowed=ALLOWED in names,
        draining=DRAIN in names or WorkerState.DRAINING in [m.state for m in markers],
        paused=PAUSE in names,
        orphaned=orphaned,
    )
