"""The README: its example is served as it stands there, and answers what it shows."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.gunicorn import Gunicorn, Serve

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
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
    assert options in ([], ["-i"])
    parts = urlsplit(url)
    assert parts.netloc == SHOWN_ON
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {SHOWN_ON}",
        "User-Agent: curl/8",
        "Accept: */*",
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=20.0) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return "\n".join([*head.splitlines(), "", body]) if options else body


def without_date(text: str) -> str:
    """Return an answer with the same date as every other."""
    return re.sub(r"^Date: .+$", "Date: today", text.rstrip("\n"), flags=re.MULTILINE)


def answers_as_shown(server: Gunicorn, block: str) -> None:
    """Assert that each command of a console block prints what stands below it."""
    assert isinstance(server.address, int)
    for command, shown in exchanges(block):
        assert without_date(curl(command, server.address)) == without_date(shown), command


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
    during, after = blocks("console")
    server = serve("app:app", workers=4, home=example)
    answers_as_shown(server, during)
    server.answers(200)
    answers_as_shown(server, after)


def test_the_example_is_short() -> None:
    """It fits into fifteen lines, and so does the first screen with both commands."""
    (source,) = blocks("python")
    assert len(source.splitlines()) <= 15
    screen = README.splitlines()[:30]
    assert {line for block in blocks("sh") for line in block.splitlines()} <= set(screen)
    assert len(README.splitlines()) <= 110
