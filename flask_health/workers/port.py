"""The socket of the second port: opened by one worker, shared by all.

    the elected worker   holds the lock `listener`, opens the port, and gives a copy of its socket
                         to who asks at `listener.socket`
    the others           hold a copy. The port is open as long as one of them lives, and nothing
                         that waits in its queue is lost when the elected one dies; a moment later
                         another one has the lock

A worker that serves is elected before one that does not.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import logging
import os
import stat
import sys
import typing as t

from ..model.server import SERVING
from .process import close, exists, when_forked

if t.TYPE_CHECKING:
    from .presence import Presence
    from .statedir import Lock, StateDir

log: logging.Logger = logging.getLogger("flask_health")

LOCK = "listener"
COPIES = "listener.socket"
FAILED = "listener.failed"
"""The names in the state directory: who is elected, where copies are given, why there is none."""

BACKLOG = 1024
"""Connections that may wait to be accepted."""

PATIENCE = 0.25
"""Seconds to wait for a copy: an elected worker that is stopped gives none."""

_CLOEXEC: int = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
_NONBLOCK: int = getattr(_socket, "SOCK_NONBLOCK", 0)


class Port:
    """This worker's share in the second port.

    :ivar socket: where its connections come in; None while this worker has no share.
    :ivar copies: where siblings ask for a copy; None in workers that are not elected.
    :ivar problem: why the port could not be opened, for people; empty when it could.
    """

    def __init__(self, address: str, presence: Presence | None) -> None:
        self.socket: _socket.socket | None = None
        self.copies: _socket.socket | None = None
        self.problem: str = ""
        self._address = address
        self._presence = presence
        self._level = logging.NOTSET
        self._lock: Lock | None = None
        self._directory: StateDir | None = None
        when_forked(self)

    @property
    def is_elected(self) -> bool:
        """Whether this worker answers, and others only when it does not."""
        return self._presence is None or self._lock is not None

    @property
    def seen_problem(self) -> str:
        """The same, of whichever worker has tried to open it."""
        if self.problem or self._presence is None or self.socket:
            return self.problem
        return self._presence.directory.read(FAILED)

    @property
    def serves(self) -> bool:
        """Whether this worker serves; one that does not stands back for one that does."""
        return self._presence is None or self._presence.state in SERVING

    def turn(self) -> None:
        """Does what is due, about once a second."""
        if self._presence and self._presence.watch.look().orphaned:
            self.let_go()  # Whoever comes after this server may have it.
            return
        self._elect()
        if self.socket is None:
            self._open() if self.is_elected else self._get_copy()
        if self._lock and self.socket:
            self._give_copies()

    def give_copy(self) -> None:
        """Gives a copy of the socket to a sibling that asks."""
        assert self.copies is not None
        with contextlib.suppress(OSError):
            sibling = accept(self.copies)
            try:
                number = self.socket.fileno() if self.socket else -1
                rights = _socket.SOL_SOCKET, _socket.SCM_RIGHTS, number.to_bytes(4, sys.byteorder)
                sibling.sendmsg([self._address.encode()], [rights], _socket.MSG_DONTWAIT)
            finally:
                sibling.close()

    def leave(self) -> None:
        """Gives this worker's share up. The last one removes the name of a unix socket."""
        had = self.socket is not None
        self.let_go()
        if had and self._address.startswith("unix:"):
            with contextlib.suppress(OSError):
                _remove_dead(self._address[5:])

    def let_go(self) -> None:
        """Closes what this process holds of it, and no more: also in a forked child."""
        for held in (self.socket, self.copies):
            if held is not None:
                held.close()
        self.socket = self.copies = None
        self._resign()

    def _elect(self) -> None:
        """Takes the lock when it is free, and gives it up for a better worker."""
        presence = self._presence
        if presence is None:
            return
        stands_back = not self.serves and presence.watch.look().how_many(SERVING) > 0
        if self._lock and (stands_back or not self._is_in_place(self._lock)):
            self._resign()
        if self._lock is None and not stands_back:
            self._directory = presence.directory
            with contextlib.suppress(OSError):  # It is being mended.
                self._lock = self._directory.claim(LOCK)

    def _is_in_place(self, lock: Lock) -> bool:
        """Whether a lock is still the one that the others find."""
        directory = self._presence.directory if self._presence else None
        return directory is not None and directory is self._directory and directory.has(LOCK, lock)

    def _resign(self) -> None:
        lock, self._lock = self._lock, None
        copies, self.copies = self.copies, None
        if copies:
            copies.close()
        if lock:
            lock.let_go()

    def _open(self) -> None:
        try:
            self.socket = _opened(self._address)
        except OSError as error:
            self._tell(_explain(error))
            return
        log.info("worker %d has opened the second port %s", os.getpid(), self._address)
        self._tell("")

    def _tell(self, why: str) -> None:
        """Tells why the port cannot be opened, once; nothing when it could."""
        problem = why and f"the second port '{self._address}' cannot be opened: {why}"
        # The old server still has it during an upgrade (USR2).
        level = logging.INFO if _has_predecessor() else logging.ERROR
        if problem and (problem != self.problem or level > self._level):
            log.log(level, "%s; trying again every second", problem)
        self.problem, self._level = problem, level
        if self._directory:
            with contextlib.suppress(OSError):
                if problem and self._directory.read(FAILED) != problem:
                    self._directory.write(FAILED, problem)
                elif not problem:
                    self._directory.remove(FAILED)

    def _give_copies(self) -> None:
        """Has siblings find where to ask. Where that fails, they can still be elected."""
        assert self._directory is not None
        if self.copies and self._directory.exists(COPIES):
            return
        if self.copies:
            self.copies.close()
        copies = self.copies = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        temporary = f".tmp.{os.getpid()}.{COPIES}"
        try:
            copies.setblocking(False)
            self._directory.remove(temporary)
            copies.bind(_path(self._directory, temporary))
            copies.listen(BACKLOG)
            self._directory.rename(temporary, COPIES)
        except OSError as error:
            self.copies = None
            copies.close()
            log.debug("the second port cannot be shared: %s", error)

    def _get_copy(self) -> None:
        """Asks the elected worker for a copy of its socket."""
        assert self._presence is not None
        asking = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            asking.settimeout(PATIENCE)
            asking.connect(_path(self._presence.directory, COPIES))
            address, ancillary, _, _ = asking.recvmsg(256, _socket.CMSG_SPACE(4), _CLOEXEC)
        except OSError:
            return  # Nobody is elected yet, or is stopped: again in a second.
        finally:
            asking.close()
        for _, _, rights in ancillary:
            number = int.from_bytes(rights[:4], sys.byteorder)
            os.set_inheritable(number, False)
            if address.decode() == self._address:
                self.socket = _owned(number)
            else:
                close(number)  # The elected worker was configured before a reload.


def _opened(address: str) -> _socket.socket:
    """A socket that listens at an address.

    :raises OSError: when there cannot be one.
    """
    unix = address.startswith("unix:")
    host, _, port = address.rpartition(":")
    inet = _socket.AF_INET6 if host.startswith("[") else _socket.AF_INET
    opened = _socket.socket(_socket.AF_UNIX if unix else inet, _socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        if unix:
            _remove_dead(address[5:])
            opened.bind(address[5:])
        else:
            # A port on which somebody listens stays taken; one that was just left is free.
            opened.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            opened.bind((host.strip("[]"), int(port)))
        opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


def _remove_dead(path: str) -> None:
    """Removes the name of a unix socket on which nobody listens any more.

    :raises OSError: when somebody does, or something else is there.
    """
    visitor = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    visitor.setblocking(False)
    try:
        visitor.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file that is no socket") from None
        os.unlink(path)
    except BlockingIOError:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
    else:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    finally:
        visitor.close()


def _has_predecessor() -> bool:
    """Whether the gunicorn master that ours is to replace is still there."""
    pid = os.environ.get("GUNICORN_PID", "")
    return pid.isdigit() and exists(int(pid))


def _explain(error: OSError) -> str:
    """Why a port cannot be opened, for people."""
    if error.errno == errno.EADDRINUSE:
        return "it is taken"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "it is forbidden to this user"
    return (error.strerror or str(error)).lower()


def _path(directory: StateDir, name: str) -> str:
    """The path of a name in the state directory, short enough for a socket's address."""
    short = f"/proc/self/fd/{directory.fd}"
    return f"{short if os.path.isdir(short) else directory.path}/{name}"


def accept(listening: _socket.socket) -> _socket.socket:
    """The next connection of a listening socket; what reads from it and writes to it must not wait.

    :raises OSError: when there is none.
    """
    number, _ = listening._accept()  # type: ignore[attr-defined]
    # All is told, or it would be asked of the kernel: a thread that computes may take the
    # interpreter away for a while with each such call.
    found = _socket.socket(listening.family, _socket.SOCK_STREAM | _NONBLOCK, 0, number)
    if not _NONBLOCK:
        found.setblocking(False)
    return found


def _owned(number: int) -> _socket.socket:
    """The listening socket with this descriptor."""
    owned = _socket.socket(fileno=number)
    owned.setblocking(False)
    return owned
