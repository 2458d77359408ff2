"""What the status page shows of a server, as valid HTML in which every text is text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.checking import BRISK, Told
from support.local import Answer, Background, Blocked, environ, make_app
from support.pages import SVG, Document, attributes, look, text
from support.waiting import eventually

from flask_health import HealthCheck, Status
from flask_health.config import Config
from flask_health.model.check import Check, Result
from flask_health.model.course import Slice
from flask_health.model.report import Report, StepReport
from flask_health.model.server import STATES, Marker, WorkerState
from flask_health.model.traffic import Traffic, Window
from flask_health.web.about import About
from flask_health.web.details import Details
from flask_health.web.page import StatusPage
from flask_health.web.pages import Pages
from flask_health.web.sections import TONES
from flask_health.workers.board import Transition
from flask_health.workers.flow import Flow, Hand
from flask_health.workers.overview import Overview

PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL
NOW = 1_800_000_000.0
HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>&amp;{{ 1234 * 5678 }}"""
MOST = 60 * 1024
DOCS = Path(__file__).resolve().parent.parent / "docs"


def result(name: str = "database", status: Status = PASS, output: str = "", **more: Any) -> Result:
    """What became of a check."""
    check = Check(name, lambda: None)
    counts_as = WARN if status is FAIL and not more.pop("critical", True) else status
    times = {"time": NOW - 3.0, "duration": 0.0042, "since": NOW - 3700.0} | more
    return Result(check, status, counts_as, output, **times)


def marker(pid: int, state: WorkerState = WorkerState.READY) -> Marker:
    """A worker; its number is the last digits of its process id."""
    return Marker(pid % 1000, pid, 1, 4, state)


def overview(
    status: Status = PASS,
    results: Sequence[Result] = (),
    *,
    ordered: str = "",
    transitions: Sequence[Transition] = (),
    runs: Any = None,
    setups: Any = None,
    flow: Flow | None = None,
    **report: Any,
) -> Overview:
    """A server of four workers at one moment."""
    parts: dict[str, Any] = {
        "probe": "health",
        "status": status,
        "server": PASS,
        "reason": "",
        "gate": "open",
        "state": "/dev/shm/flask-health-1000/v1-0",
        "expected": 4,
        "results": tuple(results),
        "workers": tuple(marker(4_000_001 + n) for n in range(4)),
    }
    probes = {"live": True, "ready": status is not FAIL, "startup": True}
    return Overview(
        NOW,
        Report(**parts | report),
        ordered,
        probes,
        setups or {},
        flow or Flow([None] * 60, {}),
        list(transitions),
        runs or {},
    )


def answer(seen: Overview, query: str = "", **config: Any) -> Answer:
    """The status page of that server."""
    app = make_app("shop")
    told = Config(details="always", **config)
    page = StatusPage(Pages(Details(app, told, lambda: None)), lambda: seen, About(app, told))
    status, headers, body = page(environ("/health/ui", QUERY_STRING=query))
    return Answer(int(status[:3]), dict(headers), body)


def show(seen: Overview, **config: Any) -> Document:
    """The same as a document."""
    return Document(answer(seen, **config))


# The verdict


@pytest.mark.parametrize(
    ("seen", "tone", "word", "why"),
    [
        (overview(), "pass", "Ready", "4 of 4 workers serve."),
        (overview(expected=3), "pass", "Ready", "4 workers serve."),
        (overview(results=[result()]), "pass", "Ready", "serve, 1 check passes."),
        (overview(WARN, [result("disk", WARN, "91 % full")]), "warn", "Ready, with warnings", "91"),
        (overview(FAIL, [result("db", FAIL, "refused")]), "fail", "Not ready", "db: refused"),
        (overview(FAIL, gate="running", reason="1 of 4"), "wait", "Starting", "1 of 4"),
        (overview(FAIL, gate="failed", reason="failed: worker 9"), "fail", "Not ready", "worker 9"),
        (overview(FAIL, ordered="draining"), "warn", "Draining", "on purpose"),
        (overview(FAIL, ordered="paused: deploy 7"), "warn", "Paused", "on purpose: deploy 7"),
        (overview(FAIL, ordered="paused"), "warn", "Paused", "on purpose."),
        (overview(FAIL, [result("a", FAIL, "x")], reason="no master"), "fail", "Not ready", "no m"),
    ],
)
def test_the_verdict_in_one_glance(seen: Overview, tone: str, word: str, why: str) -> None:
    """A word, a shape, a tone and the reason; the same in the title and in the tab's icon."""
    page = show(seen)
    assert page.at("page").get("class") == tone
    assert text(page.at("word")) == word
    assert why in page.says("verdict")
    assert text(page.all("title")[0]) == page.at("page").get("data-title") == f"{word} · shop"
    assert page.all("link")[0].get("href") == page.at("page").get("data-icon")


def test_every_tone_has_a_shape_of_its_own() -> None:
    """In the page and in the tab: colour is never the only sign."""
    seen = [
        overview(),
        overview(WARN),
        overview(FAIL),
        overview(FAIL, gate="running"),
        overview(FAIL, ordered="draining"),
        overview(FAIL, ordered="paused"),
    ]
    pages = [show(each) for each in seen]
    shapes = [page.at("verdict").find(f"{SVG}svg/{SVG}use") for page in pages]
    used = [shape.get("href") for shape in shapes if shape is not None]
    assert len(set(used)) == len(seen)
    defined = {f"#{symbol.get('id')}" for symbol in pages[0].all("symbol")}
    assert set(used) <= defined
    assert len({page.all("link")[0].get("href") for page in pages}) == 4


def test_the_worst_reasons_come_first_and_are_few() -> None:
    """What is critical is named before what is not; of many the number is told."""
    checks = [result(f"c{n}", FAIL, "down", critical=n > 2) for n in range(7)]
    said = show(overview(FAIL, checks)).says("verdict")
    assert [name for name in ("c0", "c3", "c4", "c5", "c6") if f"{name}:" in said] == [
        "c3",
        "c4",
        "c5",
    ]
    assert "and 4 more" in said


def test_the_other_probes_are_shown() -> None:
    """In words; while the server starts they are not called failures."""
    assert "ready not ready" in text(show(overview(FAIL)).all("dl", "facts")[0])
    starting = show(overview(FAIL, gate="pending"))
    assert not starting.all("dd", "fail")


# Setup


def test_steps_show_how_far_they_are() -> None:
    """A bar with a name and a number, what the step says, and why one has failed."""
    steps = (
        StepReport("migrate", "server", "done"),
        StepReport("warm_up", "worker", "running", 0.425, "17 of 40"),
        StepReport("guess", "worker", "running"),
        StepReport("connect", "worker", "failed", error="ConnectionError: refused"),
        StepReport("last", "worker", "pending"),
    )
    page = show(overview(FAIL, gate="running", steps=steps, workers=(), expected=1))
    rows = [text(row) for row in page.all("li", "step")]
    assert rows[0] == "done migrate once per server"
    assert rows[1].startswith("running warm_up in every worker")
    assert "42 % · 17 of 40" in rows[1]
    assert "ConnectionError: refused" in rows[3]
    bars = [bar for row in page.all("li", "step") for bar in row if bar.tag == "progress"]
    assert [(bar.get("aria-label"), bar.get("value")) for bar in bars] == [
        ("warm_up", "42"),
        ("guess", None),
    ]


def test_steps_are_added_up_over_all_workers() -> None:
    """Whoever answers: how many are done, how far they are together, what the slowest is at; and
    in each worker's tile what it is at.
    """
    starting = WorkerState.STARTING
    workers = [marker(1), marker(2, starting), marker(3, starting), marker(4, starting)]
    own = (StepReport("migrate", "server", "done"), StepReport("warm_up", "worker", "waiting"))
    migrate = StepReport("migrate", "server", "waiting")
    setups = {
        2: (own[0], StepReport("warm_up", "worker", "running", 0.5, "half")),
        3: (own[0], StepReport("warm_up", "worker", "running", 0.25, "a quarter")),
        4: (migrate, StepReport("warm_up", "worker", "pending")),
    }
    seen = overview(FAIL, gate="running", steps=own, workers=tuple(workers), setups=setups)
    page = show(seen)
    assert [text(row) for row in page.all("li", "step")] == [
        "done migrate once per server",
        "running warm_up done in 1 of 4 workers 43 % · a quarter",
    ]
    tiles = [text(tile).partition(" pid")[0] for tile in page.all("li", "tile")]
    assert tiles == [
        "ready #1",
        "starting #2 warm_up 50 %",
        "starting #3 warm_up 25 %",
        "starting #4 waits for migrate",
    ]


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (["done", "done", "done", "done"], "done"),
        (["done", "done", "done"], "running"),  # the fourth has not come yet
        (["pending", "pending"], "pending"),
        (["running", "failed", "done"], "failed"),
    ],
)
def test_a_step_of_every_worker_is_done_when_all_are(states: list[str], shown: str) -> None:
    """The number that counts is that of the workers that there should be."""
    setups = {n: (StepReport("load", "worker", state),) for n, state in enumerate(states)}
    workers = tuple(marker(n, WorkerState.STARTING) for n in setups)
    seen = overview(FAIL, gate="running", steps=setups[0], workers=workers, setups=setups)
    (row,) = show(seen).all("li", "step")
    assert text(row).startswith(shown)


def test_an_open_gate_takes_one_line() -> None:
    """The steps by name, and no bar."""
    page = show(overview(steps=(StepReport("migrate", "server", "done"),)))
    assert "gate is open" in page.says("gate")
    assert "migrate" in page.says("gate")
    assert not page.all("progress")


# Checks


def test_checks_in_a_table_the_worst_first() -> None:
    """Name, status in words, reason, latency, two ages; what is odd about it beside its name."""
    odd = Check("queue", lambda: None, critical=False, scope="worker", probes=("ready", "live"))
    page = show(
        overview(
            FAIL,
            [
                result(observed_value=7, observed_unit="rows"),
                result("cache", FAIL, "timed out"),
                Result(odd, WARN, WARN, "slow", NOW - 1.5, 0.5, since=NOW - 90000.0),
                Result(Check("new", lambda: None), FAIL, FAIL, "not run yet"),
            ],
        )
    )
    dash = "\u2013"
    assert page.rows() == [
        ["cache", "fail timed out", "4.2 ms", "3 s ago", "1 h 1 min ago"],
        ["new", "not run yet", dash, dash, dash],
        [
            "queue for ready, live; not critical; each worker for itself",
            "warn slow",
            "500 ms",
            "2 s ago",
            "1 d 1 h ago",
        ],
        ["database 7 rows", "pass", "4.2 ms", "3 s ago", "1 h 1 min ago"],
    ]
    assert "1 fail, 1 not run yet, 1 warn, 1 pass" in page.says("checks")
    heads = [text(head) for head in page.all("th") if head.get("scope") == "col"]
    assert heads == ["Check", "Status", "Latency", "Last run", "Since"]


def test_the_last_runs_are_a_row_of_strokes() -> None:
    """As long as each took; failures stand out by length and pattern, and are told in words."""
    runs = {"database": [(0.001, PASS), (0.002, PASS), (0.0015, WARN), (5.0, FAIL)]}
    (drawn,) = show(overview(results=[result()], runs=runs)).all("svg", "runs")
    paths = {path.get("class", "good"): path.get("d", "") for path in drawn}
    assert drawn.get("role") == "img"
    assert drawn.get("aria-label") == "last 4 runs, the longest took 5 s, 1 failed"
    assert {kind: path.count("M") for kind, path in paths.items()} == {
        "good": 2,
        "slow": 1,
        "bad": 1,
    }
    assert paths["bad"] == "M88 20v-20"


# Workers


def test_workers_are_tiles() -> None:
    """State in words, the order of their start, process id; and how many there should be."""
    states = [WorkerState.READY, WorkerState.LEAVING, WorkerState.FAILED, WorkerState.STARTING]
    workers = tuple(marker(4_000_001 + n, state) for n, state in enumerate(states))
    page = show(overview(WARN, workers=workers))
    tiles = [text(tile) for tile in page.all("li", "tile")]
    assert [tile.split()[:4] for tile in tiles] == [
        ["ready", "#1", "pid", "4000001"],
        ["leaving", "#2", "pid", "4000002"],
        ["failed", "#3", "pid", "4000003"],
        ["starting", "#4", "pid", "4000004"],
    ]
    assert "1 ready, 1 leaving, 1 failed, 1 starting; 4 expected" in page.says("workers")


def test_workers_show_what_they_have_in_hand() -> None:
    """Requests in flight, and the last beat of the serving loop where it is known."""
    hands = {4_000_001: Hand(3, 0.4), 4_000_002: Hand(0, None)}
    page = show(overview(flow=Flow([], hands)))
    tiles = [text(tile) for tile in page.all("li", "tile")]
    assert "in flight 3 last beat just now" in tiles[0]
    assert "in flight 0 up" in tiles[1]
    assert "in flight" not in tiles[2]


def test_traffic_is_drawn_and_told() -> None:
    """Two plots that say in words what they show; without traffic, none."""
    course: list[Slice | None] = [Slice(12.0, 1.0, 0.01, 0.2)] * 60
    minute = Window(60.0, 720, 12.0, 0.08, 0.02, 0.012, 0.05, 0.2)
    counted = Traffic(2, {"1m": minute, "5m": minute, "boot": minute}, 9000, 9, 1.0, ())
    page = show(overview(flow=Flow(course, {}), read_traffic=lambda: counted))
    assert "12/s in the last minute; 8 % failed; 2 in flight" in page.says("traffic")
    drawn = page.all("figure", "plot")
    assert [text(figure).split()[0] for figure in drawn] == ["Requests", "Latency"]
    (image,) = (e for e in drawn[0].iter() if e.get("role") == "img")
    assert image.get("aria-label") == (
        "Requests, last minute 12/s, highest 12/s in the last 5 minutes"
    )
    kinds = [path.get("class") for path in image]
    assert kinds == ["grid", "area", "line", "bad"]
    assert not show(overview()).all("figure")


def test_a_server_of_one_has_one_tile() -> None:
    """The process that answers."""
    page = show(overview(workers=(), state="local", expected=1))
    (tile,) = page.all("li", "tile")
    assert text(tile).startswith("ready pid")
    assert "state in" not in text(page.all("footer")[0])


def test_a_stalled_worker_stands_out() -> None:
    """It says of itself that it is ready, and cannot know better."""
    page = show(overview(WARN, movements={4_000_001: (1, 42.0), 4_000_002: (1, None)}))
    first, second, *_ = page.all("li", "tile")
    assert text(first).startswith("stalled for 42 s #1")
    assert first.get("class") == "tile fail"
    assert text(second).startswith("ready")


def test_every_state_of_a_worker_has_its_signs() -> None:
    """None is forgotten."""
    assert set(TONES) == set(STATES)


# Changes, and what it is


def test_changes_the_newest_first() -> None:
    """When, from what to what, why, and how long it was down."""
    rows = [
        Transition("db", PASS, FAIL, NOW - 60.0, "refused", 3, 0.0),
        Transition("db", FAIL, PASS, NOW - 20.0, "", 3, 42.0),
        Transition("disk", WARN, PASS, NOW - 10.0, "", 0, 0.0),
        Transition("db", FAIL, WARN, NOW - 5.0, "slow", 2, 1.25),
    ]
    page = show(overview(transitions=rows))
    (listed,) = page.all("ol", "changes")
    assert [text(row) for row in listed] == [
        "07:59:55 UTC fail to warn db works again after 1.2 s: slow",
        "07:59:50 UTC warn to pass disk no longer warns",
        "07:59:40 UTC fail to pass db works again after 42 s",
        "07:59:00 UTC pass to fail db refused",
    ]
    assert "None since the server started." in show(overview()).says("changes")


def test_what_the_service_is() -> None:
    """Name, release, links and versions; an address that a browser would run is only a text."""
    links = {"runbook": "https://wiki.example.com/shop", "trap": "javascript:alert(1)"}
    page = show(overview(), service="till", version="4.2.0", links=links)
    assert text(page.all("h1")[0]) == "till 4.2.0"
    (link,) = (a for a in page.all("footer")[0].iter("a"))
    assert (link.text, link.get("href")) == ("runbook", "https://wiki.example.com/shop")
    footer = text(page.all("footer")[0])
    assert "trap" in footer
    assert "Python 3" in footer


def test_notes_of_our_own_troubles_are_shown() -> None:
    """What keeps this extension from its work is said where people look."""
    page = show(overview(WARN, notes=("results of checks cannot be published",)))
    assert "results of checks cannot be published" in text(page.all("main")[0])


# Safe, small, valid


def test_every_text_is_text() -> None:
    """Whatever a check, a step, a reason or the configuration says is shown, and not obeyed."""
    steps = (StepReport("load", "worker", "running", 0.5, HOSTILE),)
    seen = overview(
        FAIL,
        [result(output=HOSTILE, status=FAIL, observed_value=HOSTILE, observed_unit=HOSTILE)],
        ordered=f"paused: {HOSTILE}",
        transitions=[Transition("db", PASS, FAIL, NOW, HOSTILE, 1, 0.0)],
        gate="running",
        reason=HOSTILE,
        state=HOSTILE,
        notes=(HOSTILE,),
        steps=steps,
    )
    for each in (seen, seen._replace(ordered="")):
        page = show(each, service=HOSTILE, version=HOSTILE, links={HOSTILE: f"https://{HOSTILE}"})
        assert len(page.all("script")) == 1
        assert not page.all("img")
        assert not [name for name, _ in attributes(page.root) if name.startswith("on")]
        shown = "".join(page.root.itertext())
        assert shown.count(HOSTILE) >= 9
        assert "7006652" not in shown


def test_what_cannot_be_encoded_is_shown_all_the_same() -> None:
    """A lone surrogate, as from a file name, is no reason to show nothing."""
    page = show(overview(FAIL, [result(status=FAIL, output="no \udc80 such")]))
    assert "no ? such" in page.says("checks")


@pytest.mark.parametrize(("workers", "checks"), [(4, 5), (64, 100), (300, 300)])
def test_it_stays_small(workers: int, checks: int) -> None:
    """At most 60 KiB in all: of very many workers and checks some are shown in short."""
    results = [result(f"check-{n}-{'x' * 40}", FAIL, "y" * 500) for n in range(checks)]
    runs = {r.name: [(0.0123 * n, PASS) for n in range(30)] for r in results}
    rows = [Transition(r.name, PASS, FAIL, NOW, "z" * 500, 3, 0.0) for r in results]
    markers = tuple(marker(4_000_001 + n) for n in range(workers))
    seen = overview(FAIL, results, runs=runs, transitions=rows, workers=markers)
    page = show(seen)
    assert page.size <= MOST
    assert all(str(m.pid) in page.says("workers") for m in markers)
    named = page.says("checks")
    unnamed = sum(r.name not in named for r in results)
    assert bool(unnamed) is (checks == 300)
    assert not unnamed or f"and {unnamed} more" in named


def test_the_script_is_told_the_changing_part_alone() -> None:
    """The same element as in the whole page, without stylesheet and script."""
    whole, part = answer(overview()).body.decode(), answer(overview(), "part").body.decode()
    digits = re.compile(r"[\d.]+")  # of a process that is looked at twice
    assert digits.sub("", part.strip()) in digits.sub("", whole)
    assert part.startswith('<div id="page"')
    assert "<style>" not in part
    assert len(part) < len(whole) / 2


def test_the_parts_of_the_page_have_names() -> None:
    """Landmarks, one heading of the first rank, one above each section, and no id twice."""
    page = show(overview(results=[result()]))
    assert page.root.get("lang") == "en"
    for landmark in ("header", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert len(page.all("h1")) == 1
    for section in page.all("section"):
        heading = section.find("div/h2")
        assert heading is not None
        assert section.get("aria-labelledby") == heading.get("id")
    ids = [value for name, value in attributes(page.root) if name == "id"]
    assert len(ids) == len(set(ids))
    references = {v[1:] for n, v in attributes(page.root) if n == "href" and v.startswith("#")}
    assert references <= set(ids)
    for drawn in page.all("svg"):
        assert drawn.get("aria-hidden") == "true" or drawn.get("aria-label")


def test_without_a_script_it_loads_itself_again() -> None:
    """And only then: the script would be interrupted."""
    (hint,) = show(overview()).all("noscript")
    assert hint.text is None or "refresh" not in hint.text
    whole = answer(overview()).body
    assert whole.count(b'<noscript><meta http-equiv="refresh" content="5"></noscript>') == 1


def test_the_pictures_are_small() -> None:
    """Less than 150 KiB each; the page about it shows them all."""
    pictures = sorted((DOCS / "images").glob("page-*.png"))
    assert len(pictures) == 5
    told = (DOCS / "page.md").read_text()
    for picture in pictures:
        assert picture.stat().st_size < 150 * 1024
        assert f"(images/{picture.name})" in told


# With a real extension behind it


def test_it_shows_what_is() -> None:
    """From the first step to a check that fails and works again, in a server of one."""
    app = make_app("shop", HEALTH_DETAILS="always")
    health = HealthCheck(app)
    step, told = Blocked(), Told((7, "rows"))
    health.setup(step, name="warm_up")
    health.check(told, name="database", **BRISK, failure_threshold=1)
    starting = Background(lambda: health.start(wait=True))
    assert step.begun.wait(10.0)
    page = look(app)
    assert text(page.at("word")) == "Starting"
    assert "running warm_up" in page.says("gate")
    step.go.set()
    starting.result()
    page = look(app)
    assert text(page.at("word")) == "Ready"
    assert page.rows()[0][:2] == ["database 7 rows", "pass"]

    told.says = OSError("<b>no route</b>")
    eventually(lambda: text(look(app).at("word")), lambda word: word == "Not ready")
    assert "database: OSError: <b>no route</b>" in look(app).says("verdict")
    told.says = None
    eventually(lambda: text(look(app).at("word")), lambda word: word == "Ready")
    page = look(app)
    assert "works again after" in page.says("changes")
    (drawn,) = page.all("svg", "runs")
    assert "failed" in drawn.get("aria-label", "")

    health.pause("deploy 7")
    assert "Paused" in look(app).says("verdict")
    assert "deploy 7" in look(app).says("verdict")
    health.resume()
    assert text(look(app).at("word")) == "Ready"


def test_a_report_that_is_asked_for_twice_is_the_same_page() -> None:
    """Nothing in it changes by itself: the script replaces only what has changed."""
    seen = overview(results=[result()])
    again = seen._replace(report=dataclasses.replace(seen.report))
    assert answer(seen).body == answer(again).body
