"""Telling systemd, decided without a server; and the units of the page, read by systemd itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import system
from support.local import DEADLINE, Blocked, make_app
from support.systemd import Notify
from support.waiting import eventually

from flask_health import HealthCheck

PAGE = Path(__file__).resolve().parent.parent / "docs" / "systemd.md"
UNITS = re.findall(r"^```ini\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


KNOWN: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@pytest.fixture
def notify(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notify]:
    """A socket as systemd's, in the environment."""
    with Notify() as listening:
        monkeypatch.setenv("NOTIFY_SOCKET", listening.address)
        yield listening


def keepers() -> list[threading.Thread]:
    """The threads of this process that keep a gate."""
    found = [t for t in threading.enumerate() if t.name == "flask-health-keeper"]
    return [t for t in found if t not in KNOWN]


@pytest.fixture(autouse=True)
def _know_the_keepers_of_others() -> None:
    """Other tests may have left some: none of them is ours."""
    KNOWN.update(keepers())


def end(health: HealthCheck) -> None:
    """Have a gate's keeper end, and wait for it."""
    mine = keepers()
    health.gate.leave()
    health.gate.wake()
    for thread in mine:
        thread.join(DEADLINE)


def test_a_server_of_one_speaks_for_itself(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its setup, with the progress of it, to the drain; and gives signs of life all along."""
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    blocked = Blocked()
    health = HealthCheck()

    @health.setup
    def load() -> None:
        health.progress(0.4, "layer 1\nof 4")
        blocked()

    health.init_app(make_app())
    health.start()
    try:
        wanted = "Starting: step 'load', 40% done, layer 1 of 4"
        eventually(lambda: notify.messages and notify.status, lambda s: s == wanted)
        assert not notify.told("READY=1")
        blocked.go.set()
        eventually(lambda: notify.told("READY=1"), why="READY=1")
        since = notify.told("READY=1")[0].at
        eventually(lambda: len(notify.told("WATCHDOG=1", since)) >= 3, why="signs of life")
        health.pause("night")
        eventually(lambda: notify.status, lambda status: status.startswith("Not ready"))
        health.drain()
        eventually(lambda: notify.told("STOPPING=1"), why="STOPPING=1")
    finally:
        blocked.go.set()
        end(health)
    assert not keepers()


def test_a_failed_step_is_told(notify: Notify) -> None:
    """With its reason, and without its secrets."""

    def load() -> None:
        raise ConnectionError("postgres://shop:hunter2@db/shop")

    health = HealthCheck()
    health.setup(load, retries=0)
    health.init_app(make_app())
    health.start()
    try:
        wanted = "Starting: step 'load' failed: postgres://shop:***@db/shop"
        eventually(lambda: notify.messages and notify.status, lambda s: s == wanted)
    finally:
        end(health)


def test_signs_of_life_end_with_liveness(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing check of the process itself has systemd restart it."""
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    good = [True]
    health = HealthCheck()
    health.check(lambda: good[0], name="loop", probes=("live",), interval=0.05, retry_interval=0.05)
    health.init_app(make_app())
    health.start(wait=True)
    try:
        eventually(lambda: len(notify.told("WATCHDOG=1")) >= 2, why="signs of life")
        good[0] = False
        eventually(lambda: health.report("live").status.http_code == 503, why="dead")
        eventually(lambda: notify.status, lambda status: status == "Not ready: checks fail")
        number = len(notify.told("WATCHDOG=1"))
        good[0] = True
        eventually(lambda: len(notify.told("WATCHDOG=1")) > number, why="signs again")
    finally:
        end(health)


def test_a_sign_of_life_that_is_lost_is_given_again(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not after half of the time: that would be too late for systemd."""
    from flask_health.workers.systemd import Herald

    lost: list[float] = []
    send = Herald._send

    def lose(self: Herald, message: str) -> bool:
        if message == "WATCHDOG=1" and not lost:
            lost.append(time.monotonic())
            return False
        return send(self, message)

    monkeypatch.setattr(Herald, "_send", lose)
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    health = HealthCheck(make_app())
    health.start()
    try:
        (sign,) = eventually(lambda: notify.told("WATCHDOG=1"), why="given again")
        assert sign.at - lost[0] < 3.0
    finally:
        end(health)


def test_tests_tell_nothing(notify: Notify) -> None:
    """A test that runs inside a service is not that service."""
    HealthCheck(make_app(TESTING=True)).start(wait=True)
    assert not notify.messages
    assert not keepers()


def test_nothing_is_loaded_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither module nor thread."""
    import sys

    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delitem(sys.modules, "flask_health.workers.systemd", raising=False)
    HealthCheck(make_app()).start(wait=True)
    assert "flask_health.workers.systemd" not in sys.modules
    assert not keepers()


def test_what_goes_wrong_does_not_end_the_keeper(
    notify: Notify, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and noted."""
    from flask_health.workers.systemd import Herald

    def fail(_: Herald) -> bool:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(Herald, "_speaks", fail)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    health = HealthCheck(make_app())
    health.start()
    try:
        eventually(lambda: health.report().notes == ("systemd cannot be told: oh",), why="noted")
        assert keepers()
        monkeypatch.undo()
        eventually(lambda: notify.told("READY=1"), why="told after all")
    finally:
        end(health)
    assert [r.getMessage() for r in caplog.records] == ["systemd cannot be told"]


@pytest.mark.parametrize("unit", UNITS, ids=["hooks", "wait"])
def test_systemd_reads_the_units_of_the_page(tmp_path: Path, unit: str) -> None:
    """With programs where they expect them it has nothing to say."""
    if not system.SYSTEMD.is_met:
        pytest.skip(f"needs {system.SYSTEMD.apt_get}")
    for program in ("gunicorn", "flask-health"):
        path = tmp_path / "srv" / "venv" / "bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    file = tmp_path / "shop.service"
    file.write_text(unit.replace("/srv/shop", str(tmp_path / "srv")))

    def verify() -> str:
        analyze = shutil.which("systemd-analyze", path="/usr/bin:/bin")
        assert analyze
        command = [analyze, "verify", "--man=no", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60.0)
        return done.stdout + done.stderr

    assert verify() == ""
    file.write_text(file.read_text().replace("NotifyAccess", "NotifyAcces"))
    assert "NotifyAcces" in verify()
