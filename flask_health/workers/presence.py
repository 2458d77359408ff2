"""A worker's place in the shared state: its marker, what it knows to be decided, and mending both
when a cleaner of temporary files took them away.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import logging
import os
import threading

from ..model.server import DRAIN, PAUSE, TOLD, Census, Marker, WorkerState, parse_marker
from .boots import join, remove_if_unused
from .process import forked_children, start_time
from .server import Server
from .statedir import ABOUT, Publication, StateDir, marker_is_alive, progress_of
from .watch import Watch

log: logging.Logger = logging.getLogger("flask_health")


class Presence:
    """This worker among its siblings.

    :ivar directory: where they meet. Replaced when it had to be created anew.
    :ivar watch: how it sees them. Replaced with the directory.
    :ivar problems: what was wrong with directories that were tried first, for people.
    """

    def __init__(
        self,
        directory: StateDir,
        server: Server,
        boot: str,
        bases: cabc.Sequence[str],
        problems: list[str],
    ) -> None:
        self.directory: StateDir = directory
        self.watch: Watch = Watch(directory, server.master)
        self.problems = problems
        self._server = server
        self._boot = boot
        self._bases = bases
        self._marker = Marker(
            server.age, os.getpid(), start_time(os.getpid()), server.workers, WorkerState.STARTING
        )
        self._publication: Publication | None = None
        self._told_to_stop = False
        self._decided: set[str] = set()
        self._tell: cabc.Callable[[], tuple[set[str], str]] | None = None
        self._undescribed: bool = False
        self._paused: str | None = None
        self._learnt: Census | None = None
        self._lock = threading.Lock()
        self._complained = False

    @property
    def pid(self) -> int:
        """The process that this presence stands for."""
        return self._marker.pid

    @property
    def state(self) -> WorkerState:
        """What this worker says of itself."""
        return self._marker.state

    def say(self, state: WorkerState) -> None:
        """Publishes the state of this worker. One that was told to stop says nothing but that, and
        one that is stopping nothing else.
        """
        with self._lock:
            told = self.state in TOLD
            if not told or (state in TOLD and self.state is not WorkerState.STOPPING):
                self._say(state)

    def expect(self, workers: int) -> None:
        """Publishes another number of workers that the server wants."""
        with self._lock:
            self._marker = self._marker._replace(expected=workers)
            self._say(self.state)

    def stop(self) -> None:
        """Publishes that this worker accepts no more. Waits for nothing: for signal handlers."""
        self._told_to_stop = True
        self._say(WorkerState.STOPPING)

    def decide(self, fact: str) -> None:
        """Makes a fact true for all workers, for as long as this boot lives."""
        with self._lock:
            self._decided.add(fact)
            self._mend()

    def introduce(self, generation: int, tell: cabc.Callable[[], tuple[set[str], str]]) -> None:
        """Has outsiders told what they need to judge this server, and what it is. The first worker
        of a generation tells it, and all of them keep it told.

        :param tell: gives names, which are decided, and the text of `about.json`. A server works
            as well without that file.
        """
        with self._lock:
            ours = ("master.", f"terms.{generation}.")
            facts = {name for name in self.directory.names() if name.startswith(ours)}
            self._tell = tell
            if len(facts) < len(ours):
                facts, text = tell()
                self._write_about(text)
            self._decided |= facts
            self._mend()

    def pause(self, reason: str) -> None:
        """Makes the server paused, for this reason: in its file, unless the disk is full.

        :raises OSError: when not even an empty file can be created.
        """
        with self._lock:
            self._paused = reason
            self._write_pause(reason)

    def resume(self) -> None:
        """Makes the server paused no more."""
        with self._lock:
            self._paused = None
            self.directory.remove(PAUSE)

    def mend(self) -> None:
        """Publishes again what has vanished, and removes the markers of the dead."""
        if self.state is WorkerState.STOPPING:
            return
        with self._lock:
            self._mend()
        with contextlib.suppress(OSError):
            self._sweep()

    def leave(self) -> None:
        """Ends this presence; the last worker of a server that stops removes the directory."""
        if self._publication is None:
            return
        if self.state not in TOLD:
            self._publication.withdraw()
            return
        if self.state is not WorkerState.STOPPING:
            self.stop()
        # The name stays for those who stop after us: they must see that we stopped as well.
        self._publication.let_go()
        self.directory.leave()
        # Asked only now: else the last one to leave may have looked before its siblings stopped.
        if self.all_stop():
            remove_if_unused(self.directory.path)

    def _say(self, state: WorkerState) -> None:
        self._publish(self._marker._replace(state=state))
        if self._told_to_stop and not self._shows_stopping():
            # The signal came in the middle of what went before.
            self._publish(self._marker._replace(state=WorkerState.STOPPING))

    def _publish(self, marker: Marker) -> None:
        self._marker = marker
        try:
            if self._publication is None:
                self._publication = Publication(self.directory, marker)
            else:
                self._publication.change(marker)
        except OSError as error:
            self._complain(error)

    def _shows_stopping(self) -> bool:
        shown = self._publication.marker if self._publication else self._marker
        return shown.state is self.state is WorkerState.STOPPING

    def _mend(self) -> None:
        try:
            census = self.watch.look()
            whole = self.directory.in_place()
            if not whole:
                self._move()
            if self._publication is None or not self._publication.shows(self._marker):
                whole = False
                self._publication = Publication(self.directory, self._marker)
            if whole and census is not self._learnt:
                self._learn(census)
            elif not whole and self._paused is not None:
                self._write_pause(self._paused)
            for fact in self._decided:
                if not self.directory.exists(fact):
                    self.directory.create(fact)
        except OSError as error:
            self._complain(error)
        else:
            self._complained = False
        if self._tell and not self.directory.exists(ABOUT):
            self._write_about(self._tell()[1])

    def _write_about(self, text: str) -> None:
        try:
            self.directory.write(ABOUT, text)
            self._undescribed = False
        except OSError as error:
            if not self._undescribed:
                log.warning("cannot write %s, which outsiders read: %s", ABOUT, error)
            self._undescribed = True

    def _move(self) -> None:
        directory = join(self._boot, self._bases, self.problems)
        if directory is None:
            raise OSError("no directory can hold shared state any more")
        log.warning("the state directory had vanished; created it again as %s", directory.path)
        self._publication = Publication(directory, self._marker)
        for fact in self._decided:
            directory.create(fact)
        self.directory = directory
        self.watch = Watch(directory, self._server.master)

    def _learn(self, census: Census) -> None:
        """Remembers what others have ordered. A pause whose file is missing is over, but only as
        long as nothing else is missing: that may be a cleaner, at work just now.
        """
        self._learnt = census
        if census.draining and self.directory.exists(DRAIN):
            self._decided.add(DRAIN)
        self._paused = self.directory.read(PAUSE) if census.paused else None

    def _write_pause(self, reason: str) -> None:
        try:
            self.directory.write(PAUSE, reason)
        except OSError:
            self.directory.create(PAUSE)  # A full disk still has room for a name.

    def _sweep(self) -> None:
        for name in self.directory.names():
            marker = parse_marker(name)
            if marker and not marker_is_alive(self.directory, name, marker):
                self.directory.remove(name)
                self.directory.remove(progress_of(marker.pid))

    def all_stop(self) -> bool:
        """Whether every worker of this server has been told to stop."""
        alive = forked_children(self._server.master)
        if alive is None:
            return False
        markers = (parse_marker(name) for name in self.directory.names())
        stopping = {m.pid for m in markers if m and m.state is WorkerState.STOPPING}
        return alive - self._server.strangers <= stopping

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            log.error("cannot publish the state of this worker: %s", error)
        self._complained = True


def appear(
    server: Server, boot: str, bases: cabc.Sequence[str]
) -> tuple[Presence | None, list[str]]:
    """A presence among the siblings, or None with the reasons why there is no directory for it."""
    problems: list[str] = []
    directory = join(boot, bases, problems)
    for problem in problems:
        log.error("%s", problem)
    if directory is None:
        return None, problems
    return Presence(directory, server, boot, bases, problems), problems
