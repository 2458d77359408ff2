"""The `memory` check: what the kernel of this machine says, and what others would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
from support.calls import failure

from flask_health.checks import memory
from flask_health.exceptions import Degraded

MIB = 1 << 20
MEMINFO = "MemTotal: 1024000 kB\nMemFree: 100000 kB\nMemAvailable: 768000 kB\n"
UNLIMITED_V1 = 9223372036854771712


def test_this_machine() -> None:
    """The real files can be read."""
    share, unit = memory(1.0)()
    assert 0 < share <= 100
    assert unit == "percent"


def _machine(root: Path, cgroup: str, **files: str) -> memory:
    """The check on a machine whose files are below `root`; `/` in names of files is `__`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("memory_", "memory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    check = memory(1.0)
    check.root = root
    return check


def test_without_a_limit_it_is_the_machines(tmp_path: Path) -> None:
    """What is available is not used."""
    assert _machine(tmp_path, "0::/\n")() == (25.0, "percent")


def test_cgroup_v2_in_a_container(tmp_path: Path) -> None:
    """The working set, against the limit: cache that is inactive does not count."""
    check = _machine(
        tmp_path,
        "0::/\n",
        memory_max=str(100 * MIB),
        memory_current=str(80 * MIB),
        memory_stat=f"anon 1\ninactive_file {30 * MIB}\nactive_file 7",
    )
    assert check() == (50.0, "percent")


def test_the_fullest_of_the_cgroups_above_counts(tmp_path: Path) -> None:
    """A slice may be full though its service is not."""
    check = _machine(
        tmp_path,
        "0::/app.slice/web.service\n",
        app_slice__memory_max="1",  # another cgroup
        **{
            "app.slice__memory_max": str(200 * MIB),
            "app.slice__memory_current": str(180 * MIB),
            "app.slice__memory_stat": "inactive_file 0",
            "app.slice__web.service__memory_max": str(100 * MIB),
            "app.slice__web.service__memory_current": str(10 * MIB),
            "app.slice__web.service__memory_stat": "inactive_file 0",
        },
    )
    assert check() == (90.0, "percent")
    check._max_used = 0.89
    assert "180 of 200 MiB of the cgroup app.slice used, more than 89%" in str(failure(check))


@pytest.mark.parametrize("limit", ["max", "0"])
def test_cgroup_v2_without_a_limit(tmp_path: Path, limit: str) -> None:
    """Then the machine's memory counts."""
    check = _machine(
        tmp_path, "0::/x\n", x__memory_max=limit, x__memory_current="1", x__memory_stat=""
    )
    assert check() == (25.0, "percent")


@pytest.mark.parametrize("path", ["/", "/docker/0123456789"])
def test_cgroup_v1_in_a_container(tmp_path: Path, path: str) -> None:
    """Also where the path is the host's, which the container cannot see."""
    check = _machine(
        tmp_path,
        f"5:cpu,cpuacct:{path}\n4:memory:{path}\n0::/\n",
        memory__memory_limit_in_bytes=str(100 * MIB),
        memory__memory_usage_in_bytes=str(60 * MIB),
        memory__memory_stat=f"inactive_file 1\ntotal_inactive_file {20 * MIB}",
    )
    assert check() == (40.0, "percent")


def test_cgroup_v1_without_a_limit(tmp_path: Path) -> None:
    """What v1 calls no limit is a very large one."""
    check = _machine(
        tmp_path,
        "4:memory:/\n",
        memory__memory_limit_in_bytes=str(UNLIMITED_V1),
        memory__memory_usage_in_bytes="1",
        memory__memory_stat="total_inactive_file 0",
    )
    assert check() == (25.0, "percent")


def test_without_proc_psutil_is_asked(tmp_path: Path) -> None:
    """As on macOS and Windows."""
    check = memory(1.0)
    check.root = tmp_path
    told = psutil.virtual_memory()
    share, _ = check()
    assert abs(share - 100 * (told.total - told.available) / told.total) < 10


@pytest.mark.parametrize(
    ("used", "error", "words"),
    [
        (800, None, ""),
        (801, Degraded, "more than 80%"),
        (900, Degraded, "more than 80%"),
        (901, RuntimeError, "more than 90%"),
    ],
)
def test_thresholds(tmp_path: Path, used: int, error: type[Exception] | None, words: str) -> None:
    """Conformance F22: the threshold itself is fine."""
    _machine(
        tmp_path,
        "0::/\n",
        memory_max=str(1000 * MIB),
        memory_current=str(used * MIB),
        memory_stat="inactive_file 0",
    )
    check = memory(0.9, warn_used=0.8)
    check.root = tmp_path
    if error is None:
        assert check() == (used / 10, "percent")
        return
    with pytest.raises(error, match=words):
        check()


def test_liveness_may_use_it() -> None:
    """It asks no other process."""
    assert not memory().network


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_used": 90}, ValueError, "'max_used' must be a share above 0 and up to 1, not 90"),
        ({"max_used": 0}, ValueError, "'max_used' must be a share above 0"),
        ({"max_used": "90%"}, TypeError, "'max_used' must be a number"),
        ({"max_used": 0.8, "warn_used": 0.9}, ValueError, r"'warn_used' \(0\.9\) must not exceed"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """One clear message, when the check is made."""
    with pytest.raises(error, match=words):
        memory(**options)
