"""A state directory that vanishes, is full, read-only or unsafe."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import statedir
from support.gunicorn import Gunicorn, Serve
from support.mounts import can_unshare, fill, tmpfs
from support.system import NAMESPACES
from support.waiting import eventually

OK = (200, "ok")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and chown need root")
needs_mounts = pytest.mark.skipif(
    not can_unshare("--mount"), reason=f"needs root and: {NAMESPACES.apt_get}"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 64 KiB."""
    with tmpfs(tmp_path / "disk", "size=64k") as path:
        yield path


def elsewhere(server: Gunicorn) -> Path:
    """Return the candidate after the configured base: the runtime directory."""
    return server.home / "xdg_runtime_dir"


def agrees_elsewhere(server: Gunicorn) -> None:
    """Assert that all three workers have passed over the base and met in one directory."""
    assert server.answers(200).answer == OK
    found = [m for m in statedir.markers(elsewhere(server), "ready") if m.held]
    assert sorted(m.pid for m in found) == sorted(server.workers())
    assert len({m.path.parent for m in found}) == 1
    assert str(server.state) in server.log()


@pytest.mark.parametrize("which", ["boot", "component", "base"])
def test_removed_directory_comes_back(serve: Serve, which: str) -> None:
    """200 again within seconds, from the same workers; a worker that dies later is replaced."""
    server = serve()
    server.answers(200)
    workers = server.workers()
    (boot,) = statedir.boots(server.state)
    target = {"boot": boot, "component": boot.parent, "base": server.state}[which]
    with server.prober() as prober:
        statedir.remove(target)
        removed = time.monotonic()
        if which == "base":
            server.state = elsewhere(server)
        server.has_markers(3, "ready")
        recovered = server.answers(200).at
        prober.sees(20)
    assert recovered - removed < 5.0
    assert prober.codes() <= {200, 503}
    assert prober.codes(since=recovered) == {200}
    assert server.workers() == workers
    assert server.get("/health/startup").answer == OK
    server.kill(workers[0])
    server.has_markers(3, "ready")
    assert server.get().answer == OK


def test_removed_marker_comes_back(serve: Serve) -> None:
    """A cleaner that takes one marker makes no worker disappear for long."""
    server = serve()
    server.answers(200)
    lost = server.markers("ready")[1]
    lost.path.unlink()
    again = server.has_markers(3, "ready")
    assert lost.pid in [m.pid for m in again]
    assert server.get().answer == OK


@needs_root
def test_full_disk_stops_nothing(serve: Serve, disk: Path) -> None:
    """Markers are names: on a full tmpfs the gate opens and a crash is survived."""
    fill(disk)
    server = serve(state=disk)
    server.answers(200)
    assert len(server.has_markers(3, "ready")) == 3
    with server.prober() as prober:
        with prober.paused():
            server.kill(server.workers()[0])
        eventually(lambda: server.stage.pids("finished"), lambda pids: len(pids) == 4)
        server.has_markers(3, "ready")
    assert prober.codes() == {200}


@needs_root
def test_disk_that_fills_up_later_stops_nothing(serve: Serve, disk: Path) -> None:
    """No worker of a running server dies of a disk that fills up under its records."""
    server = serve(state=disk)
    server.answers(200)
    workers = server.workers()
    fill(disk)
    with server.load() as load:
        load.sees(60)
    assert load.codes() == {200}
    assert server.get().answer == OK
    assert server.workers() == workers


@needs_root
def test_directory_without_a_free_inode_is_passed_over(serve: Serve, tmp_path: Path) -> None:
    """Where nothing can be created, all workers agree on the next candidate."""
    with tmpfs(tmp_path / "disk", "nr_inodes=1") as disk:
        agrees_elsewhere(serve(state=disk))


@needs_root
def test_read_only_directory_is_passed_over(serve: Serve, tmp_path: Path) -> None:
    """A read-only file system is logged, and all workers agree on the next candidate."""
    with tmpfs(tmp_path / "disk", "ro") as disk:
        agrees_elsewhere(serve(state=disk))


def planted_symlink(ours: Path, aim: Path) -> None:
    """Point our component to another directory."""
    ours.symlink_to(aim, target_is_directory=True)


def planted_file(ours: Path, aim: Path) -> None:
    """Put a plain file where our component belongs."""
    ours.touch()


def open_to_all(ours: Path, aim: Path) -> None:
    """Let everybody write into our component."""
    ours.mkdir()
    ours.chmod(0o777)


def foreign(ours: Path, aim: Path) -> None:
    """Give our component to another user."""
    ours.mkdir(0o700)
    os.chown(ours, 65534, 65534)


@pytest.mark.parametrize(
    "plant",
    [planted_symlink, planted_file, open_to_all, pytest.param(foreign, marks=needs_root)],
)
def test_unsafe_directory_is_passed_over(
    serve: Serve, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    """What somebody planted is neither followed nor used, nor changed; the log names it."""
    state, aim = tmp_path / "state", tmp_path / "aim"
    state.mkdir()
    aim.mkdir(0o700)  # as safe as ours would be: it must be the link that is refused
    ours = statedir.ours(state)
    plant(ours, aim)
    before = os.lstat(ours)
    agrees_elsewhere(serve(state=state))
    after = os.lstat(ours)
    assert (after.st_mode, after.st_uid, after.st_ino) == (
        before.st_mode,
        before.st_uid,
        before.st_ino,
    )
    assert not list(aim.iterdir())
    assert not ours.is_dir() or not list(ours.iterdir())


NOWHERE = """
set -e
mount -t tmpfs none /dev/shm
for base in /dev/shm "$TMPDIR" "$XDG_RUNTIME_DIR" "$FLASK_HEALTH_STATE_DIR" /tmp /var/tmp; do
    [ -d "$base" ] && touch "$base/flask-health-0"
done
exec "$@"
"""


@needs_mounts
def test_no_directory_at_all(serve: Serve) -> None:
    """With none left each worker answers for itself, and the log says so once each."""
    wrapper = ["unshare", "--mount", "sh", "-c", NOWHERE.replace(" /tmp /var/tmp", ""), "sh"]
    server = serve(workers=2, wrapper=wrapper)
    eventually(lambda: len(server.stage.pids("finished")), lambda number: number == 2)
    eventually(lambda: {server.get().answer for _ in range(10)}, lambda seen: seen == {OK})
    assert not statedir.markers(server.state)
    with server.load() as load:
        eventually(load.pids, lambda pids: pids == set(server.workers()))
    assert load.codes() == {200}
