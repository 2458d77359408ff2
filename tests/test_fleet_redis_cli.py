"""`flask-health fleet`: the same in a terminal, from the store and not from a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.backends import Redis
from support.environment import environment, free_port
from support.fleets import Fleet
from support.waiting import eventually


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Two servers of 1.0 and one of 1.1, all ready."""
    with Redis() as server, Fleet(server.url) as found:
        found.of(2)
        found.add(HEALTH_VERSION="1.1")
        found.see(3)
        eventually(lambda: found.servers[0].sees.ready, lambda ready: ready == 3)
        yield found


def command(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "flask_health", "fleet", *words],
        env=environment(home, **env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_shows_the_fleet(fleet: Fleet, tmp_path: Path) -> None:
    """Servers, releases, changes; the store and the service from the environment."""
    done = command(
        tmp_path, FLASK_HEALTH_FLEET_URL=fleet.url, FLASK_HEALTH_SERVICE="shop", COLUMNS="200"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "shop: ready: 3 of 3 servers ready"
    assert lines[1].startswith("release 1.1")
    assert lines[1].endswith("1 in all, 1 ready, rolling out")
    assert sum(line.endswith("pass open  1.0") for line in lines) == 2
    (head,) = (n for n, line in enumerate(lines) if line.startswith("SERVER"))
    rows = [line.split() for line in lines[head + 1 : head + 4]]
    assert {(row[1], row[2], row[3]) for row in rows} == {
        ("pass", "1.0", "1/1"),
        ("pass", "1.1", "1/1"),
    }


def test_it_tells_programs(fleet: Fleet, tmp_path: Path) -> None:
    """As JSON, with the names of `/health/fleet`."""
    done = command(tmp_path, "--url", fleet.url, "--service", "shop", "--json")
    found: Any = json.loads(done.stdout)
    told = fleet.servers[0].app.test_client().get("/health/fleet").get_json()
    assert found["servers"] == told["servers"]
    assert [r["release"] for r in found["releases"]] == ["1.1", "1.0"]
    assert {row["server"] for row in found["list"]["servers"]} == {
        server.fleet.server for server in fleet.servers
    }


def test_a_service_without_servers_is_not_ready(fleet: Fleet, tmp_path: Path) -> None:
    """Perhaps the name is wrong: exit status 1, and it says so."""
    done = command(tmp_path, "--url", fleet.url, "--service", "stock")
    assert (done.returncode, done.stdout) == (1, "stock: no server has told of itself\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 3, "which store? Give --url, or set FLASK_HEALTH_FLEET_URL"),
        (["--url", "redis://127.0.0.1:port/0", "--service", "shop"], 3, "--url"),
        (
            ["--url", f"redis://u:s3cret-of-mine@127.0.0.1:{free_port()}/0", "--service", "shop"],
            1,
            "",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    """On the standard error, in one line, without secrets."""
    done = command(tmp_path, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "s3cret-of-mine" not in done.stderr


def test_watching_goes_on(fleet: Fleet, tmp_path: Path) -> None:
    """Again and again, with what has changed, until it is interrupted."""
    words = [sys.executable, "-m", "flask_health", "fleet", "--watch", "0.2", "--json"]
    env = environment(tmp_path, FLASK_HEALTH_FLEET_URL=fleet.url, FLASK_HEALTH_SERVICE="shop")
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert json.loads(process.stdout.readline())["servers"]["total"] == 3
            fleet.add(HEALTH_VERSION="1.1")
            eventually(
                lambda: json.loads(process.stdout.readline())["servers"]["total"],  # type: ignore[union-attr]
                lambda total: total == 4,
            )
        finally:
            os.kill(process.pid, signal.SIGINT)
            process.wait(20)
    assert process.returncode == 130


def test_a_store_that_is_gone_is_no_json(tmp_path: Path) -> None:
    """Whoever reads the lines of `--watch --json` gets nothing else; people are told beside it."""
    words = [sys.executable, "-m", "flask_health", "fleet", "--watch", "0.2", "--json"]
    words += ["--url", f"redis://127.0.0.1:{free_port()}", "--service", "shop"]
    out, err = tmp_path / "out", tmp_path / "err"
    with (
        out.open("w") as told,
        err.open("w") as said,
        subprocess.Popen(words, env=environment(tmp_path), stdout=told, stderr=said) as process,
    ):
        try:
            eventually(lambda: err.read_text().count("the fleet store cannot be asked: ") >= 2)
        finally:
            os.kill(process.pid, signal.SIGINT)
    assert out.read_text() == ""
