"""The second port: a native thread in each worker, which answers while all workers are busy.

Every worker holds a copy of the port's socket (see `workers.port`), and the kernel wakes all of
them when somebody connects. Whoever comes first answers, so nothing has to be noticed first when a
worker is stopped, has died, computes, or is kept from running by an extension module that does not
let go of the interpreter. Workers that do not serve stand back for a moment.

The thread sleeps until somebody connects, but for one look a second.
"""

from __future__ import annotations

import _socket
import atexit
import collections.abc as cabc
import contextlib
import errno
import logging
import os
import time
import typing as t
import weakref

from ..workers import native
from ..workers.port import Port, accept
from ..workers.process import when_forked
from .exchange import Exchange

if t.TYPE_CHECKING:
    import select

    Answer = cabc.Callable[[bytes], tuple[bytes, bool]]

log: logging.Logger = logging.getLogger("flask_health")

LOOK = 1.0
"""Seconds between two looks at who is elected."""

STAND_IN_AFTER = 0.025
"""Seconds that others have before a worker answers that neither serves nor is elected."""

MOST_CONNECTIONS = 128
"""When there are more, the oldest one that has not asked yet is closed."""

REST = 0.1
"""Seconds without accepting when this process may open no more files, or something has failed."""

STOPS_WITHIN = 0.2
"""Seconds that a worker that ends waits for its thread to close what it has."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

POLLIN, POLLOUT = 1, 4
"""As in `select`, from which gevent takes them away."""


class Listener:
    """What answers on the second port in one worker.

    :param answer: gives the answer to a complete head, and whether the client may go on sending.
    """

    def __init__(self, port: Port, answer: Answer) -> None:
        self.port: Port = port
        self.answer: Answer = answer
        self._exchanges: dict[int, Exchange] = {}
        self._woken, self._wake = _pair()
        self._ended = native.original("_thread", "allocate_lock")()
        self._poll = native.original("select", "poll")
        self._stops = False
        self._next_look = 0.0
        self._rests_until: float | None = None
        self._complained = False
        self._pid = os.getpid()
        when_forked(self)

    def start(self) -> None:
        """Starts the thread. It ends with the process, with :meth:`stop`, or when nobody holds this
        object any more.
        """
        reference, ended = weakref.ref(self), self._ended
        ended.acquire()
        native.start(lambda: _live(reference, ended))
        atexit.register(_stop, reference)

    def stop(self) -> None:
        """Gives the port up."""
        if self._stops:
            return
        self._stops = True
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")
        self._ended.acquire(timeout=STOPS_WITHIN)

    def turn(self, ready: cabc.Collection[int]) -> tuple[select.poll, float] | None:
        """Does what can be done now, without waiting.

        :param ready: descriptors that have something to say.
        :return: what to wait for, and for how many milliseconds; None at the end.
        """
        now = time.monotonic()
        if self._stops:
            self._finish(now)
            return None
        if now >= self._next_look:
            self._next_look = now + LOOK
            self.port.turn()
        if self.port.copies and self.port.copies.fileno() in ready:
            self.port.give_copy()
        for number in self._exchanges.keys() & set(ready):
            self._go_on(number, now)
        self._accept_if_it_is_time(ready, now)
        for number, exchange in list(self._exchanges.items()):
            if now >= exchange.deadline:
                self._close(number)
        return self._next(now)

    def complain(self) -> None:
        """Logs the exception that is being handled, the first one."""
        if not self._complained:
            log.exception("the second port failed to answer; trying again")
        self._complained = True
        for number in list(self._exchanges):
            self._close(number)
        self._rests_until = time.monotonic() + REST

    def let_go(self) -> None:
        """Closes what this process holds of it, and no more: also in a forked child."""
        for number in list(self._exchanges):
            self._close(number)
        self._woken.close()
        self._wake.close()
        self.port.let_go()

    __del__ = let_go

    def _finish(self, now: float) -> None:
        """Answers what has been asked already, and closes everything."""
        if self.port.socket:
            self._accept(self.port.socket, now)
        self.port.leave()
        for number, exchange in list(self._exchanges.items()):
            exchange.go_on(now)
            self._close(number)

    def _accept_if_it_is_time(self, ready: cabc.Collection[int], now: float) -> None:
        socket = self.port.socket
        if socket is None:
            return
        if self._rests_until is None:
            if socket.fileno() not in ready:
                return
            if not (self.port.is_elected or self.port.serves):
                self._rests_until = now + STAND_IN_AFTER
        if self._rests_until is None or now >= self._rests_until:
            self._rests_until = None
            self._accept(socket, now)

    def _accept(self, socket: _socket.socket, now: float) -> None:
        for _ in range(MOST_CONNECTIONS):
            try:
                connection = accept(socket)
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._rests_until = now + REST
                    self._make_room()
                return
            if len(self._exchanges) >= MOST_CONNECTIONS:
                self._make_room()
            number = connection.fileno()
            self._exchanges[number] = Exchange(connection, self.answer, now)
            self._go_on(number, now)

    def _make_room(self) -> None:
        """Closes the oldest connection that has not asked yet, or else the oldest one."""
        idle = (n for n, exchange in self._exchanges.items() if exchange.waits_for == "request")
        oldest = next(idle, next(iter(self._exchanges), None))
        if oldest is not None:
            self._close(oldest)

    def _go_on(self, number: int, now: float) -> None:
        exchange = self._exchanges[number]
        exchange.go_on(now)
        if not exchange.waits_for:
            self._close(number)

    def _close(self, number: int) -> None:
        self._exchanges.pop(number).close()

    def _next(self, now: float) -> tuple[select.poll, float]:
        poll = self._poll()
        poll.register(self._woken.fileno(), POLLIN)
        deadlines = [self._next_look]
        if self._rests_until is not None:
            deadlines.append(self._rests_until)
        elif self.port.socket:
            poll.register(self.port.socket.fileno(), POLLIN)
        if self.port.copies:
            poll.register(self.port.copies.fileno(), POLLIN)
        for number, exchange in self._exchanges.items():
            poll.register(number, POLLOUT if exchange.waits_for == "answer" else POLLIN)
            deadlines.append(exchange.deadline)
        return poll, max(0.0, min(deadlines) - now) * 1000


def _live(reference: weakref.ref[Listener], ended: t.Any) -> None:
    """The life of the thread. Only a weak reference while it waits: an app that a test made can be
    forgotten.
    """
    ready: cabc.Collection[int] = ()
    rest = native.original("time", "sleep")
    try:
        while True:
            listener = reference()
            if listener is None:
                return
            try:
                wanted = listener.turn(ready)
            except Exception:
                listener.complain()
                rest(REST)
                ready = ()
                continue
            finally:
                del listener
            if wanted is None:
                return
            poll, milliseconds = wanted
            try:
                ready = [number for number, _ in poll.poll(milliseconds)]
            except OSError:  # No memory for it, or more files open than there may be.
                rest(REST)
                ready = ()
    finally:
        ended.release()


def _stop(reference: weakref.ref[Listener]) -> None:
    listener = reference()
    if listener and listener._pid == os.getpid():
        listener.stop()


def _pair() -> tuple[_socket.socket, _socket.socket]:
    """Two sockets that are connected, and never block."""
    pair = _socket.socketpair()
    for socket in pair:
        socket.setblocking(False)
    return pair
