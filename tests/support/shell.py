"""Running the command line for a test, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.environment import environment

Done = subprocess.CompletedProcess[str]


def command(*words: str) -> list[str]:
    """Return the command line that runs `python -m flask_health` with these words."""
    return [sys.executable, "-m", "flask_health", *words]


def run(
    home: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    timeout: float = 60.0,
) -> Done:
    """Run the command line to its end; AssertionError when it complains in a traceback."""
    done = subprocess.run(
        [*wrapper, *command(*words)],
        cwd=home,
        env=environment(home) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done
