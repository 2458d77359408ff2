"""Where the output of a command goes to is not its matter: its verdict stays the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support import shell
from support.answering import answering, says
from support.environment import environment, free_port


def into(home: Path, where: int | str, *words: str, **env: str) -> tuple[int, str]:
    """Run a command whose output goes there; return its exit status, and what it complains of."""
    out = where if isinstance(where, int) else os.open(where, os.O_WRONLY)
    try:
        done = subprocess.run(
            shell.command(*words),
            cwd=home,
            env=environment(home, **env),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(out)
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["check"], 1),
        (["check", "--nagios"], 2),
        (["wait", "--timeout", "0.3"], 1),
    ],
)
def test_no_reader_makes_no_verdict_good(
    tmp_path: Path, words: list[str], code: int, unbuffered: str
) -> None:
    """`wait | head -1` of a server that is not there: it fails, and says nothing of the pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    found = into(tmp_path, writer, *words, f":{free_port()}", PYTHONUNBUFFERED=unbuffered)
    assert found == (code, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_no_reader_makes_no_verdict_bad(tmp_path: Path, unbuffered: str) -> None:
    """`check | true` of a server that is ready."""
    reader, writer = os.pipe()
    os.close(reader)
    with answering(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as (port, _):
        found = into(tmp_path, writer, "check", f":{port}", PYTHONUNBUFFERED=unbuffered)
    assert found == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, unbuffered: str) -> None:
    """A full disk: what was asked for is not there, so it is no success."""
    found = into(tmp_path, "/dev/full", "check", "--help", PYTHONUNBUFFERED=unbuffered)
    assert found == (1, "flask-health: [Errno 28] No space left on device\n")


def test_a_letter_that_the_output_does_not_know(tmp_path: Path) -> None:
    """It is written as in a Python string; so in a locale without UTF-8."""
    act = says("HTTP/1.1 302 Found\r\nLocation: /ü\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
    with answering(act) as (port, _):
        done = shell.run(tmp_path, "check", f":{port}", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert done.stdout.endswith("/health answered 302, a redirection to /\\xfc\n")


def test_a_closed_output(tmp_path: Path) -> None:
    """`status >&-` says on the other channel what there is to say."""
    closing = ("sh", "-c", 'exec "$@" >&-', "sh")
    done = shell.run(tmp_path, "status", "--state", str(tmp_path), wrapper=closing)
    assert done.returncode == 1
    assert done.stderr == f"flask-health status: no server has its state in {tmp_path}\n"
