"""`wait`, `status`, `drain`, `pause` and `resume` with a real server."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import shell
from support.commands import Ran, ran
from support.environment import environment, free_port
from support.gunicorn import Gunicorn, Serve
from support.local import make_app
from support.stage import Stage
from support.waiting import eventually

from flask_health import HealthCheck
from flask_health.cli import choosing

SLOW = """
from acting import perform
from flask import Flask
from flask_health import HealthCheck

app = Flask("slow")
app.config["HEALTH_DETAILS"] = "authorized"
health = HealthCheck(app)

@health.setup
def load():
    health.progress(0.5, "part 1 of 2")
    perform()

@health.setup(scope="server")
def migrate():
    perform("all.")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with an app whose setup has two steps."""
    home = tmp_path / "slow"
    home.mkdir()
    (home / "slow.py").write_text(SLOW)
    return home


@contextmanager
def waiting(home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `wait` beside the block; where it ends, it has ended."""
    process = subprocess.Popen(
        shell.command("wait", *words),
        env=environment(home),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stderr.close()


def test_it_waits_for_a_server_that_does_not_exist_yet(serve: Serve, home: Path) -> None:
    """By its state and over HTTP: one line for each change, the last one says that it is ready."""
    server = Gunicorn(home, "slow:app", stage=Stage(home / "stage", "wait", "all.wait"))
    over_http = f"127.0.0.1:{server.address}"
    with (
        waiting(home, "--state", str(server.state)) as inside,
        waiting(home, over_http) as outside,
    ):
        assert inside.stdout
        assert outside.stdout
        assert "unreachable: no server has its state" in inside.stdout.readline()
        assert "connection refused" in outside.stdout.readline()
        with server:
            server.has_markers(3, "starting")
            for order, news in (("wait", ": load running"), ("all.wait", ": migrate waiting")):
                while news not in inside.stdout.readline():
                    assert inside.poll() is None
                server.stage.withdraw(order)
            shown = inside.communicate(timeout=30)[0].splitlines()
            assert inside.returncode == 0
            assert shown[-1].startswith("ok: 3 of 3 workers serve (master ")
            answered = outside.communicate(timeout=30)[0].splitlines()
            assert outside.returncode == 0
            assert answered[-1].startswith(f"ok: http://{over_http}/health/ready answered 200")


def test_it_gives_up_in_time_and_shows_the_last_state(serve: Serve, home: Path) -> None:
    """G03: 1, with how far each worker has come."""
    server = serve("slow:app", home=home, stage=Stage(home / "stage", "wait"))
    eventually(lambda: len(server.stage.pids("started")) == 3)
    began = time.monotonic()
    done = shell.run(home, "wait", "--state", str(server.state), "--timeout", "1.5")
    assert done.returncode == 1
    assert time.monotonic() - began < 15.0
    last = done.stdout[done.stdout.rindex("not ready: not ready within 1.5 s: setup finished") :]
    for pid in server.workers():
        assert f"worker {pid}" in last
    assert last.count("load             running  [##########----------]  50%") == 3
    assert last.count("part 1 of 2") == 3
    nobody = shell.run(home, "wait", f":{free_port()}", "--timeout", "0.5")
    assert (nobody.returncode, nobody.stdout.count("unreachable: not ready within 0.5 s")) == (1, 1)


def test_with_the_token_http_tells_as_much(serve: Serve, home: Path) -> None:
    """Any worker knows how far the others are."""
    env = {"FLASK_HEALTH_TOKEN": "geheim"}
    server = serve("slow:app", home=home, stage=Stage(home / "stage", "wait"), env=env)
    eventually(lambda: len(server.stage.pids("started")) == 3)
    words = ("wait", f":{server.address}", "--timeout", "1.5")
    done = shell.run(home, *words, env=env)
    assert done.returncode == 1
    assert all(f"worker {pid}" in done.stdout for pid in server.workers())
    last = done.stdout[done.stdout.rindex("not ready within 1.5 s") :]
    assert last.count("load             running  [##########----------]  50% part 1 of 2") == 3
    assert "worker" not in shell.run(home, *words).stdout


def test_a_failing_step_is_shown(serve: Serve, home: Path) -> None:
    """With its reason."""
    server = serve("slow:app", home=home, stage=Stage(home / "stage", "raise"))
    server.has_markers(3, "failed")
    done = shell.run(home, "wait", "--state", str(server.state), "--timeout", "2")
    assert done.returncode == 1
    assert "load failed told to raise" in done.stdout
    assert len(done.stdout.encode()) <= 4096


def test_it_waits_for_a_version(serve: Serve, home: Path) -> None:
    """Over HTTP with the token, whose answer also tells of the workers; hidden, it is asked for."""
    env = {"FLASK_HEALTH_VERSION": "2.0", "FLASK_HEALTH_TOKEN": "geheim"}
    server = serve("slow:app", home=home, env=env)
    server.answers(200)
    target = f"127.0.0.1:{server.address}"
    more = ("wait", target, "--timeout", "1", "--expect-version")
    assert shell.run(home, *more, "2.0", "--token", "geheim").returncode == 0
    old = shell.run(home, *more, "2.1", env={"FLASK_HEALTH_TOKEN": "geheim"})
    assert (old.returncode, "the version is 2.0, not 2.1" in old.stdout) == (1, True)
    hidden = shell.run(home, *more, "2.0")
    assert (hidden.returncode, "--token or FLASK_HEALTH_TOKEN" in hidden.stderr) == (3, True)
    inside = ("wait", "--state", str(server.state), "--timeout", "1", "--expect-version")
    assert shell.run(home, *inside, "2.0").returncode == 0
    assert shell.run(home, *inside, "2.1").returncode == 1


def test_several_servers_are_an_error_at_the_end(serve: Serve, home: Path) -> None:
    """One may be taking the other's place: they are waited for, and listed when time is up."""
    one = serve("slow:app", home=home)
    other = home.parent / "other"
    other.mkdir()
    shutil.copy(home / "slow.py", other)
    two = serve("slow:app", home=other, state=one.state)
    for server in (one, two):
        server.answers(200)
    done = shell.run(home, "wait", "--state", str(one.state), "--timeout", "1")
    assert done.returncode == 3
    assert f"--pid {one.pid} " in done.stderr
    with waiting(home, "--state", str(one.state), "--timeout", "30") as process:
        assert process.stdout
        assert "several servers run here" in process.stdout.readline()
        two.stop()
        assert process.wait(30) == 0


class Terminal:
    """A command on a terminal of its own; `shown` is all that it has written there."""

    def __init__(self, home: Path, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            shell.command(*words),
            env=environment(home) | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
            cwd=home,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """Everything so far."""
        return self._written.decode("utf-8", "replace")

    def ends(self) -> int:
        """Wait for its exit status."""
        status = self.process.wait(30)
        self._reader.join(10)
        os.close(self._master)
        return status

    def _read(self) -> None:
        while True:
            try:
                more = os.read(self._master, 4096)
            except OSError:
                return
            if not more:
                return
            self._written += more


def test_a_terminal_sees_bars_that_move(serve: Serve, home: Path) -> None:
    """Drawn over in place, in colour; what stays is the last line."""
    server = serve("slow:app", home=home, stage=Stage(home / "stage", "wait"))
    screen = Terminal(home, "wait", "--state", str(server.state), "--timeout", "30")
    eventually(lambda: screen.shown.count("[##########----------]  50%") >= 6, why="bars")
    assert "\x1b[33mstarting\x1b[0m" in screen.shown
    assert "A\r\x1b[J" in screen.shown
    server.stage.withdraw("wait")
    assert screen.ends() == 0
    last = screen.shown.rpartition("\x1b[J")[2]
    assert last.startswith("\x1b[32mok\x1b[0m: 3 of 3 workers serve")
    assert len(last.splitlines()) == 1


def test_an_interrupt_is_quiet(serve: Serve, home: Path) -> None:
    """130, and no traceback."""
    screen = Terminal(home, "wait", f":{free_port()}")
    eventually(lambda: screen.shown.count("connection refused") >= 2)
    screen.process.send_signal(signal.SIGINT)
    assert screen.ends() == 130
    assert "Traceback" not in screen.shown


def test_a_reader_that_has_seen_enough(serve: Serve, home: Path) -> None:
    """`status | head -1`: nobody complains of the closed pipe."""
    server = serve("slow:app", home=home)
    server.answers(200)
    process = subprocess.Popen(
        shell.command("status", "--watch", "0.05", "--json", "--state", str(server.state)),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    assert json.loads(process.stdout.readline())["status"] == "pass"
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_status_tells_everything(serve: Serve) -> None:
    """As a table, the verdict first, and as JSON."""
    server = serve("checked:app", env={"CHECKS": "database", "FLASK_HEALTH_VERSION": "1.10"})
    server.answers(200)
    where = ("--state", str(server.state))
    done = shell.run(server.home, "status", *where)
    assert done.returncode == 0
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert rows[0] == "ok: 3 of 3 workers serve"
    assert rows[1].startswith(f"checked 1.10, gunicorn {server.pid}, up ")
    assert rows[1].endswith(f", 127.0.0.1:{server.address}")
    for pid in server.workers():
        assert any(row.startswith(f"{pid} ready ") for row in rows)
    assert any(row.startswith("database pass ") for row in rows)

    def told() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            shell.run(server.home, "status", "--json", *where).stdout
        )
        return found

    traffic = eventually(lambda: told()["traffic"])
    assert set(traffic) == {"in_flight", "1m", "5m", "boot"}
    server.stage.order("fail")
    failing = eventually(told, lambda found: found["status"] == "fail")
    assert failing["output"] == "database: ConnectionError: connection refused"
    assert failing["probes"] == {"live": True, "ready": False, "startup": True}
    change = failing["transitions"][0]
    assert (change["check"], change["new"]) == ("database", "fail")
    assert shell.run(server.home, "status", *where).returncode == 1


def test_status_without_a_server(tmp_path: Path) -> None:
    """1, and what was looked for."""
    done = shell.run(tmp_path, "status", "--state", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"flask-health status: no server has its state in {tmp_path}\n"


def test_orders_are_those_of_the_api(serve: Serve) -> None:
    """A pause that ends, and a drain that does not; liveness stays green, requests are served."""
    server = serve("checked:app", env={"CHECKS": "database"})
    server.answers(200)
    where = ("--state", str(server.state))

    def order(*words: str) -> str:
        done = shell.run(server.home, *words, *where)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f" (master {server.pid})\n")
        return done.stdout.partition(" (master")[0]

    assert order("pause", "password=geheim moves") == "paused: password=*** moves"
    server.answers(503)
    told = server.get("/health?format=json").body
    assert "paused: password=*** moves" in told
    assert shell.run(server.home, "check", *where).stdout.startswith(
        "not ready: paused: password=***"
    )
    assert server.get("/health/live").code == 200
    assert server.get("/work").code == 200
    assert order("pause", os.fsdecode(b"\xff moves")) == "paused: \\udcff moves"
    server.answers(503)
    assert "paused: ? moves" in server.get("/health?format=json").body
    assert order("pause") == "paused"
    assert order("resume") == "resumed"
    assert order("resume") == "it was not paused"
    server.answers(200)
    assert order("drain") == "draining: readiness is red for good"
    assert order("drain") == "draining already"
    server.answers(503)
    order("pause")
    assert order("resume") == "resumed, and still draining"
    assert server.get("/health").code == 503


def test_a_drain_waits_for_probers(serve: Serve) -> None:
    """As long as it is told, read or not, so that it is a preStop hook; but not for a server that
    is gone.
    """
    server = serve()
    server.answers(200)
    where = ("--state", str(server.state))
    began = time.monotonic()
    reader, writer = os.pipe()
    os.close(reader)
    unread = shell.command("drain", "--wait", "1.5", *where)
    subprocess.run(unread, env=environment(server.home), stdout=writer, timeout=60, check=True)
    os.close(writer)
    assert time.monotonic() - began >= 1.5
    server.signal(signal.SIGTERM)
    began = time.monotonic()
    shell.run(server.home, "drain", "--wait", "50", *where)
    assert time.monotonic() - began < 30.0
    server.wait()


def test_flask_health_means_its_own_app(
    serve: Serve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside an app the state directory of its configuration is looked into too, and of several
    servers that of its name is meant.
    """
    server = serve("slow:app", home=home)
    other = serve(state=server.state)
    for each in (server, other):
        each.answers(200)
    app = make_app("slow", HEALTH_STATE_DIR=str(server.state))
    HealthCheck(app)
    monkeypatch.setattr(choosing, "in_use", list)  # It would find them wherever they are.
    done = ran("check", app=app)
    assert done == Ran(0, f"ok: 3 of 3 workers serve (master {server.pid})\n", "")
    assert ran("check", "--pid", str(other.pid), app=app).out.endswith(f"(master {other.pid})\n")
