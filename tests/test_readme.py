"""The README: its example is served as it stands there, and answers what it shows."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.gunicorn import Gunicorn, Serve
from support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SHOWN_ON = "127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the README in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def exchanges(block: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output below it."""
    parts = re.split(r"^\$ (.+)\n", block, flags=re.MULTILINE)
    assert not parts[0]
    return [
        (command, shown.rstrip("\n"))
        for command, shown in zip(parts[1::2], parts[2::2], strict=True)
    ]


def curl(command: str, port: int) -> str:
    """Return what this curl prints, asking the server on `port` instead of the one shown."""
    program, *options, url = shlex.split(command)
    assert program == "curl"
    assert options in ([], ["-i"]) or options[0] == "-H"
    more = options[1:]
    parts = urlsplit(url)
    assert parts.netloc == SHOWN_ON
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {SHOWN_ON}",
        "User-Agent: curl/8",
        "Accept: */*",
        *more,
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=20.0) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return "\n".join([*head.splitlines(), "", body]) if options == ["-i"] else body


def timeless(text: str) -> str:
    """Return an answer with the same date and the same durations as every other."""
    text = re.sub(r"^Date: .+$", "Date: today", text.rstrip("\n"), flags=re.MULTILINE)
    return re.sub(r"\(\d+ ms\)$", "(0 ms)", text, flags=re.MULTILINE)


def same(shown: str, answer: str) -> bool:
    """Return whether an answer is the one shown."""
    return timeless(answer) == timeless(shown)


def answers_as_shown(server: Gunicorn, block: str) -> None:
    """Assert that each command of a console block prints what stands below it."""
    assert isinstance(server.address, int)
    for command, shown in exchanges(block):
        assert same(shown, answer := curl(command, server.address)), (command, answer)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The directory of the example, saved as the README says."""
    (source,) = blocks("python")
    home = tmp_path / "example"
    home.mkdir()
    (home / "app.py").write_text(source)
    return home


def test_the_example_answers_what_is_shown(serve: Serve, example: Path) -> None:
    """Served by four workers it prints the first answers during setup, then the others."""
    during, after, _ = blocks("console")
    server = serve("app:app", workers=4, home=example)
    answers_as_shown(server, during)
    server.answers(200, within=90.0)
    answers_as_shown(server, after)


@pytest.mark.matrix
def test_the_search_engine_loses_its_database_as_shown(serve: Serve, tmp_path: Path) -> None:
    """Removed by the command that is shown, its four workers answer what is shown, in time."""
    (remove, nothing), *asked = exchanges(blocks("console")[2])
    (token,) = re.findall(r"`export FLASK_HEALTH_TOKEN=(\w+)`", README)
    home = tmp_path / "example"
    home.mkdir()
    shutil.copy(ROOT / "example_app.py", home)
    env = {"FLASK_HEALTH_TOKEN": token}
    server = serve("example_app:app", workers=4, home=home, env=env)
    assert isinstance(server.address, int)
    server.answers(200, within=90.0)
    assert not nothing
    subprocess.run(["sh", "-c", remove], env=server.environment, check=True)
    server.answers(503, within=4.0)
    for command, shown in asked:
        # A worker that said "ok" just now says so for a moment more.
        eventually(partial(curl, command, server.address), partial(same, shown), why=command)
    server.signal(signal.SIGHUP)
    eventually(lambda: server.log().count("has filled") == 2, within=90.0, why="a new database")
    server.answers(200, within=90.0)


def test_the_example_is_short() -> None:
    """It fits into fifteen lines, and so does the first screen with both commands."""
    (source,) = blocks("python")
    assert len(source.splitlines()) <= 15
    screen = README.splitlines()[:30]
    assert {line for block in blocks("sh") for line in block.splitlines()} <= set(screen)
    assert len(README.splitlines()) <= 140
