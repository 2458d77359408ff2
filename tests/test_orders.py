"""Draining and pausing: orders that turn readiness red, whatever workers and checks say."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.local import Blocked, bases, boot_of, call, make_app, sibling, worker_gate
from support.waiting import eventually

from flask_health import HealthCheck, Status
from flask_health.workers import orders
from flask_health.workers.boots import join
from flask_health.workers.gate import Gate
from flask_health.workers.statedir import StateDir
from flask_health.workers.survey import survey
from flask_health.workers.verdict import Verdict

SECRET = "moving postgres://shop:hunter2@db/shop"


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """The gate of one worker of two; the other one is ready too, and the gate is open."""
    gate = worker_gate(tmp_path)
    gate.begin()
    assert gate.presence
    gate.presence.decide("open")
    yield gate
    gate.leave()


def files(gate: Gate) -> StateDir:
    """The state directory."""
    assert gate.presence
    return gate.presence.directory


def outside(gate: Gate, tmp_path: Path) -> StateDir:
    """The same directory, as a command line opens it."""
    found = join(boot_of(gate), bases(tmp_path), [])
    assert found
    return found


# A server of one


def test_draining_cannot_be_undone() -> None:
    """Readiness is red from the next answer on, liveness and startup are not; requests pass."""
    app = make_app()
    health = HealthCheck(app)
    assert call(app).word == (200, "ok")
    health.drain()
    health.resume()
    health.pause("work")
    health.resume()
    health.drain()
    assert call(app).word == call(app, "/health/ready").word == (503, "not ready")
    assert call(app, "/health/live").word == call(app, "/health/startup").word == (200, "ok")
    assert call(app, "/work").word == (200, "done")
    report = health.report()
    assert (report.status, report.server, report.reason) == (Status.FAIL, Status.FAIL, "draining")


def test_a_pause_ends() -> None:
    """A second pause replaces the reason; resuming ends both, and without a pause does nothing."""
    app = make_app()
    health = HealthCheck(app)
    assert call(app).code == 200
    health.resume()
    health.pause()
    assert call(app).code == 503
    assert health.report().reason == "paused"
    health.pause(SECRET)
    assert health.report().reason == "paused: moving postgres://shop:***@db/shop"
    health.resume()
    assert call(app).code == 200
    assert health.report().reason == ""


def test_no_check_ends_a_pause() -> None:
    """Neither a recovering dependency nor a good one has a say."""
    app = make_app()
    health = HealthCheck(app)
    well = False

    @health.check(interval=0.02, retry_interval=0.02)
    def database() -> bool:
        return well

    health.start(wait=True)
    health.pause("work")
    well = True
    eventually(lambda: health.report().results[0].status, lambda status: status is Status.PASS)
    assert call(app).code == 503
    health.resume()
    # A report shows a result a moment before the probes follow it.
    eventually(lambda: call(app).code, lambda code: code == 200)


def test_an_order_before_the_start_holds() -> None:
    """Who pauses while setup runs finds the server paused when it has finished."""
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    step = Blocked()
    health = HealthCheck(app, setup=step)
    health.pause("work")
    assert call(app).code == 503
    assert health.report().reason == "setup step 'blocked' not finished"
    step.go.set()
    assert health.gate.wait(10.0)
    assert call(app).code == 503
    assert health.report().reason == "paused: work"


@pytest.mark.parametrize("reason", [None, 7, b"bytes"])
def test_a_reason_is_a_text(reason: Any) -> None:
    """Anything else is an error that shows it, and pauses nothing."""
    app = make_app()
    health = HealthCheck(app)
    with pytest.raises(TypeError, match=f"must be a text, not {reason!r}"):
        health.pause(reason)
    assert call(app).code == 200


def test_one_app_of_several_is_paused() -> None:
    """Each app has its own orders; without a context it has to be said whose."""
    health = HealthCheck()
    apps = [make_app("one"), make_app("two")]
    for app in apps:
        health.init_app(app)
        assert call(app).code == 200
    with pytest.raises(RuntimeError, match="Several apps"):
        health.pause()
    with apps[0].app_context():
        health.pause()
    assert [call(app).code for app in apps] == [503, 200]


# A server of several workers


def test_all_workers_see_an_order(gate: Gate, tmp_path: Path) -> None:
    """What one worker is ordered holds for the others from their next look on."""
    other = sibling(tmp_path, boot_of(gate), 2)
    verdict = Verdict(gate)
    assert verdict.ready()
    orders.pause(gate, "work")
    assert other.watch.look().paused
    assert not verdict.ready()
    orders.resume(gate)
    assert not other.watch.look().paused
    assert verdict.ready()
    orders.drain(gate)
    orders.resume(gate)
    assert other.watch.look().draining
    assert not verdict.ready()
    other.leave()


def test_a_file_is_an_order(gate: Gate, tmp_path: Path) -> None:
    """A file that somebody else has put there pauses and drains; its text is shown, masked."""
    verdict = Verdict(gate)
    directory = outside(gate, tmp_path)
    directory.write("pause", f"{SECRET}\n")
    assert not verdict.ready()
    reason = survey(gate, verdict, "ready").reason
    assert reason == "paused: moving postgres://shop:***@db/shop"
    directory.remove("pause")
    assert verdict.ready()
    directory.create("drain")
    assert survey(gate, verdict, "ready").reason == "draining"
    assert survey(gate, verdict, "live").status is Status.PASS


def test_a_secret_is_not_written(gate: Gate) -> None:
    """The reason lies in the directory as it is shown."""
    orders.pause(gate, SECRET)
    assert files(gate).read("pause") == "moving postgres://shop:***@db/shop"


def test_orders_survive_a_vanished_directory(gate: Gate, tmp_path: Path) -> None:
    """A worker that has seen them, or has given them, gives them again in the new directory."""
    directory = outside(gate, tmp_path)
    directory.create("drain")
    directory.write("pause", "work")
    assert gate.presence
    gate.presence.mend()
    old = files(gate)
    shutil.rmtree(old.path)
    gate.presence.mend()
    assert files(gate) is not old
    census = gate.presence.watch.look()
    assert census.draining
    assert census.paused
    assert files(gate).read("pause") == "work"


def test_a_pause_that_is_over_stays_over(gate: Gate, tmp_path: Path) -> None:
    """Mending does not bring it back, be it in the same directory or in a new one."""
    other = sibling(tmp_path, boot_of(gate), 2)
    orders.pause(gate, "work")
    other.mend()
    orders.resume(gate)
    other.mend()
    assert gate.presence
    shutil.rmtree(files(gate).path)
    for presence in (other, gate.presence):
        presence.mend()
        assert not presence.watch.look().paused
    other.leave()


def test_a_cleaner_at_work_ends_no_pause(tmp_path: Path) -> None:
    """Where the worker's own marker is missing too, nobody has resumed."""
    presence = sibling(tmp_path, "boot", 1)
    presence.pause("work")
    for path in Path(presence.directory.path).iterdir():
        if path.is_file():
            path.unlink()
    presence.mend()
    assert presence.directory.read("pause") == "work"
    presence.leave()


def test_a_full_disk_takes_an_empty_file(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is lost then, the pause is not."""

    def write(name: str, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files(gate), "write", write)
    orders.pause(gate, "work")
    verdict = Verdict(gate)
    assert not verdict.ready()
    assert survey(gate, verdict, "ready").reason == "paused"


def test_an_order_at_import_is_given_when_the_worker_appears(tmp_path: Path) -> None:
    """Until then there is no directory for it."""
    gate = worker_gate(tmp_path, workers=1)
    orders.pause(gate, "work")
    orders.drain(gate)
    gate.begin()
    assert {"pause", "drain"} <= set(files(gate).names())
    assert gate.orders == {}
    gate.leave()
