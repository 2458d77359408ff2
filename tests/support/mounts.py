"""Small file systems of their own, for tests that run as root."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tmpfs(path: Path, *options: str) -> Iterator[Path]:
    """Mount a tmpfs at `path` for the block; PermissionError where mounting is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    chosen = ",".join(["mode=0777", *options])
    command = ["mount", "-t", "tmpfs", "-o", chosen, "flask-health-test", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(directory: Path) -> None:
    """Write into a file in `directory` until the disk is full."""
    with (directory / "ballast").open("wb", buffering=0) as ballast:
        for size in (4096, 1):
            try:
                while ballast.write(b"x" * size):
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(directory).free == 0


def can_unshare(*flags: str) -> bool:
    """Tell whether `unshare` with these flags works here."""
    if not shutil.which("unshare"):
        return False
    done = subprocess.run(["unshare", *flags, "true"], capture_output=True, check=False)
    return done.returncode == 0


def public(*paths: str | Path) -> list[str]:
    """Return a wrapper in whose mount namespace every user can reach `paths`.

    Directories on the way that only their owner may enter are covered by empty ones,
    into which `paths` are bound: `/root` hides an interpreter, a checkout, a home.
    """
    wanted = {str(Path(path).resolve()): _closed(Path(path).resolve()) for path in paths}
    hidden = [path for path, closed in wanted.items() if closed]
    lines = ["set -e", "mount -t tmpfs none /mnt"]
    for number, path in enumerate(hidden):
        lines += [f"mkdir /mnt/{number}", f"mount --bind '{path}' /mnt/{number}"]
    for closed in sorted({str(wanted[path]) for path in hidden}):
        lines.append(f"mount -t tmpfs -o mode=0755 none '{closed}'")
    for number, path in enumerate(hidden):
        lines += [f"mkdir -p '{path}'", f"mount --bind /mnt/{number} '{path}'"]
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        "\n".join([*lines, f"cd '{paths[0]}'", 'exec "$@"']),
        "sh",
    ]


def _closed(path: Path) -> Path | None:
    """Return the highest directory above `path` that others may not enter."""
    return next((up for up in reversed(path.parents) if not up.stat().st_mode & 0o001), None)
