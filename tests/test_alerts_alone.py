"""A webhook is told what happens in a server of one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from support.checking import BRISK, Told
from support.local import Blocked, call, make_app
from support.waiting import eventually
from support.webhook import Webhook, answer

from flask_health import HealthCheck
from flask_health.alerts import outbox

THREAD = "flask-health-alerts"


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits a minute for a second message."""
    monkeypatch.setattr(outbox, "APART", 0.2)


@pytest.fixture
def told() -> Told:
    """What the check of a service does."""
    return Told()


def service(hook: Webhook, told: Told, **config: object) -> Flask:
    """A service that tells a webhook."""
    app = make_app("shop", HEALTH_WEBHOOK_URL=hook.url, HEALTH_DETAILS="always", **config)
    HealthCheck(app).add_check("database", told, failure_threshold=2, **BRISK)
    app.extensions["health"].start(wait=True)
    return app


def senders() -> list[str]:
    """The threads that send."""
    return [t.name for t in threading.enumerate() if t.name == THREAD]


def brief(messages: list[Any]) -> list[tuple[str, str, str]]:
    """What messages come down to."""
    return [(m["component"], m["previous"], m["status"]) for m in messages]


def test_an_outage_and_its_end_are_told(told: Told) -> None:
    """Once each, with the failures, the duration, and who tells (E10, E11)."""
    with Webhook() as hook:
        app = service(hook, told)
        assert not senders()
        told.says = ConnectionError("no route to postgres://shop:hunter2@db/shop")
        [down] = hook.takes(1)
        told.has_run(3)
        told.says = None
        [_, up] = hook.takes(2)
        told.has_run(5)
        eventually(lambda: not senders())
    assert call(app).word == (200, "ok")
    assert brief(hook.got) == [("database", "pass", "fail"), ("database", "fail", "pass")]
    assert down["service"] == "shop"
    assert down["output"] == "ConnectionError: no route to postgres://shop:***@db/shop"
    assert down["failures"] == 2
    assert up["failures"] >= 4
    assert up["outage"] > 0


def test_a_check_that_flaps_does_not_flood(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes too early is left out, and counted; the last word is told."""
    monkeypatch.setattr(outbox, "APART", 1.5)
    with Webhook() as hook:
        app = service(hook, told)
        told.says = False
        hook.takes(1)
        for says, status in ((None, "pass"), (False, "fail"), (None, "pass")):
            told.says = says
            eventually(
                lambda: call(app, QUERY_STRING="format=json").body,
                lambda b: f'"status": "{status}"'.encode() in b[:30],
            )
        [_, last] = hook.takes(2)
    assert (last["previous"], last["status"], last["left_out"]) == ("fail", "pass", 2)


def test_a_message_is_tried_again(told: Told, caplog: Any) -> None:
    """The log says once that it was not taken, and once that it is; the details have a note."""
    with Webhook(answer(500), answer(502), answer(500)) as hook:
        app = service(hook, told)
        with caplog.at_level(logging.INFO, "flask_health"):
            told.says = False
            eventually(lambda: len(hook.requests) >= 2)
            details = call(app, QUERY_STRING="format=json").body.decode()
            assert "takes no message: answered with 50" in details
            [message] = hook.takes(1)
            eventually(lambda: "takes messages again" in caplog.text)
        assert "takes no message" not in call(app, QUERY_STRING="format=json").body.decode()
    assert message["status"] == "fail"
    found = [r.message for r in caplog.records if "webhook" in r.message]
    assert [text.partition("***")[2] for text in found] == [
        " takes no message: answered with 500",
        " takes messages again",
    ]
    assert "s3cret" not in caplog.text + details


def test_a_receiver_that_refuses_is_not_bothered_again(told: Told) -> None:
    """But told of the next change: it may have been mended."""
    with Webhook(answer(404)) as hook:
        service(hook, told)
        told.says = False
        eventually(lambda: len(hook.requests) == 1)
        eventually(lambda: not senders())
        told.says = None
        [message] = hook.takes(1)
    assert message["status"] == "pass"


def test_a_receiver_that_hangs_keeps_nobody_waiting(told: Told) -> None:
    """Checks run on, probes are answered, and what comes meanwhile is told afterwards."""
    with Webhook() as hook:
        hook.plan.append(hook.hang)
        app = service(hook, told)
        told.says = False
        eventually(lambda: hook.requests)
        eventually(lambda: call(app).code, lambda code: code == 503)
        told.says = None
        eventually(lambda: call(app).code, lambda code: code == 200)
        told.has_run(3)
        hook.let_go.set()
        [message] = hook.takes(1)
    assert message["status"] == "pass"


def test_setup_that_fails_is_told() -> None:
    """As the gate, with the reason; and that it has opened after all."""
    step = Blocked()
    step.error = RuntimeError("no model at https://me:hunter2@models/v1")
    step.go.set()
    with Webhook() as hook:
        app = make_app("shop", HEALTH_WEBHOOK_URL=hook.url)
        health = HealthCheck(app)
        health.setup(step, retries=5)
        health.start()
        [failed] = hook.takes(1)
        step.error = None
        [_, opened] = hook.takes(2)
    assert brief(hook.got) == [("gate", "pass", "fail"), ("gate", "fail", "pass")]
    assert failed["output"] == "setup step 'blocked' failed: no model at https://me:***@models/v1"
    assert opened["outage"] > 0


def test_a_start_without_trouble_is_not_told(told: Told) -> None:
    """Nor a pause, nor that it ends."""
    with Webhook() as hook:
        app = service(hook, told)
        app.extensions["health"].pause("upgrade of the database")
        told.has_run(3)
        app.extensions["health"].resume()
        told.has_run(3)
    assert not hook.requests


def test_a_fault_of_ours_stops_no_check(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """It is logged once; the other receivers of changes hear (D15)."""
    from flask_health import alerts, status_changed

    def fault(self: object) -> Iterator[object]:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(alerts.Alerts, "_new_transitions", fault)
    heard: list[str] = []
    with Webhook() as hook:
        app = service(hook, told)

        def receiver(sender: object, new: str, **rest: object) -> None:
            heard.append(str(new))

        with status_changed.connected_to(receiver, app):
            for says, expected in ((False, ["fail"]), (None, ["fail", "pass"])):
                told.says = says
                eventually(lambda: heard, lambda found: found == expected)
    assert caplog.text.count("LookupError: a fault of ours") == 1
    assert not hook.requests
