"""A real Chromium that looks at pages, and what a person could not use in them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.system import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

needs_browser = pytest.mark.skipif(
    not CHROMIUM.is_met or not importlib.util.find_spec("playwright"),
    reason=f"needs Chromium: {CHROMIUM.apt_get}, and pip install playwright",
)

FLAGS = (
    "--no-sandbox",  # as root it refuses to start otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium(**env: str) -> Iterator[Browser]:
    """Chromium without a window, in a profile of its own that is gone afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS), env=dict(env) or None
        )
        try:
            yield browser
        finally:
            browser.close()


class Viewer:
    """A page in a browser, with what went wrong in it: `trouble` has what its console says, what
    its script did not catch, and what was loaded beside it.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        options = {"viewport": {"width": 1180, "height": 900}} | options
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.trouble: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.context.close()

    def requests(self) -> list[str]:
        """Return what has been asked for by now."""
        self.page.wait_for_timeout(20)  # Meanwhile the driver hears of it.
        return self.asked

    def troubles(self) -> list[str]:
        """Return what has gone wrong by now."""
        self.page.wait_for_timeout(20)
        return self.trouble

    def look(self, port: object, path: str = "/health/ui", user: str = "") -> Page:
        """Open a page of a server."""
        self.page.goto(f"http://{user}127.0.0.1:{port}{path}")
        return self.page


def run(page: Page, name: str) -> Any:
    """Run a function of `auditing.js` in a page."""
    source = (Path(__file__).parent / "auditing.js").read_text()
    return page.evaluate(f"() => {{ {source}; return {name}(); }}")


def faults(page: Page) -> list[str]:
    """Return everything in a page that a person could not read, reach or tell from another."""
    found = run(page, "contrasts") + run(page, "names") + run(page, "overflow")
    return [str(fault) for fault in found]
