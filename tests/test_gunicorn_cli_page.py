"""The page about the command line shows what it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from support import shell
from support.gunicorn import Serve

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "cli.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the page in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def exchanges() -> list[tuple[str, str]]:
    """Return the commands that the page shows, each with what stands below it."""
    found = []
    for block in blocks("console"):
        parts = re.split(r"^\$ flask-health (.+)\n", block, flags=re.MULTILINE)
        found += list(zip(parts[1::2], parts[2::2], strict=True))
    return found


def timeless(text: str) -> list[str]:
    """Return the words of each line, with the same numbers, units and places as every other."""
    text = re.sub(r"\S*flask-health-\d+/v1-\w+", "DIRECTORY", text)
    text = re.sub(r"\d+(\.\d+)?( (ms|s|min)\b)?", "0", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_page_shows_what_is_printed(serve: Serve, tmp_path: Path) -> None:
    """Each command, in order, with the app of the page."""
    home = tmp_path / "shop"
    home.mkdir()
    (app,) = blocks("python")
    (home / "shop.py").write_text(app)
    server = serve("shop:app", workers=4, home=home)
    shown = exchanges()
    assert len(shown) == 10
    for command, printed in shown:
        words = [word.replace(":8000", f":{server.address}") for word in shlex.split(command)]
        if not any(word.startswith(":") for word in words):
            words += ["--state", str(server.state)]
        if words[0] == "wait":
            assert shell.run(home, *words).returncode == 0
            continue
        if words[:2] == ["check", f":{server.address}"]:
            server.answers(200)
        done = shell.run(home, *words)
        assert not done.stderr
        assert timeless(done.stdout) == timeless(printed), command
