"""The page of a fleet in a real browser, while three real gunicorns are replaced by a release.

Its pictures are left in the directory that FLASK_HEALTH_SCREENSHOTS names, if there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.backends import Redis
from support.browser import Viewer, chromium, faults, needs_browser
from support.gunicorn import Gunicorn, Serve
from support.stage import Stage
from support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [needs_browser, pytest.mark.matrix]

SOON = 20_000.0
"""Milliseconds in which what has changed must be seen."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this module."""
    with chromium(**os.environ) as started:
        yield started


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A Redis of the test's."""
    with Redis() as found:
        yield found


class Release:
    """Gunicorns that replace one another, and pictures of their page."""

    def __init__(self, serve: Serve, url: str, home: Path) -> None:
        self.stage = Stage(home / "stage")
        self.pictures = Path(os.environ.get("FLASK_HEALTH_SCREENSHOTS", home))
        self._serve = serve
        self._url = url

    def start(self, version: str) -> Gunicorn:
        """Start a server of that release."""
        env = {"FLASK_HEALTH_FLEET_URL": self._url, "FLASK_HEALTH_VERSION": version}
        return self._serve("fleeted:app", workers=2, env=env, stage=self.stage)

    def picture(self, page: Page, name: str) -> None:
        """Keep what is seen now."""
        path = self.pictures / f"fleet-{name}.png"
        page.screenshot(path=path, full_page=True)
        assert path.read_bytes().startswith(b"\x89PNG")


def shows(page: Page, where: str, text: str) -> None:
    """Wait until a part of the page shows a text."""
    from playwright.sync_api import expect

    expect(page.locator(where)).to_contain_text(text, timeout=SOON)


def counts(page: Page, version: str, number: int) -> None:
    """Wait until so many servers of that release are listed."""
    from playwright.sync_api import expect

    rows = page.locator("#servers tbody tr", has_text=version)
    expect(rows).to_have_count(number, timeout=SOON)


def test_a_rolling_release_of_three_servers(
    serve: Serve, redis: Redis, browser: Browser, tmp_path: Path
) -> None:
    """Which release rolls out and how far, who starts, who has gone: seen without reloading."""
    release = Release(serve, redis.url, tmp_path)
    old = [release.start("1.0") for _ in range(3)]
    for server in old:
        server.answers(200)
    with ExitStack() as stack:
        viewer = stack.enter_context(Viewer(browser))
        page = viewer.page
        page.goto(f"http://127.0.0.1:{old[2].address}/health/fleet")
        shows(page, "#word", "Ready")
        shows(page, "#releases", "All servers are of one release.")
        counts(page, "1.0", 3)
        release.picture(page, "before")
        release.stage.order("migrate.wait")
        new = [release.start("1.1")]
        shows(page, "#releases", "1.1 is rolling out: 0 of 4 servers.")
        shows(page, "#servers", "starting")
        shows(page, "#word", "Ready, with warnings")
        shows(page, "#changes", "step migrate")
        release.picture(page, "starting")
        release.stage.withdraw("migrate.wait")
        shows(page, "#releases", "1.1 is rolling out: 1 of 4 servers.")
        shows(page, "#changes", "done")
        for number in (1, 2):
            old[number - 1].stop()
            shows(page, "#releases", f"1.1 is rolling out: {number} of 3 servers.")
            counts(page, "1.0", 3 - number)
            shows(page, "#word", "Ready")
            release.picture(page, f"rolling-{number}")
            new.append(release.start("1.1"))
            shows(page, "#releases", f"1.1 is rolling out: {number + 1} of 4 servers.")
        assert page.evaluate("performance.getEntriesByType('navigation').length") == 1
        assert not viewer.troubles()
        page.goto(f"http://127.0.0.1:{new[0].address}/health/fleet")
        old[2].stop()
        shows(page, "#releases", "All servers are of one release.")
        shows(page, "#word", "Ready")
        counts(page, "1.1", 3)
        release.picture(page, "after")
    assert len(release.stage.pids("migrate.started")) == 2


def test_anybody_can_use_the_page(
    serve: Serve, redis: Redis, browser: Browser, tmp_path: Path
) -> None:
    """Names, roles, contrast, keyboard; on a telephone nothing is wider than the screen."""
    server = Release(serve, redis.url, tmp_path).start("1.0")
    server.answers(200)
    address = f"http://127.0.0.1:{server.address}/health/fleet"
    for options in ({}, {"viewport": {"width": 360, "height": 740}, "is_mobile": True}):
        with Viewer(browser, **options) as viewer:
            found: Any = viewer.page
            found.goto(address)
            shows(found, "#servers", "this one")
            assert not faults(found)
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert found.evaluate(wide) <= 0
            asked = [url for url in viewer.requests() if not url.startswith("data:")]
            assert {url.partition("?")[0] for url in asked} == {address}


def test_the_page_needs_no_script(
    serve: Serve, redis: Redis, browser: Browser, tmp_path: Path
) -> None:
    """Without JavaScript it is the same page, which the browser asks for again."""
    server = Release(serve, redis.url, tmp_path).start("1.0")
    server.answers(200)
    with Viewer(browser, java_script_enabled=False) as viewer:
        viewer.page.goto(f"http://127.0.0.1:{server.address}/health/fleet")
        eventually(lambda: "this one" in viewer.page.content(), why="it shows the server")
