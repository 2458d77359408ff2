"""The first page that a new user reads: its commands, in order, print what it shows."""

from __future__ import annotations

import re
import signal
import subprocess
from functools import partial
from pathlib import Path

from support import shell
from support.gunicorn import Gunicorn, Serve
from support.waiting import eventually

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "start.md").read_text()
STOCK = "/tmp/stock"
SERVER = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the page in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def exchanges() -> list[tuple[str, str]]:
    """Return the commands that the page shows, each with what stands below it."""
    parts = [part for text in blocks("console") for part in re.split(r"(?m)^\$ (.+)\n", text)[1:]]
    return list(zip(parts[::2], parts[1::2], strict=True))


def done(server: Gunicorn, command: str) -> str:
    """Do what a command of the page does, to this server; return what it prints."""
    if command.startswith("curl "):
        path = command.removeprefix(f"curl {SERVER}")
        return server.get(path).body.strip() + "\n"
    here = command.replace(STOCK, str(server.home / "stock"))
    here = here.replace(SERVER, f"http://127.0.0.1:{server.address}")
    here = here.replace("status", f"status --state {server.state}")
    here = here.replace("flask-health", " ".join(shell.command()))
    env = server.environment
    return subprocess.run(
        ["sh", "-c", here], env=env, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def same(shown: str, printed: str) -> bool:
    """Return whether that is what the page shows, but for the place, and how long it took."""
    printed = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8000", printed)
    printed = re.sub(r"'/\S*/stock'", f"'{STOCK}'", printed)
    seconds = r"\d+(\.\d)? s$"
    return re.sub(seconds, "0 s", printed.strip()) == re.sub(seconds, "0 s", shown.strip())


def test_the_first_five_minutes(serve: Serve, tmp_path: Path) -> None:
    """From nothing to red, to green, and to the end, with no waiting but what the page waits."""
    home = tmp_path / "new"
    home.mkdir()
    (app,) = blocks("python")
    (home / "app.py").write_text(app.replace(STOCK, str(home / "stock")))
    install, touch, export, start, *rest, (kill, _) = exchanges()
    assert install[0] == "pip install Flask-Health gunicorn"
    assert touch[0] == f"touch {STOCK}"
    (home / "stock").touch()
    assert start[0] == "gunicorn -w 4 app:app &"
    name, _, token = export[0].removeprefix("export ").partition("=")
    env = {name: token, "FLASK_HEALTH_DRAIN_DELAY": "5"}
    server = serve("app:app", workers=4, home=home, env=env)
    assert len(rest) == 13
    for command, shown in rest:
        # At once on a machine that does nothing else.
        eventually(partial(done, server, command), partial(same, shown), why=command)
    assert kill == "kill %1"
    server.signal(signal.SIGTERM)
    server.answers(503)
    assert server.get("/").code == 200
    assert server.wait() == 0
