"""One verdict, however it is asked for: fast path and blueprint, hot and cold, text and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from support import statedir
from support.environment import free_port
from support.local import DEADLINE, Answer, Blocked, boot_of, call, environ, make_app, sibling
from support.second import Reply, reply

from flask_health import HealthCheck
from flask_health.extension import STATE
from flask_health.model.server import WorkerState
from flask_health.workers.gate import Gate
from flask_health.workers.presence import Presence

PATHS = {"/health": "health", "/health/live": "live", "/health/ready": "ready"}
PATHS |= {"/health/startup": "startup", "/livez": "live"}


class World:
    """A worker of a server of two, in this process, and its sibling, which is only a marker."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch, workers: int) -> None:
        self.patch = patch
        self.step = Blocked()
        self.app = make_app(
            HEALTH_WORKERS=workers,
            HEALTH_STATE_DIR=str(base),
            HEALTH_ALIASES={"/livez": "live"},
            HEALTH_GATE_TIMEOUT=0,
            HEALTH_LISTEN=f"127.0.0.1:{free_port()}",
        )
        self.health = HealthCheck(self.app)
        self.health.setup(retries=0)(self.step)
        call(self.app, "/work")
        self.base = base
        self.codes: dict[str, int] = {}
        self._sibling: Presence | None = None

    @property
    def gate(self) -> Gate:
        """This worker's gate."""
        return self.health.gate

    @property
    def sibling(self) -> Presence:
        """The other worker."""
        if self._sibling is None:
            boot = boot_of(self.gate)
            self._sibling = sibling(self.base, boot, age=self.gate.server.age + 1)
        return self._sibling

    def ready(self) -> None:
        """Our setup ends well."""
        self.step.go.set()
        assert self.gate.local.wait(DEADLINE)

    def failed(self) -> None:
        """Our setup raises."""
        self.step.error = LookupError("no model")
        self.step.go.set()
        assert isinstance(self.gate.settle(DEADLINE), LookupError)

    def opened(self) -> None:
        """Both are ready, and the gate has opened."""
        self.sibling.say(WorkerState.READY)
        self.ready()
        assert self.gate.event.wait(DEADLINE)

    def end(self) -> None:
        """Leaves nothing behind."""
        self.step.go.set()
        for presence in (self._sibling, self.gate.presence):
            if presence:
                presence.stop()
        if self._sibling:
            self._sibling.leave()
        self.gate.leave()


def starting(world: World) -> None:
    assert world.step.begun.wait(DEADLINE)


def sibling_starting(world: World) -> None:
    world.sibling.say(WorkerState.STARTING)
    world.ready()


def sibling_failed(world: World) -> None:
    world.sibling.say(WorkerState.FAILED)
    world.ready()


def sibling_ready(world: World) -> None:
    world.sibling.say(WorkerState.READY)


def failed(world: World) -> None:
    world.sibling.say(WorkerState.READY)
    world.failed()


def opened(world: World) -> None:
    world.opened()


def opened_and_leaving(world: World) -> None:
    world.opened()
    world.sibling.say(WorkerState.LEAVING)


def opened_and_sibling_gone(world: World) -> None:
    world.opened()
    world.sibling.leave()


def opened_and_sibling_failed(world: World) -> None:
    world.opened()
    world.sibling.say(WorkerState.FAILED)


def opened_and_stopping(world: World) -> None:
    opened_and_sibling_gone(world)
    world.gate.told_to_stop()


def opened_before_us(world: World) -> None:
    world.sibling.say(WorkerState.READY)
    world.sibling.decide("open")


def opened_and_orphaned(world: World) -> None:
    world.opened()
    world.patch.setattr(os, "getppid", lambda: 1)
    # The death of the real master would be noticed through its process descriptor.
    assert world.gate.presence
    world.gate.presence.watch._scanned_at = -1


def vanished(world: World) -> None:
    """The directory is gone, and not yet mended."""
    world.opened()
    assert world.gate.presence
    world.patch.setattr(world.gate.presence, "mend", lambda: None)
    statedir.remove(world.gate.presence.directory.path)


# Of two: the codes of live, startup, ready.
OF_TWO: dict[Callable[[World], None], tuple[int, int, int]] = {
    starting: (200, 503, 503),
    sibling_starting: (200, 503, 503),
    sibling_failed: (200, 503, 503),
    sibling_ready: (200, 503, 503),
    failed: (200, 503, 503),
    opened: (200, 200, 200),
    opened_and_leaving: (200, 200, 200),
    opened_and_sibling_gone: (200, 200, 200),
    opened_and_sibling_failed: (200, 200, 200),
    opened_and_stopping: (200, 200, 503),
    opened_before_us: (200, 200, 503),  # this worker accepts although it is cold
    opened_and_orphaned: (503, 503, 503),
    vanished: (200, 503, 503),
}


def alone_starting(world: World) -> None:
    assert world.step.begun.wait(DEADLINE)


def alone_ready(world: World) -> None:
    world.ready()


def alone_failed(world: World) -> None:
    world.failed()


ALONE: dict[Callable[[World], None], tuple[int, int, int]] = {
    alone_starting: (200, 503, 503),
    alone_ready: (200, 200, 200),
    alone_failed: (200, 503, 503),
}
STATES = OF_TWO | ALONE


@pytest.fixture(params=STATES, ids=lambda state: state.__name__)
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A worker in each of the states."""
    with monkeypatch.context() as patch:
        made = World(tmp_path, patch, workers=1 if request.param in ALONE else 2)
        try:
            request.param(made)
            codes = (*STATES[request.param], STATES[request.param][-1])
            made.codes = dict(zip(("live", "startup", "ready", "health"), codes, strict=True))
            yield made
        finally:
            patch.undo()
            made.end()


def through_flask(app: Flask, given: dict[str, Any]) -> Answer:
    """What the blueprint answers to a caller that goes round `wsgi_app`."""
    with app.request_context(given):
        response = app.full_dispatch_request()
        chunks, status, headers = response.get_wsgi_response(given)
        body = b"".join(chunks)
    return Answer(int(status.split()[0]), dict(headers), body)


def test_all_ways_agree(world: World) -> None:
    """For every state, probe, method and format: the same code, headers and body, to the letter,
    and those of the table.
    """
    for path, probe in PATHS.items():
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            for more in ({}, {"HTTP_ACCEPT": "application/json"}, {"QUERY_STRING": "x=1"}):
                fast = call(world.app, path, method, **more)
                through = through_flask(world.app, environ(path, method, **more))
                assert through == fast, (path, method, more)
                wanted = 405 if method in ("POST", "OPTIONS") else world.codes[probe]
                assert fast.code == wanted, (path, method, more)


def test_hot_and_cold_agree(world: World) -> None:
    """A probe right after another is answered like one that comes after a while."""
    verdict = world.app.extensions[STATE].verdict
    for path in PATHS:
        call(world.app, path)
        hot = call(world.app, path)
        verdict.good_until = 0.0
        assert call(world.app, path) == hot


def second(world: World, path: str, method: str = "GET", headers: str = "") -> Reply:
    """What this worker answers on the second port."""
    listener = world.app.extensions[STATE].listener
    return reply(listener.answer(f"{method} {path} HTTP/1.1\r\n{headers}\r\n".encode())[0])


def test_the_second_port_agrees(world: World, request: pytest.FixtureRequest) -> None:
    """The same code and word as in the app, in every state; but it has no say for the worker that
    tells it, so a cold one does not make the server red there.
    """
    codes = world.codes
    if "opened_before_us" in request.node.name:
        codes = dict.fromkeys(codes, 200)
    for path, probe in PATHS.items():
        word = "ok" if codes[probe] == 200 else "not ready"
        answer = second(world, path)
        assert answer.word == (codes[probe], word)
        assert second(world, f"{path}/?x=1").word == answer.word
        assert second(world, path, "HEAD")[:2] == answer[:2]
        assert second(world, path, "POST").code == 405
        told = second(world, path, headers="Accept: application/json\r\n")
        assert told.code == answer.code
        assert json.loads(told.body).keys() == {"status"}
        if codes is world.codes:
            assert call(world.app, path).word == answer.word


def test_the_report_agrees(world: World) -> None:
    """`report()` has the status that the probe is answered with, and a reason if it is red."""
    for path, probe in PATHS.items():
        report = world.health.report(probe)
        answer = call(world.app, path, HTTP_ACCEPT="application/json")
        assert report.status.http_code == answer.code == world.codes[probe]
        assert json.loads(answer.body)["status"] == str(report.status)
        assert bool(report.reason) or report.status.http_code == 200


def test_only_good_news_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ok` is believed for at most 100 ms; `not ready` is never believed a second time."""
    world = World(tmp_path, monkeypatch, workers=2)
    try:
        verdict = world.app.extensions[STATE].verdict
        assert call(world.app).code == 503
        assert verdict.good_until == 0.0
        world.opened()
        assert call(world.app).code == 200  # at once, though 503 was answered just before
        now = 1000.0
        monkeypatch.setattr("flask_health.workers.verdict.time.monotonic", lambda: now)
        assert verdict.ready()
        assert 0 < verdict.good_until - now <= 0.1
    finally:
        monkeypatch.undo()
        world.end()


def test_a_red_probe_does_not_make_liveness_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And liveness, asked first, does not make readiness green: the memory is of readiness."""
    world = World(tmp_path, monkeypatch, workers=2)
    try:
        for path, code in [("/health/live", 200), ("/health", 503), ("/health/live", 200)]:
            assert call(world.app, path).code == code
        assert call(world.app, "/health/startup").code == 503
    finally:
        world.end()


def test_too_few_workers_are_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below `HEALTH_MIN_WORKERS` readiness is red with a reason; startup and liveness stay."""
    monkeypatch.setenv("FLASK_HEALTH_MIN_WORKERS", "2")
    world = World(tmp_path, monkeypatch, workers=2)
    try:
        world.opened()
        assert call(world.app).code == 200
        world.sibling.leave()
        verdict = world.app.extensions[STATE].verdict
        verdict.good_until = 0.0
        assert call(world.app).code == 503
        assert call(world.app, "/health/startup").code == 200
        assert call(world.app, "/health/live").code == 200
        assert world.health.report().reason == "1 of 2 workers serve, at least 2 must"
    finally:
        world.end()


def test_a_failed_sibling_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Still 200 and the word ok, and `warn` in JSON (H01)."""
    world = World(tmp_path, monkeypatch, workers=2)
    try:
        opened_and_sibling_failed(world)
        assert call(world.app).word == (200, "ok")
        answer = call(world.app, HTTP_ACCEPT="application/health+json")
        assert (answer.code, json.loads(answer.body)) == (200, {"status": "warn"})
    finally:
        world.end()
