"""Makes the pictures of the status page: `python tests/support/screenshots.py docs/images`.

Takes six minutes: what the page plots are the last five. Needs what the tests of the page need, and
the Debian packages fonts-inter and pngquant.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.browser import Viewer, chromium
from support.gunicorn import Gunicorn
from support.probing import get
from support.stage import Stage
from support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MINUTES = 5.2
"""How long there is traffic before the pictures of a server that is ready."""

LARGEST = 150 * 1024
DESK = {"width": 1120, "height": 700}
PHONE = {"width": 390, "height": 844}

FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <match target="pattern">
    <edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit>
  </match>
</fontconfig>
"""


def main(folder: Path) -> None:
    """Make all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        fonts = Path(home, "fonts.conf")
        fonts.write_text(FONTS)
        stage = Stage(Path(home, "stage"), "wait", "wait.migrate")
        env = {"INTERVAL": 5, "FLASK_HEALTH_STATE_DIR": "/dev/shm", "DETAILS": "always"}
        args = ("-k", "gthread", "--threads", "4")
        server = Gunicorn(Path(home), "shop:app", *args, workers=4, stage=stage, env=env)
        with chromium(**os.environ, FONTCONFIG_FILE=str(fonts)) as browser, server:
            tell(Camera(browser, server, folder), server, stage)


def tell(camera: Camera, server: Gunicorn, stage: Stage) -> None:
    """The story that the pictures show."""
    eventually(lambda: server.get("/health/ui").body.count("tile wait"), lambda n: n == 4)
    stage.withdraw("wait.migrate")
    time.sleep(2.0)
    camera.take("starting", DESK, "light")
    stage.withdraw("wait")
    server.answers(200)
    with traffic(server):
        time.sleep(60 * MINUTES / 2)
        stage.order("fail.payments", "errors")
        time.sleep(12.0)
        stage.withdraw("fail.payments", "errors")
        time.sleep(60 * MINUTES / 2)
        camera.take("ready", DESK, "light")
        camera.take("ready-dark", DESK, "dark")
        camera.take("phone", PHONE, "light")
        stage.order("fail.database", "warn.search")
        server.answers(503)
        time.sleep(8.0)
        camera.take("failing", DESK, "light")


class Camera:
    """Takes pictures of the page of a server, as wide as asked for and as high as it is."""

    def __init__(self, browser: Browser, server: Gunicorn, folder: Path) -> None:
        self._browser = browser
        self._server = server
        self._folder = folder

    def take(self, name: str, size: dict[str, int], scheme: Any) -> None:
        """Take one picture. With few colours it is small, and looks the same."""
        options = {"viewport": size, "color_scheme": scheme, "device_scale_factor": 1.5}
        path = self._folder / f"page-{name}.png"
        with Viewer(self._browser, **options) as viewer:
            page = viewer.look(self._server.address)
            page.wait_for_timeout(3000)
            page.screenshot(path=path, full_page=True)
        few = ["pngquant", "--force", "--strip", "--speed", "1", "--output", str(path), "48"]
        subprocess.run([*few, str(path)], check=True)
        print(path, path.stat().st_size)
        assert path.stat().st_size <= LARGEST


@contextmanager
def traffic(server: Gunicorn) -> Iterator[None]:
    """Requests, at most 60 a second, more and fewer of them in turn."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            get(server.address, "/work")
            slower = 1.4 + math.sin(time.monotonic() / 31) + 0.3 * math.sin(time.monotonic() / 5)
            ended.wait(0.05 * slower)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
