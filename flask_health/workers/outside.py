"""Servers of this host as an outsider sees them: in their state directories, without asking them.

The verdicts are the workers' own: the same look, the same judge, the same names. For an exec probe
this has to be quick, so it needs neither `typing` nor `json` nor what else takes long to import.
"""

from __future__ import annotations

import os
import stat
import time

from ..model import judge
from ..model.server import ALLOWED, PAUSE, SERVING, Census, Marker, parse_marker, take_census
from .process import close, is_alive
from .statedir import StateDir, Unusable, available, look_into, marker_is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    import collections.abc as cabc

HOME = "flask-health-"
BOOT = "v1-"

PROGRESS, BEAT = 1, 2
"""Words of a worker's record, as in `records`, which takes longer to import."""

LOOKS = 3
"""How often a directory is read in which a name changes meanwhile."""


class Boot:
    """One start of a server, seen from outside.

    :ivar directory: its state directory.
    :ivar census: its living workers, and what has been decided, at the last look.
    :ivar master: the pid of the process that started them; 0 when nobody has told.
    :ivar least: how many workers must serve, `HEALTH_MIN_WORKERS`.
    :ivar checks: how many checks it has; None when nobody has told.
    :ivar startup_checks: how many of them the startup probe has.
    :ivar patience: after how many seconds without a movement a worker is stalled; 0: never.
    """

    def __init__(self, directory: StateDir) -> None:
        self.directory = directory
        self.census: Census = Census()
        self.look()

    def look(self) -> Census:
        """Reads the directory.

        :raises OSError: when it cannot be read.
        """
        for _ in range(LOOKS):
            names = self.directory.names()
            try:
                markers = [
                    marker
                    for name in names
                    if (marker := parse_marker(name))
                    and marker_is_alive(self.directory, name, marker)
                ]
                break
            except FileNotFoundError:  # Renamed between the two calls.
                markers = []
        master, start = _newest(names, "master", 2) or (0, 0)
        self.master: int = master
        known = _newest(names, "terms", 5)
        _, least, checks, startup_checks, patience = known or (0, 1, 0, 0, 0)
        self.least: int = least
        self.startup_checks: int = startup_checks
        self.patience: int = patience
        self.checks: int | None = checks if known else None
        self.census = take_census(names, markers, orphaned=not _lives(self.master, start))
        return self.census

    @property
    def lives(self) -> bool:
        """Whether anything is left of it: its master or a worker."""
        return bool(self.census.markers) or not self.census.orphaned

    @property
    def gate(self) -> str:
        """The server's gate: `open`, `failed`, `running` or `pending`."""
        return judge.gate_state(self.census)

    def good(self, probe: str) -> bool:
        """The verdict of a probe by its name, at the last look; `health` is `ready`."""
        if probe == "live":
            lives = not self.census.orphaned and not self.stalled
            return lives and self._checks_say_live()
        if probe == "startup":
            started = not self.startup_checks or self.census.started
            return self.census.opened and not self.census.orphaned and self._known and started
        return judge.ready(self.census, self.least) and self.checks_allow and not self.stalled

    @property
    def stalled(self) -> float:
        """For how many seconds all workers have been stalled; 0 when one is not."""
        least, now = 0.0, time.monotonic()
        for marker in self.census.markers if self.patience else ():
            still = now - _moved(self.directory, marker)
            if marker.state not in SERVING or still <= self.patience or still == now:
                return 0.0  # It moves, it has no reason to, or nobody knows.
            least = min(least or still, still)
        return least

    @property
    def checks_allow(self) -> bool:
        """Whether the checks allow traffic, and their results are not stale."""
        if not self._known:
            return False
        fresh = time.monotonic() < self.directory.date_of(ALLOWED)
        return not self.checks or (self.census.allowed and fresh)

    def reason(self, probe: str) -> str:
        """Why a verdict is not good, for people; empty when it is."""
        if self.good(probe):
            return ""
        if not self.master or not self._known:
            return "no worker has said yet what its server is"
        if self.stalled and not self.census.orphaned:
            return f"no worker has moved for {self.stalled:.0f} s"
        if probe == "live" or judge.ready(self.census, self.least):
            from . import outsidechecks

            return judge.reason(self.census, self.least) or outsidechecks.reason(self, probe)
        return judge.reason(self.census, self.least) + self._reason_of_pause()

    def _reason_of_pause(self) -> str:
        if not self.census.paused or self.census.draining:
            return ""
        from ..model.mask import mask

        why = mask(self.directory.read(PAUSE))
        return f": {why}" if why else ""

    @property
    def _known(self) -> bool:
        return self.checks is not None

    def _checks_say_live(self) -> bool:
        # What is ready lives. Else the results have to be read, which takes longer.
        if not self.checks or self.checks_allow:
            return True
        from . import outsidechecks

        return outsidechecks.lives(self)


def _moved(directory: StateDir, marker: Marker) -> float:
    """When a worker last moved, on the monotonic clock; 0 when nobody knows."""
    name = f"records/record.{marker.pid}.{marker.start}"
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory.fd)
    except OSError:
        return 0.0
    try:
        content = os.pread(fd, 8 * (BEAT + 1), 0)
    except OSError:
        return 0.0
    finally:
        close(fd)
    if len(content) < 8 * (BEAT + 1):
        return 0.0
    words = memoryview(content).cast("d")
    return max(words[PROGRESS], words[BEAT]) if words[BEAT] else 0.0


def find(where: str, environ: cabc.Mapping[str, str], extra: cabc.Iterable[str] = ()) -> list[Boot]:
    """The living servers of this host whose state the caller may read.

    :param where: a base, a `flask-health-<uid>` in one, or the directory of a boot; empty: look
        everywhere.
    :param extra: bases to look at before all others.
    :raises Unusable: when `where` cannot be read, or this platform shares no state.
    """
    if not available:
        raise Unusable("this platform shares no state between processes: give a URL")
    if where:
        return _living(_boots_in(where, insist=True))
    found: list[str] = []
    for base in [*extra, *bases(environ)]:
        found += _boots_in(base)
    return _living(found)


def in_use() -> list[Boot]:
    """The living servers whose workers' open files the caller may see: in whatever directory."""
    return _living(_paths_in_use())


def bases(environ: cabc.Mapping[str, str]) -> list[str]:
    """The directories in which servers of this host may have their state."""
    given = [environ.get(name) for name in ("FLASK_HEALTH_STATE_DIR", "XDG_RUNTIME_DIR")]
    temporary = [environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    known = [*given, "/dev/shm", *temporary, "/tmp", "/var/tmp", "/run"]
    found = [base for base in known if base]
    return list(dict.fromkeys([*found, *_folders("/run"), *_folders("/run/user")]))


def _living(paths: cabc.Iterable[str]) -> list[Boot]:
    """The servers among some directories of boots, each once."""
    found: dict[str, Boot] = {}
    for path in dict.fromkeys(paths):
        try:
            boot = Boot(look_into(path))
        except OSError:
            continue  # Not ours to read, or just removed.
        name = os.path.basename(path)
        known = found.get(name)
        if boot.lives and (known is None or not known.census.markers):
            found[name] = boot
    return list(found.values())


def _boots_in(where: str, insist: bool = False) -> list[str]:
    """The paths of the boots' directories in a base, or in one of the homes there.

    :param insist: raise when `where` cannot be read.
    """
    name = os.path.basename(os.path.normpath(where))
    if name.startswith(BOOT):
        return [where]
    if name.startswith(HOME) and insist and os.path.exists(where) and not _is_private(where):
        raise Unusable(f"{where} must belong to the user in its name, with mode 0700")
    homes = [where] if name.startswith(HOME) else _named(where, HOME, insist)
    insist = insist and homes == [where]
    return [path for home in homes if _is_private(home) for path in _named(home, BOOT, insist)]


def _named(where: str, beginning: str, insist: bool) -> list[str]:
    try:
        names = os.listdir(where)
    except OSError as error:
        if insist:
            raise Unusable(f"{where} cannot be read: {error.strerror}") from None
        return []
    return [os.path.join(where, name) for name in names if name.startswith(beginning)]


def _is_private(home: str) -> bool:
    """Whether a home is what it seems: nobody but the user in its name can write there."""
    try:
        found = os.lstat(home)
    except OSError:
        return False
    owner = os.path.basename(os.path.normpath(home)).removeprefix(HOME)
    private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    return private and owner == str(found.st_uid)


def _folders(where: str) -> list[str]:
    try:
        with os.scandir(where) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _paths_in_use() -> list[str]:
    """The directories of boots that processes of this host hold open: every worker does."""
    found = []
    for pid in filter(str.isdigit, _listed("/proc")):
        for fd in _listed(f"/proc/{pid}/fd"):
            try:
                path = os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                continue
            home, name = os.path.split(path)
            if name.startswith(BOOT) and HOME in home and _is_private(home):
                found.append(path)
    return found


def _listed(where: str) -> list[str]:
    try:
        return os.listdir(where)
    except OSError:
        return []


def _newest(names: cabc.Iterable[str], word: str, numbers: int) -> list[int] | None:
    """The numbers in the name that begins with a word; of several names, the largest."""
    found = []
    for name in names:
        first, *rest = name.split(".")
        if first == word and len(rest) == numbers and all(map(_is_number, rest)):
            found.append([int(text) for text in rest])
    return max(found, default=None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _lives(pid: int, start: int) -> bool:
    """Whether a process is there, and the one that was meant."""
    if start or not pid:
        return bool(pid) and is_alive(pid, start)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It is there, and somebody else's.
    return True
