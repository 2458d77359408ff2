"""The shared state directory: where the workers of one boot tell each other what is true.

Everything is a name: a marker has no content, its state is in its file name, and its truth is a
lock that the kernel drops with its owner. So a full disk stops nothing, a worker killed at any
instruction leaves nothing that is believed, and `ls` shows all there is to know.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from _thread import get_ident

from ..model.server import Marker
from .process import close, exists, start_time, when_forked

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections.abc as cabc

try:
    import fcntl
except ImportError:  # Windows: every process is a server of one.
    fcntl = None  # type: ignore[assignment]

available: bool = fcntl is not None
"""Whether this platform can share state between processes at all."""

DIRECTORY: int = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
"""How a directory is opened: never through a symbolic link."""

_CREATE = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)

MOST_TEXT = 1 << 20
"""Characters of a file that are read."""

LATEST = 1e9
"""Seconds on the monotonic clock that no machine reaches, and every file system can write down."""

ABOUT = "about.json"
"""What outsiders are told of the server."""

PROGRESS = "progress"
"""The folder in which workers that start tell how far they have come."""


def progress_of(pid: int) -> str:
    """The file in which a worker tells how far its setup has come."""
    return f"{PROGRESS}/{pid}.json"


LONGEST_WAIT = 0.2
"""Seconds that a writer waits for another one."""


class Unusable(Exception):
    """A directory cannot be used for shared state; the message says why."""


class Lock:
    """A lock on a file that the kernel drops when the process that took it dies.

    It belongs to the open file, which a forked child would share: the child lets go of it, or a
    child that outlives its parent would keep the marker of a dead worker alive.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        when_forked(self)

    @property
    def inode(self) -> int:
        """The inode that is locked."""
        return os.fstat(self._fd).st_ino

    def let_go(self) -> None:
        """Gives the lock up, or this process's share in it. Again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close(fd)

    __del__ = let_go


class StateDir:
    """The directory of one boot, opened once; all work goes through its descriptor.

    :ivar path: where it is, for people.
    :ivar fd: its descriptor.
    """

    def __init__(self, path: str, fd: int, presence: Lock) -> None:
        self.path = path
        self.fd = fd
        self._presence = presence
        self._inode = os.fstat(fd).st_ino

    def __del__(self) -> None:
        # Not closed by hand: a probe in another thread may still be reading through it.
        close(self.fd)

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def has(self, name: str, lock: Lock) -> bool:
        """Whether a lock is still the one on the file of this name."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_ino == lock.inode
        except OSError:
            return False

    def create(self, name: str) -> None:
        """Creates an empty file; one that exists is left as it is."""
        close(os.open(name, _CREATE, 0o600, dir_fd=self.fd))

    def date(self, name: str, moment: float) -> None:
        """Gives a file a modification time: a moment on the monotonic clock, in seconds."""
        moment_ns = int(min(moment, LATEST) * 1e9)
        os.utime(name, ns=(moment_ns, moment_ns), dir_fd=self.fd, follow_symlinks=False)

    def date_of(self, name: str) -> float:
        """The same for a reader; 0 when there is no such file."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mtime_ns / 1e9
        except OSError:
            return 0.0

    def remove(self, name: str) -> None:
        """Removes a file, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def rename(self, old: str, new: str) -> None:
        """Renames a file; its lock and its inode stay."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def write(self, name: str, text: str) -> None:
        """Replaces a file's text as a whole, or raises OSError and leaves it as it was."""
        # Beside its target, in a folder too: the state directory itself must not seem to change.
        folder = os.path.dirname(name)
        temporary = os.path.join(folder, f".tmp.{os.getpid()}.{get_ident()}")
        fd = os.open(temporary, _CREATE | os.O_TRUNC, 0o600, dir_fd=self.fd)
        try:
            with open(fd, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            self.rename(temporary, name)
        except OSError:
            self.remove(temporary)
            raise

    def make_folder(self, name: str) -> None:
        """Creates a folder for files that change often; one that exists is left as it is."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self.fd)

    def read(self, name: str) -> str:
        """A file's text; empty when it cannot be read."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self.fd)
            with open(fd, encoding="utf-8", errors="replace") as file:
                return file.read(MOST_TEXT)
        except OSError:
            return ""

    def names(self, folder: str = ".") -> list[str]:
        """The names of all files; none when the directory, or a folder in it, is not there."""
        try:
            # A descriptor of its own: two threads that list one share its position.
            fd = os.open(folder, DIRECTORY, dir_fd=self.fd)
        except FileNotFoundError:
            return []
        try:
            return os.listdir(fd)
        finally:
            close(fd)

    def claim(self, name: str) -> Lock | None:
        """Takes the lock on a file that is never removed; None while another process has it."""
        fd = os.open(name, _CREATE, 0o600, dir_fd=self.fd)
        return Lock(fd) if try_lock(fd) else None

    @contextlib.contextmanager
    def having(self, folder: str) -> cabc.Iterator[None]:
        """Keeps other writers out of a folder, for a moment: for whoever changes what is there
        already. Where one keeps it for too long, stopped maybe, it is not waited for.

        :raises OSError: when the folder is not there.
        """
        deadline = time.monotonic() + LONGEST_WAIT
        lock = self._lock_folder(folder)
        while lock is None and time.monotonic() < deadline:
            time.sleep(0.002)
            lock = self._lock_folder(folder)
        try:
            yield
        finally:
            if lock:
                lock.let_go()

    def _lock_folder(self, folder: str) -> Lock | None:
        fd = os.open(folder, DIRECTORY, dir_fd=self.fd)
        return Lock(fd) if try_lock(fd) else None

    def is_locked(self, name: str) -> bool:
        """Whether a living process holds the lock on a file.

        :raises OSError: when it cannot be known; FileNotFoundError when there is no such file.
        """
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self.fd)
        # Readers ask for a shared lock: they never see one another, only an owner.
        if try_lock(fd, shared=True):
            close(fd)
            return False
        return True

    def in_place(self) -> bool:
        """Whether this is still the directory that others find at its path."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino == self._inode
        except OSError:
            return False

    def leave(self) -> None:
        """Says that this process no longer uses the directory."""
        self._presence.let_go()


class Publication:
    """A worker's own marker: visible only once it is locked, renamed at each change of state.

    :ivar marker: what it says now.
    """

    def __init__(self, directory: StateDir, marker: Marker) -> None:
        self.marker: Marker = marker
        self._directory = directory
        # Locked under a temporary name first: nobody ever sees an unlocked marker of the living.
        temporary = f".tmp.{marker.pid}.{marker.age}"
        directory.remove(temporary)
        fd = os.open(temporary, _CREATE | os.O_EXCL, 0o600, dir_fd=directory.fd)
        if not try_lock(fd):
            raise OSError(errno.EWOULDBLOCK, "a new file is locked", temporary)
        self._lock = Lock(fd)
        directory.rename(temporary, marker.name)

    def change(self, marker: Marker) -> None:
        """Says something else."""
        self._directory.rename(self.marker.name, marker.name)
        self.marker = marker

    def shows(self, marker: Marker) -> bool:
        """Whether others find this marker, and find it locked by this process."""
        try:
            found = os.stat(marker.name, dir_fd=self._directory.fd, follow_symlinks=False)
            return found.st_ino == self._lock.inode
        except OSError:
            return False

    def let_go(self) -> None:
        """Unlocks it, and leaves its name for others to read."""
        self._lock.let_go()

    def withdraw(self) -> None:
        """Takes it away."""
        with contextlib.suppress(OSError):
            self._directory.remove(self.marker.name)
        self._lock.let_go()


def marker_is_alive(directory: StateDir, name: str, marker: Marker) -> bool:
    """Whether a marker's writer lives: its lock is held, by the process that it names.

    :raises OSError: when it cannot be known.
    """
    if not directory.is_locked(name):
        return False
    start = start_time(marker.pid)
    return marker.start in (start, 0) or (not start and exists(marker.pid))


def look_into(path: str) -> StateDir:
    """The directory of a boot for an outsider.

    :raises OSError: when it cannot be opened.
    """
    return StateDir(path, os.open(path, DIRECTORY), Lock(-1))


def candidates(configured: str | None, server_tmp: str | None) -> list[str]:
    """The bases to try for shared state, best first."""
    import tempfile  # Here: who only reads cannot wait for it.

    found = (
        server_tmp,
        os.environ.get("XDG_RUNTIME_DIR"),
        "/dev/shm",
        tempfile.gettempdir(),
    )
    present = [base for base in found if base and os.path.isdir(base)]
    return list(dict.fromkeys(([configured] if configured else []) + present))


def try_lock(fd: int, shared: bool = False) -> bool:
    """Tries to lock an open file; closes it when another process has it."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        close(fd)
        return False
    except OSError:
        close(fd)
        raise
    return True
