"""The `disk` check, on file systems of a megabyte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.calls import failure
from support.mounts import can_unshare, fill, tmpfs
from support.system import NAMESPACES

from flask_health.checks import disk
from flask_health.exceptions import Degraded

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or not can_unshare("--mount"),
    reason=f"needs root and: {NAMESPACES.apt_get}",
)
BLOCK = 4096
SIZE = 256 * BLOCK


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of which half is used."""
    with tmpfs(tmp_path / "disk", f"size={SIZE}") as path:
        (path / "half").write_bytes(b"x" * (SIZE // 2))
        yield path


@needs_mounts
@pytest.mark.parametrize(
    ("min_free", "fails"),
    [(SIZE // 2, False), (SIZE // 2 + 1, True), (0.5, False), (0.501, True), (0, False)],
)
def test_threshold_itself_is_fine(place: Path, min_free: float, fails: bool) -> None:
    """Conformance F23, in bytes and as a share."""
    check = disk(place, min_free=min_free)
    if fails:
        assert f"{place}: 512 KiB of 1 MiB free, less than" in str(failure(check))
    else:
        assert check() == (SIZE // 2, "bytes")


@needs_mounts
def test_little_room_is_degraded(place: Path) -> None:
    """Below `warn_free`, until there is less than `min_free`; afterwards it passes again."""
    check = disk(place, min_free=BLOCK, warn_free=0.6)
    with pytest.raises(Degraded, match=r"512 KiB of 1 MiB free, less than 0\.6 of it"):
        check()
    fill(place)
    assert "0 bytes of 1 MiB free, less than 4 KiB" in str(failure(check))
    (place / "half").unlink()
    (place / "ballast").unlink()
    assert check() == (SIZE, "bytes")


@needs_mounts
def test_no_inode_is_told(tmp_path: Path) -> None:
    """Room for bytes is no use when no file can be created."""
    with tmpfs(tmp_path / "disk", "size=1m", "nr_inodes=2") as path:
        check = disk(path, min_free=0)
        check()
        (path / "last").touch()
        assert "no inode is free" in str(failure(check))


def test_missing_path_is_told(tmp_path: Path) -> None:
    """A volume that is not mounted."""
    assert str(tmp_path / "gone") in str(failure(disk(tmp_path / "gone")))


def test_liveness_may_use_it(tmp_path: Path) -> None:
    """It asks no other process."""
    assert not disk(tmp_path).network


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"min_free": -1}, ValueError, "'min_free' must be bytes, or a share below 1, not -1"),
        ({"min_free": "5%"}, TypeError, "'min_free' must be a number, not '5%'"),
        ({"min_free": 0.2, "warn_free": 0.1}, ValueError, r"'warn_free' \(0\.1\) must not be less"),
        ({"min_free": 200, "warn_free": 100}, ValueError, r"'warn_free' \(100\) must not be less"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        disk("/", **options)
