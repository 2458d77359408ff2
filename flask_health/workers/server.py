"""Which server, worker and boot this process belongs to."""

from __future__ import annotations

import collections
import collections.abc as cabc
import copy
import hashlib
import os
import sys
import types
import typing as t
import weakref

from .process import kernel_identity, start_time

if t.TYPE_CHECKING:
    from .drain import Departure

    Role = t.Literal["worker", "master", "alone"]
    """What a process is to its server.

    `worker`: one of the processes that serve; it shares its state with its siblings.
    `master`: the process that has loaded the app and will fork them. Nothing starts here.
    `alone`: a server of one: a test, `flask run`, waitress, a script.
    """

    class Member(t.Protocol):
        """What the server's life asks of an init gate."""

        server: Server
        begun: bool
        departure: Departure | None

        def begin(self) -> None:
            """Publishes this worker and starts its setup in the background."""

        def should_hold(self) -> bool:
            """Whether this worker had better not accept connections yet."""

        def told_to_stop(self) -> None:
            """This worker accepts no more connections."""

        def leave(self) -> None:
            """This worker ends."""


class Server:
    """The server that a process belongs to, as that process knows it. Told apart by identity: see
    `begin_when_loaded`.

    :ivar role: what this process is to it.
    :ivar kind: the name of the server software, empty when unknown.
    :ivar master: the pid of the process whose children the workers are, 0 for a server of one.
    :ivar workers: the number of workers that the server wants.
    :ivar age: the order in which the server started this worker.
    :ivar forks: whether workers inherit the interpreter of the master, as forked ones do.
    :ivar reloaded_at: the age of the first worker of the reload that this worker was started
        by, 0 when it was not.
    :ivar predecessor: the pid of the master that ours was started to replace, 0 without one.
    :ivar strangers: pids of children of the master that are no workers.
    :ivar own_queue: whether each worker has its own queue of connections (`reuse_port`).
    :ivar tmp_dir: the directory that the server is configured to use for its own temporary files.
    :ivar listen: the addresses that the server listens on, for people, where known.
    :ivar group: which group of the master's children the workers are, where it has several.
    :ivar beat: tells when the serving loop of this worker last showed life, in seconds on the
        monotonic clock, 0 when it has not yet; None where nobody knows.
    :ivar timeout: after how many seconds the server ends a worker whose loop does not beat, 0: it
        never does; None where nobody knows.
    :ivar idle_beat: seconds between two beats of a loop that has nothing to do.
    :ivar found_again: tells what a process is that a master forked without Python's knowing.
    """

    def __init__(
        self,
        role: Role = "alone",
        kind: str = "",
        master: int = 0,
        workers: int = 1,
        age: int = 1,
        forks: bool = False,
        reloaded_at: int = 0,
        predecessor: int = 0,
        strangers: frozenset[int] = frozenset(),
        own_queue: bool = False,
        tmp_dir: str | None = None,
        listen: tuple[str, ...] = (),
        beat: cabc.Callable[[], float] | None = None,
        timeout: float | None = None,
        idle_beat: float = 1.0,
        found_again: cabc.Callable[[], Server] | None = None,
    ) -> None:
        self.role: Role = role
        self.kind = kind
        self.master = master
        self.workers = workers
        self.age = age
        self.forks = forks
        self.reloaded_at = reloaded_at
        self.predecessor = predecessor
        self.strangers = strangers
        self.own_queue = own_queue
        self.tmp_dir = tmp_dir
        self.listen = listen
        self.group: str = ""
        self.beat = beat
        self.timeout = timeout
        self.idle_beat = idle_beat
        self.found_again = found_again

    def placed(self) -> Server:
        """The server of a worker that was only told that it has siblings, once it has forked."""
        if self.master:
            return self
        server = copy.copy(self)
        server.master, server.age = os.getppid(), os.getpid()
        return server

    def boot(self, app_name: str, ordinal: int) -> str:
        """The identity of this start of the server, for one of its apps: the same in all its
        workers, and never again the same.
        """
        parts = [kernel_identity(), self.master, start_time(self.master), app_name, ordinal]
        parts.append(self.group)
        if self.forks:
            # Python draws the seed of str hashes when an interpreter starts, and forked workers
            # inherit it: it tells a restarted pid 1 in the same container from the last one.
            parts.append(hash("flask_health"))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


_members: weakref.WeakSet[Member] = weakref.WeakSet()


def enroll(member: Member) -> None:
    """Has a gate take part in the life of this process."""
    _members.add(member)


def members() -> list[Member]:
    """The gates of this process."""
    return list(_members)


_apps_wired: collections.Counter[str] = collections.Counter()


def next_ordinal(app_name: str) -> int:
    """The ordinal of one more app among those of its name in this process, from 0."""
    _apps_wired[app_name] += 1
    return _apps_wired[app_name] - 1


def frames(frame: types.FrameType | None) -> list[types.FrameType]:
    """A frame and its callers, innermost first."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def locate(workers: int | None) -> Server:
    """The server of this process, from who is on the stack now, without being told.

    :param workers: `HEALTH_WORKERS`: the number of workers of a server that cannot be asked.
    """
    from . import gunicorn

    frame = sys._getframe()
    found = gunicorn.locate(frame)
    if found is None:
        from . import otherservers  # Only here: a worker of gunicorn never needs them.

        found = otherservers.locate(frame, workers)
    if found:
        return found
    if workers is not None and workers > 1:
        return Server("worker", workers=workers)
    return Server()
