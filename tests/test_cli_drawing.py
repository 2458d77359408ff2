"""What is shown of a server, and where: on a terminal, and where nobody looks on."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from flask_health.cli import drawing
from flask_health.cli.command import MOST
from flask_health.cli.terminal import Terminal, shortened

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Screen(io.StringIO):
    """A terminal that remembers everything."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture(autouse=True)
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a terminal that knows colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def server(**changes: Any) -> dict[str, Any]:
    """A picture of a server that is well."""
    worker = {
        "pid": 11,
        "age": 1,
        "state": "ready",
        "uptime": 75.0,
        "in_flight": 2,
        "memory": 33 << 20,
    }
    return {
        "status": "pass",
        "output": "",
        "app": "shop",
        "version": "1.2",
        "server": "gunicorn",
        "listen": ["127.0.0.1:8000"],
        "master": 10,
        "uptime": 8000.0,
        "state": "/dev/shm/flask-health-0/v1-abc",
        "probes": {"live": True, "ready": True, "startup": True},
        "gate": "open",
        "draining": False,
        "paused": None,
        "expected": 1,
        "workers": [worker],
        "checks": [],
        "transitions": [],
        "traffic": None,
    } | changes


def lines(**changes: Any) -> list[str]:
    """The lines of a report where nobody looks on."""
    return drawing.report(server(**changes), Terminal(io.StringIO()))


def test_the_verdict_comes_first() -> None:
    """One line for the hurried, and what they ask next below it."""
    assert lines()[:4] == [
        "ok: 1 of 1 workers serve",
        "shop 1.2, gunicorn 10, up 2 h, 127.0.0.1:8000",
        "gate open, live passes, ready passes, startup passes",
        "state /dev/shm/flask-health-0/v1-abc",
    ]
    assert lines(status="warn", output="cache: slow")[0] == "ok (warn): cache: slow"
    failing = lines(status="fail", output="database: gone", draining=True)
    assert failing[0] == "not ready: database: gone"
    assert failing[2].endswith(", draining")


def test_workers_checks_changes_and_traffic_are_tables() -> None:
    """What fails comes first among the checks."""
    check = {"critical": True, "age": 2.0, "duration": 0.01, "output": ""}
    window = {"requests": 120, "rate": 2.0, "errors": 0.05, "p50": 0.012, "p99": None}
    shown = lines(
        checks=[
            {"name": "cache", "status": "pass", **check},
            {"name": "mail", "status": "fail", **check, "output": "gone", "critical": False},
        ],
        transitions=[
            {"check": "mail", "old": "pass", "new": "fail", "time": 0.0, "output": "gone"}
        ],
        traffic={"in_flight": 2, "1m": window},
    )
    rows = [" ".join(line.split()) for line in shown]
    assert (
        rows.index("11 ready 75 s 2 33 MiB") == rows.index("WORKER STATE UP IN FLIGHT MEMORY") + 1
    )
    assert rows.index("mail fail 2.0 s 10 ms gone (not critical)") < rows.index(
        "cache pass 2.0 s 10 ms"
    )
    assert "1m 120 2.0/s 5.0% 12 ms" in rows
    assert any(row.startswith("mail fail") and row.endswith("d gone") for row in rows)


def test_a_worker_that_starts_shows_its_steps() -> None:
    """State, how far it is, for how long, and what it is at; an error when it failed."""
    steps = [
        {"name": "load", "state": "running", "fraction": 0.5, "elapsed": 2.0, "note": "part 3"},
        {"name": "warm", "state": "failed", "fraction": 0.9, "error": "RuntimeError: cold"},
        {"name": "later", "state": "pending"},
    ]
    worker = {"pid": 11, "state": "starting", "steps": steps}
    shown = drawing.workers([worker], Terminal(io.StringIO()))
    assert shown == [
        "worker 11       starting",
        "  load             running  [##########----------]  50% 2.0 s part 3",
        "  warm             failed   RuntimeError: cold",
        "  later            pending",
    ]


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0.0, "-" * 20), (0.04, "-" * 20), (0.05, "#" + "-" * 19), (1.0, "#" * 20), (1.5, "#" * 20)],
)
def test_a_bar_is_never_ahead(fraction: float, shown: str) -> None:
    """It is full when all is done and not before."""
    assert drawing.bar(fraction).startswith(f"[{shown}]")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (1.0, "1.0 s"),
        (1.26, "1.3 s"),
        (10.0, "10 s"),
        (59.6, "60 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (200000, "2 d"),
    ],
)
def test_durations_are_for_people(seconds: float | None, shown: str) -> None:
    """Two digits or so, with their unit."""
    assert drawing.span(seconds) == shown


def test_colours_add_nothing_to_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only on a terminal, and not where NO_COLOR asks for none."""
    screen = Screen()
    coloured = drawing.report(server(status="fail", output="gone"), Terminal(screen))
    assert coloured[0] == "\x1b[31mnot ready\x1b[0m: gone"
    assert "11      \x1b[32mready\x1b[0m  75 s  2          33 MiB" in coloured
    plain = drawing.report(server(status="fail", output="gone"), Terminal(io.StringIO()))
    assert [ESCAPES.sub("", line) for line in coloured] == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert drawing.report(server(status="fail", output="gone"), Terminal(screen)) == plain
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not Terminal(screen).live


def test_a_terminal_is_drawn_over() -> None:
    """Each drawing goes back to where the last one began; long lines take one row."""
    screen = Screen()
    terminal = Terminal(screen)
    terminal.draw(["one", "x" * 100])
    terminal.draw(["two"])
    assert screen.getvalue() == f"\r\x1b[Jone\n{'x' * 80}\n\x1b[2A\r\x1b[Jtwo\n"


def test_a_line_is_cut_without_its_colour() -> None:
    """An escape takes no room, and is ended when its end is cut off."""
    screen = Screen()
    terminal = Terminal(screen)
    terminal.draw([terminal.paint("failed", 100)])
    assert f"\x1b[31mfailed{' ' * 74}\x1b[0m\n" in screen.getvalue()


def test_where_nobody_looks_on_four_kilobytes_are_enough() -> None:
    """Whole lines, and how many are missing; a terminal gets all of it."""
    text = "".join(f"line {number} é\n" for number in range(1000))
    kept = shortened(text)
    assert len(kept.encode()) <= MOST
    *whole, last = kept.splitlines()
    assert whole == text.splitlines()[: len(whole)]
    assert last == f"... {1000 - len(whole)} more lines"
    assert shortened("short\n") == "short\n"
    screen, file = Screen(), io.StringIO()
    Terminal(screen).write(text.splitlines())
    Terminal(file).write(text.splitlines())
    assert (screen.getvalue(), file.getvalue()) == (text, kept)


def test_the_first_line_is_never_left_out() -> None:
    """However many reasons a verdict has: its beginning is shown, and what is below it."""
    kept = shortened(f"not ready: {'é' * 9000}\nworker 1\n{'x' * 9000}\n{'y' * 9000}\n")
    first, second, last = kept.splitlines()
    assert first.startswith("not ready: éé")
    assert first.endswith("é…")
    assert (second, last) == ("worker 1", "... 2 more lines")
    assert len(kept.encode()) <= MOST
