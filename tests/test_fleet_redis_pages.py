"""`/health/fleet`: who sees it, what it tells, as JSON and as a page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from support.backends import Redis
from support.checking import Told
from support.fleets import Fleet, Server
from support.local import Answer, call
from support.pages import Document, look, text
from support.stores import USUAL, client
from support.waiting import eventually

from flask_health import HealthCheck
from flask_health.fleet import listing
from flask_health.fleet.keys import Keys
from flask_health.fleet.scripts import BEAT

KEYS = Keys("shop")
PATH = "/health/fleet"


@pytest.fixture(params=USUAL)
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A store of the test's."""
    with request.param() as found:
        yield found


def register(health: HealthCheck) -> None:
    """A check that fails with more to say than a page should run."""
    health.add_check("database", Told(ConnectionError("<b>refused</b>")), interval=0.3)


@pytest.fixture
def rolling(server: Redis) -> Iterator[Fleet]:
    """Two servers of 1.0, and one of 1.1 that is not ready."""
    with Fleet(server.url) as fleet:
        fleet.of(2)
        fleet.add(register, HEALTH_VERSION="1.1")
        fleet.see(3)
        eventually(lambda: fleet.servers[0].sees.ready, lambda ready: ready == 2)
        eventually(lambda: "refused" in str(told(fleet.servers[0])["list"]), why="its reason")
        yield fleet


def told(server: Server) -> Any:
    """The JSON that a server answers with, once it lists all servers that there are."""
    client = server.app.test_client()
    return eventually(
        lambda: client.get(PATH).get_json(),
        lambda found: found["list"]["listed"] == found.get("servers", {}).get("total"),
    )


def test_the_fleet_is_told_in_json(rolling: Fleet) -> None:
    """The same from any server: counts, releases, the one that is rolling out, the servers."""
    for one in rolling.servers:
        found = told(one)
        assert found["servers"] == {"total": 3, "ready": 2, "pass": 2, "warn": 0, "fail": 1}
        assert [(r["release"], r["servers"], r["ready"]) for r in found["releases"]] == [
            ("1.1", 1, 0),
            ("1.0", 2, 2),
        ]
        assert found["rollingOut"] == "1.1"
        assert (found["service"], found["store"]) == ("shop", "ok")
        rows = found["list"]["servers"]
        assert [row["ready"] for row in rows] == [False, True, True]
        assert rows[0]["release"] == "1.1"
        assert rows[0]["checks"] == {"database": ["fail", "ConnectionError: <b>refused</b>"]}
        assert {row["server"] for row in rows} == {s.fleet.server for s in rolling.servers}
        assert {change["state"] for change in found["changes"]} >= {"fail open"}
        assert all(row["silent"] < 3 for row in rows)


def test_the_details_of_a_server_tell_of_its_fleet_too(rolling: Fleet) -> None:
    """What it knows without asking anybody."""
    found = rolling.servers[0].app.test_client().get("/health?format=json").get_json()["fleet"]
    assert found["servers"]["total"] == 3
    assert "list" not in found


def test_strangers_see_nothing(server: Redis) -> None:
    """JSON is not found for them, a browser is asked for a password."""
    with Fleet(server.url, HEALTH_DETAILS="authorized", HEALTH_TOKEN="s3cret") as fleet:
        (one,) = fleet.of(1)
        asked = one.app.test_client()
        assert asked.get(PATH).status_code == 404
        html = {"Accept": "text/html"}
        assert asked.get(PATH, headers=html).status_code == 401
        assert asked.get(f"{PATH}?part").status_code == 403
        key = {"Authorization": "Bearer s3cret"}
        assert asked.get(PATH, headers=key).get_json()["service"] == "shop"
        assert asked.get(PATH, headers=key | html).content_type == "text/html; charset=utf-8"
        assert asked.post(PATH, headers=key).status_code == 405


def test_without_a_fleet_there_is_nothing(tmp_path: object) -> None:
    """Not found, also for those who may see details."""
    app = Flask("shop")
    app.config["HEALTH_DETAILS"] = "always"
    HealthCheck(app)
    assert app.test_client().get(PATH).status_code == 404


def page(server: Server) -> Document:
    """The page as a browser gets it, once it shows all servers."""
    told(server)
    return look(server.app, PATH, HTTP_ACCEPT="text/html,*/*")


def test_the_page_shows_the_fleet(rolling: Fleet) -> None:
    """The verdict first, then releases, servers, changes; valid, and nothing in it runs."""
    shown = page(rolling.servers[0])
    assert shown.says("word") == "Ready, with warnings"
    assert "2 of 3 servers are ready." in shown.says("verdict")
    assert "1.1 is rolling out: 0 of 3 servers." in shown.says("releases")
    rows = shown.rows()
    assert len(rows) == 3
    assert "ConnectionError: <b>refused</b>" in rows[0][1]
    assert rows[0][2:4] == ["1.1", "1 of 1"]
    assert [row[2] for row in rows[1:]] == ["1.0", "1.0"]
    assert sum("this one" in row[0] for row in rows) == 1
    assert not shown.all("b")
    assert shown.size < 60 * 1024
    assert "fail" in shown.says("changes")


def test_the_status_page_leads_to_the_fleet_and_back(rolling: Fleet) -> None:
    """Where there is one."""
    one = rolling.servers[0]
    assert [a.get("href") for a in look(one.app).all("a") if text(a) == "fleet"] == ["fleet"]
    links = [a.get("href") for a in page(one).all("a") if text(a) == "this server"]
    assert links == ["ui"]


def test_many_servers_stay_one_page(server: Redis) -> None:
    """Of a thousand, some are listed, first those that are not ready; all are counted."""
    with Fleet(server.url) as fleet:
        (one,) = fleet.of(1)
        for number in range(1000):
            tell(one, f"{number:012x}", ready=number % 100 != 0)
        found = eventually(
            lambda: one.app.test_client().get(PATH).get_json()["list"],
            lambda found: found["total"] == 1001,
        )
        assert found["listed"] == listing.MOST == 200
        assert [row["ready"] for row in found["servers"][:11]] == [False] * 10 + [True]
        shown = look(one.app, PATH, HTTP_ACCEPT="text/html")
        assert shown.size < 60 * 1024
        assert "and 801 more" in shown.says("servers")


def tell(one: Server, identity: str, ready: bool) -> None:
    """Be one more server of the fleet, for a moment."""
    lines = ["n", "s:pass", "r:1.0", "ready", "R:1.0"] if ready else ["n", "s:fail", "r:1.0"]
    report = json.dumps({"status": "pass" if ready else "fail", "ready": ready, "gate": "open"})
    keys = [KEYS.servers, KEYS.members, KEYS.aggregate, KEYS.changes]
    keys += [KEYS.server(identity), KEYS.checks]
    args: list[str | int] = [
        identity,
        60_000,
        60_000,
        "",
        "\n".join(lines),
        report,
        f"host-{identity}",
        "1.0",
    ]
    one.member.store.run(BEAT, keys, [*args, "pass open", ""])


def timed(one: Server) -> tuple[Answer, float]:
    """The answer, and the seconds that it took."""
    began = time.monotonic()
    answer = call(one.app, PATH)
    return answer, time.monotonic() - began


def test_a_store_that_hangs_keeps_nobody_waiting(rolling: Fleet, server: Redis) -> None:
    """The first one who looks for half a second at most, the next not at all."""
    one = rolling.servers[0]
    told(one)
    with server.frozen():
        time.sleep(1.2)
        answer, seconds = timed(one)
        assert answer.code == 200
        assert seconds < 0.9
        eventually(lambda: one.fleet.problem, why="it knows")
        answer, seconds = timed(one)
        assert seconds < 0.2
        shown = look(one.app, PATH, HTTP_ACCEPT="text/html")
        assert shown.says("word") == "Not known now"
        assert len(shown.rows()) == 3
    eventually(lambda: told(one)["store"], lambda store: store == "ok")


def test_nobody_looks_nobody_asks(rolling: Fleet, server: Redis) -> None:
    """The hashes of all are read while somebody looks, and never else."""
    with client(server.url) as asked:

        def reads() -> int:
            return int(asked.info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0))

        # A beat that brings something new reads the aggregate: one for each server.
        time.sleep(3.0)
        before = reads()
        time.sleep(3.0)
        assert reads() == before
        told(rolling.servers[0])
        assert reads() >= before + 4
