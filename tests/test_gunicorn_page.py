"""The status page in a real browser, in front of a real gunicorn, from its start to its end."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Viewer, chromium, faults, needs_browser
from support.environment import free_port
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [needs_browser, pytest.mark.matrix]

SOON = 15_000.0
"""Milliseconds in which what has changed must be seen."""

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}

View = Callable[..., Viewer]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this module."""
    with chromium(**os.environ) as started:
        yield started


@pytest.fixture
def view(browser: Browser) -> Iterator[View]:
    """Open windows of that browser; each has a profile of its own and ends with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Viewer(browser, **options))


@pytest.fixture
def shop(serve: Serve, tmp_path: Path) -> Callable[..., Gunicorn]:
    """Start a shop of four workers, two by default, that has these orders."""

    def start(*orders: str, workers: int = 2, **options: Any) -> Gunicorn:
        stage = Stage(tmp_path / "stage", *orders)
        threads = ["-k", "gthread", "--threads", "4"]
        return serve("shop:app", *threads, workers=workers, stage=stage, **options)

    return start


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """A shop of two workers that is ready: who changes it changes it back."""
    home = tmp_path_factory.mktemp("ready")
    with Gunicorn(home, "shop:app", "-k", "gthread", "--threads", "4", workers=2) as server:
        server.answers(200)
        yield server


def says(page: Page, word: str) -> None:
    """Wait until the verdict of a page is that word, in the text, the title and the icon."""
    from playwright.sync_api import expect

    expect(page.locator("#word")).to_have_text(word, timeout=SOON)
    expect(page).to_have_title(f"{word} · shop", timeout=SOON)
    icons = page.locator("link[rel=icon]").get_attribute("href")
    if word != "No answer":
        assert icons == page.locator("#page").get_attribute("data-icon")


def shows(page: Page, where: str, text: str | re.Pattern[str]) -> None:
    """Wait until an element contains a text."""
    from playwright.sync_api import expect

    expect(page.locator(where)).to_contain_text(text, timeout=SOON)


def refreshes(page: Page, times: int = 2) -> None:
    """Wait until a page has been brought up to date that often."""
    for _ in range(times):
        moment = page.locator(".asof time").inner_text()
        eventually(
            lambda: page.locator(".asof time").inner_text(),
            lambda now, was=moment: now != was,  # type: ignore[misc]
        )


def test_the_story_of_a_server(shop: Callable[..., Gunicorn], view: View) -> None:
    """Start-up with progress, ready, a check that fails and works again, a pause, the end: all of
    it seen without touching the page, without a word in its console, and without a request but to
    itself.
    """
    server = shop("wait", "wait.migrate")
    stage = server.stage
    viewer = view()
    page = viewer.look(server.address)
    says(page, "Starting")
    shows(page, "#gate", "migrate_database")
    shows(page, "#gate", "orders, table 5 of 7")
    bars = page.locator("#gate progress")
    first = float(bars.first.get_attribute("value") or 0)
    eventually(lambda: float(bars.first.get_attribute("value") or 0), lambda now: now > first)
    assert not faults(page)
    stage.withdraw("wait.migrate")
    shows(page, "#gate", re.compile(r"[\d,]+ of 48,200 articles"))
    stage.withdraw("wait")
    says(page, "Ready")
    shows(page, "#workers", "2 ready")
    assert not faults(page)

    stage.order("warn.payments")
    says(page, "Ready, with warnings")
    shows(page, "#verdict", "payments: replica is 41 s behind its primary")
    stage.order("fail.database")
    says(page, "Not ready")
    shows(page, "#verdict", "database: ConnectionRefusedError: connection to database.internal")
    shows(page, "#changes", "pass to fail")
    assert not faults(page)
    stage.withdraw("fail.database", "warn.payments")
    says(page, "Ready")
    shows(page, "#changes", "works again after")

    directory = next(server.state.glob("flask-health-*/v1-*"))
    (directory / "pause").write_text("deploy 7")
    says(page, "Paused")
    shows(page, "#verdict", "Not ready on purpose: deploy 7")
    assert not faults(page)
    (directory / "pause").unlink()
    says(page, "Ready")
    (directory / "drain").touch()
    says(page, "Draining")
    assert not viewer.trouble
    assert {url.partition("?")[0] for url in viewer.asked if not url.startswith("data:")} == {
        f"http://127.0.0.1:{server.address}/health/ui"
    }
    assert not viewer.context.cookies()
    assert not stage.facts("hooks")


def test_traffic_is_seen(shop: Callable[..., Gunicorn], view: View) -> None:
    """What all workers do, as curves and in figures, and what each of them has in hand."""
    server = shop("busy")
    server.answers(200)
    page = view().look(server.address)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.get, "/slow", timeout=60.0)
        try:
            shows(page, "#workers", re.compile(r"in flight\s*1"))
            shows(page, "#workers", re.compile(r"last beat\s*(just now|\d+ s ago)"))
            with server.load(threads=2):
                shows(page, "#traffic", re.compile(r"[1-9][\d.]*/s in the last minute; 0 % failed"))
                line = page.locator("#traffic .plot:first-child path.line")
                eventually(lambda: line.get_attribute("d") or "", lambda path: "L" in path)
        finally:
            server.stage.withdraw("busy")
        assert asked.result().code == 200
    assert not faults(page)
    told = page.locator("#traffic svg").first.get_attribute("aria-label") or ""
    assert re.match(r"Requests, last minute [\d.]+/s, highest [\d.]+/s", told), told


def test_a_server_that_does_not_answer(shop: Callable[..., Gunicorn], view: View) -> None:
    """What it said before is not shown as now; and when it is back, so is the page."""
    server = shop()
    server.answers(200)
    page = view().look(server.address)
    says(page, "Ready")
    server.kill()
    says_lost = page.locator("#word")
    shows(page, "#word", "No answer")
    assert says_lost.inner_text() == "No answer"
    shows(page, "#verdict", "It last said “Ready”")
    shows(page, "#contact", "The server does not answer.")
    shows(page, "#retry", re.compile(r"Asking again in \d+ s\.|Asking again …"))
    shows(page, "#ago", re.compile(r"\d+ s ago"))
    assert page.title() == "No answer · Ready · shop"
    assert not faults(page)
    server.start().listening().answers(200)
    says(page, "Ready")
    assert page.locator("#contact").inner_text() == ""
    assert page.locator("#page").get_attribute("class") == "pass"


def test_a_server_that_hangs(shop: Callable[..., Gunicorn], view: View) -> None:
    """A connection that is accepted and never answered is given up."""
    server = shop()
    server.answers(200)
    page = view().look(server.address)
    says(page, "Ready")
    frozen = [server.pid, *server.workers()]
    server.signal(signal.SIGSTOP, *frozen)
    try:
        from playwright.sync_api import expect

        expect(page.locator("#word")).to_have_text("No answer", timeout=3 * SOON)
    finally:
        server.signal(signal.SIGCONT, *frozen)
    says(page, "Ready")


def test_without_a_script(shop: Callable[..., Gunicorn], view: View) -> None:
    """The whole page is there, and the browser loads it again by itself."""
    server = shop("wait")
    viewer = view(java_script_enabled=False)
    page = viewer.look(server.address)
    shows(page, "#word", "Starting")
    shows(page, "#workers", "2 starting")
    assert page.locator(".tile").count() == 2
    server.stage.withdraw("wait")
    says(page, "Ready")
    assert not viewer.trouble


def test_it_stays_where_the_reader_is(ready: Gunicorn, view: View) -> None:
    """Focus, scroll position and selection survive every update, and so do its elements."""
    page = view(viewport={"width": 900, "height": 420}).look(ready.address)
    page.evaluate(
        """() => {
            document.querySelector("footer a").focus();
            scrollTo(0, 300);
            const row = document.querySelector(".checks tbody tr");
            getSelection().selectAllChildren(row.querySelector(".name"));
            row.marked = true;
        }"""
    )
    ready.stage.order("fail.search")
    shows(page, "#changes", "pass to fail search")
    ready.stage.withdraw("fail.search")
    shows(page, "#changes", "fail to pass search")
    # The browser itself moves the page by what is new above, so that what is read stays in place.
    place = page.evaluate("scrollY")
    assert place >= 300
    refreshes(page)
    assert page.evaluate("document.activeElement.textContent") == "runbook"
    assert page.evaluate("scrollY") == place
    assert page.evaluate("getSelection().toString().length") > 0
    assert page.evaluate("document.querySelector('.checks tbody tr').marked")


def test_it_rests_while_nobody_looks(ready: Gunicorn, view: View) -> None:
    """A hidden tab asks nothing; once it is seen again it asks at once."""
    viewer = view()
    page = viewer.look(ready.address)
    refreshes(page, 1)
    hide = "Object.defineProperty(document, 'hidden', { configurable: true, get: () => %s });"
    page.evaluate(hide % "true")
    page.wait_for_timeout(500)  # for the one that is under way
    asked = len(viewer.asked)
    page.wait_for_timeout(3500)
    assert len(viewer.asked) == asked
    page.evaluate(hide % "false" + "document.dispatchEvent(new Event('visibilitychange'));")
    eventually(lambda: viewer.requests(), lambda urls: len(urls) == asked + 1)


def test_with_the_keyboard_alone(ready: Gunicorn, view: View) -> None:
    """The first stop leads past the head of the page, every stop can be seen, none is a trap."""
    page = view().look(ready.address)
    seen = []
    for _ in range(3):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                    const e = document.activeElement, box = e.getBoundingClientRect();
                    const style = getComputedStyle(e);
                    return [e.textContent, style.outlineStyle !== "none" && box.left >= 0];
                }"""
            )
        )
    assert seen[:2] == [["Skip to the content", True], ["runbook", True]]
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "runbook"


def test_what_a_screen_reader_hears(shop: Callable[..., Gunicorn], view: View) -> None:
    """Landmarks, headings, the table and its cells, and the verdict as a status."""
    server = shop("fail.database")
    page = view().look(server.address)
    says(page, "Not ready")
    shows(page, "#checks", "refused")
    heard = page.locator("body").aria_snapshot()
    for line in (
        r"- banner:",
        r"heading \"shop 4.2.0\" \[level=1\]",
        r"- main:",
        r"- status:",
        r"- paragraph: Not ready",
        r"- region \"Checks\":",
        r"columnheader \"Latency\"",
        r"rowheader \"database",
        r"cell \"fail ConnectionRefusedError: connection to database.internal:5432 refused\"",
        r"- region \"Workers\":",
        r"- listitem:",
        r"- contentinfo:",
    ):
        assert re.search(line, heard), f"{line}\n{heard}"


def test_the_verdict_is_told_once(ready: Gunicorn, view: View) -> None:
    """A screen reader is not told again and again what has not changed."""
    page = view().look(ready.address)
    page.evaluate(
        """() => {
            window.told = 0;
            new MutationObserver((found) => { window.told += found.length; }).observe(
                document.getElementById("verdict"),
                { subtree: true, childList: true, characterData: true, attributes: true });
        }"""
    )
    refreshes(page, 3)
    assert page.evaluate("window.told") == 0
    ready.stage.order("fail.database")
    says(page, "Not ready")
    assert page.evaluate("window.told") > 0
    ready.stage.withdraw("fail.database")
    says(page, "Ready")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(shop: Callable[..., Gunicorn], view: View, scheme: Any) -> None:
    """In light and dark, on a desk, a phone and a very narrow window: contrast, names, no sideways
    scrolling, no motion for those who want none.
    """
    server = shop("wait", "catalogue.raise")
    viewer = view(color_scheme=scheme, reduced_motion="reduce")
    page = viewer.look(server.address)

    def check(word: str) -> None:
        says(page, word)
        for width in (1180, 360, 320):
            page.set_viewport_size({"width": width, "height": 740})
            assert not faults(page), (word, width)

    check("Starting")
    assert page.evaluate("document.getAnimations().length") == 0
    server.stage.withdraw("wait")
    shows(page, "#workers", "failed")
    check("Not ready")
    server.stage.withdraw("catalogue.raise")
    check("Ready")
    server.stage.order("warn.database")
    check("Ready, with warnings")
    server.stage.order("fail.database")
    server.stage.order("show")
    check("Not ready")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", ground))) / 3
    assert (bright > 127) is (scheme == "light")
    assert not viewer.trouble


def test_on_a_phone(ready: Gunicorn, view: View) -> None:
    """It needs neither zooming nor sideways scrolling, and the verdict is on the first screen."""
    page = view(**PHONE).look(ready.address)
    assert not faults(page)
    assert page.evaluate("visualViewport.scale") == 1
    box = page.locator("#verdict").bounding_box()
    assert box
    assert box["y"] + box["height"] < 740


def test_what_a_check_says_is_text(shop: Callable[..., Gunicorn], view: View) -> None:
    """Markup in a reason is shown to the letter, at first and by an update, and does nothing."""
    server = shop("show")
    viewer = view()
    page = viewer.look(server.address)
    shows(page, "#verdict", "<script>document.title = 'broken in'</script><img src=x>")
    page.reload()
    shows(page, "#verdict", "<script>document.title = 'broken in'</script><img src=x>")
    refreshes(page)
    assert page.title() == "Not ready · shop"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert not viewer.trouble


def test_the_browser_keeps_to_the_policy(ready: Gunicorn, view: View) -> None:
    """Whatever gets into the page all the same: it may not run, load, or be styled."""
    viewer = view()
    page = viewer.look(ready.address)
    page.evaluate(
        """() => {
            for (const html of ["<img src='/work' onerror='window.bad = 1'>",
                                "<p style='color: red' id='styled'>x</p>",
                                "<iframe src='/work'></iframe>"]) {
                document.body.insertAdjacentHTML("beforeend", html);
            }
            const script = document.createElement("script");
            script.textContent = "window.bad = 2";
            document.body.append(script);
        }"""
    )
    eventually(lambda: viewer.troubles(), lambda found: len(found) >= 4)
    assert all("Content Security Policy" in text for text in viewer.trouble), viewer.trouble
    assert page.evaluate("window.bad") is None
    assert page.evaluate("getComputedStyle(document.getElementById('styled')).color") != (
        "rgb(255, 0, 0)"
    )


def test_the_token_is_asked_for_and_used(shop: Callable[..., Gunicorn], view: View) -> None:
    """A browser that was told the password keeps the page up to date with it, also where the
    address holds it; one that was not gets nothing.
    """
    server = shop(env={"DETAILS": "authorized", "FLASK_HEALTH_TOKEN": "s3cret"})
    server.answers(200)
    told = {"username": "anyone", "password": "s3cret"}
    page = view(http_credentials=told).look(server.address)
    says(page, "Ready")
    server.stage.order("fail.database")
    says(page, "Not ready")
    page = view().look(server.address, user="anyone:s3cret@")
    says(page, "Not ready")
    server.stage.withdraw("fail.database")
    says(page, "Ready")
    refused = view().page.request.get(f"http://127.0.0.1:{server.address}/health/ui")
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")


def test_a_reader_who_may_not_see_it_any_more(shop: Callable[..., Gunicorn], view: View) -> None:
    """After a restart with another token the page says so, and stops asking."""
    env = {"DETAILS": "authorized", "FLASK_HEALTH_TOKEN": "s3cret"}
    server = shop(env=env)
    server.answers(200)
    viewer = view(http_credentials={"username": "anyone", "password": "s3cret"})
    page = viewer.look(server.address)
    says(page, "Ready")
    server.kill()
    server._env["FLASK_HEALTH_TOKEN"] = "another"
    server.start().listening().answers(200)
    shows(page, "#contact", "You may not see this page any more. Reload it to sign in.")
    shows(page, "#word", "No answer")
    asked = len(viewer.asked)
    page.wait_for_timeout(3000)
    assert len(viewer.asked) == asked


def test_on_the_second_port(serve: Serve, tmp_path: Path, view: View) -> None:
    """With the token, and while every worker is busy with something else."""
    port = free_port()
    env = {"FLASK_HEALTH_LISTEN": f"127.0.0.1:{port}", "FLASK_HEALTH_TOKEN": "s3cret"}
    stage = Stage(tmp_path / "stage", "busy")
    server = serve("shop:app", workers=2, env=env | {"DETAILS": "authorized"}, stage=stage)
    server.answers(200)
    viewer = view(http_credentials={"username": "anyone", "password": "s3cret"})
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(server.get, "/slow", timeout=60.0) for _ in range(2)]
        try:
            eventually(lambda: set(stage.pids("busy")), lambda pids: len(pids) == 2)
            page = viewer.look(port)
            says(page, "Ready")
            stage.order("fail.database")
            says(page, "Not ready")
            refreshes(page)
        finally:
            stage.withdraw("busy")
        assert [asked.result().code for asked in busy] == [200, 200]
    assert not viewer.trouble


def test_every_worker_shows_the_same(shop: Callable[..., Gunicorn]) -> None:
    """Verdict, checks with their last runs, workers and changes, whoever is asked."""
    server = shop(workers=3, env={"INTERVAL": "3"})
    server.answers(200)
    server.stage.order("fail.database")
    server.answers(503)
    server.stage.withdraw("fail.database")
    server.answers(200)

    def shown() -> set[str]:
        pages = [server.get("/health/ui?part").body for _ in range(30)]
        sections = [page[page.index('id="checks"') : page.index("<footer")] for page in pages]
        own = re.compile(r'<tr role="row">\n<th[^\n]*memory.*?</tr>', re.DOTALL)  # each its own
        moving = re.compile(r"<span title=[^>]*>[^<]*</span>|<dd>[^<]*</dd>")  # ages, and memory
        return {moving.sub("", own.sub("", section)) for section in sections}

    found = eventually(shown, lambda pages: len(pages) == 1, why="all workers agree")
    (page,) = found
    assert page.count('class="runs"') == 4
    assert "works again after" in page


def test_it_stays_small_with_a_real_server(shop: Callable[..., Gunicorn]) -> None:
    """The whole page, as it is sent; there is nothing else to be loaded."""
    server = shop(workers=4)
    server.answers(200)
    seen = server.get("/health/ui")
    assert len(seen.body.encode()) < 40 * 1024
    assert seen.headers["Content-Length"] == str(len(seen.body.encode()))
