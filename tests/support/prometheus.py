"""A real Prometheus for a test: started, asked, always ended."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.environment import free_port
from support.probing import get
from support.waiting import eventually

Series = Mapping[str, str]
"""The labels of a series, its name among them."""


class Prometheus:
    """A context manager: scrapes `/health/metrics` of a port once a second while the block runs.

    `token` is sent with each scrape, if there is one.
    """

    def __init__(self, home: Path, port: int, token: str = "") -> None:
        home.mkdir()
        self.port = free_port()
        self._home = home
        self._config = home / "prometheus.yml"
        key = f"    authorization: {{credentials: {token}}}\n" if token else ""
        self._config.write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            "scrape_configs:\n"
            "  - job_name: shop\n"
            "    metrics_path: /health/metrics\n"
            f"{key}"
            "    static_configs:\n"
            f"      - targets: ['127.0.0.1:{port}']\n"
        )
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        command = [
            "prometheus",
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        with (self._home / "log").open("wb") as log:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            eventually(self._is_ready, why="Prometheus is ready")
        except AssertionError:
            self.__exit__()
            raise AssertionError((self._home / "log").read_text()) from None
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._popen
        self._popen.terminate()
        try:
            self._popen.wait(10.0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _is_ready(self) -> bool:
        return get(self.port, "/-/ready").code == 200

    def _ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10.0) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def query(self, expression: str) -> dict[str, float]:
        """Return what an expression comes to now, by the labels of each of its results."""
        found = self._ask("query", query=expression)["result"]
        return {
            ",".join(f"{k}={v}" for k, v in sorted(row["metric"].items())): float(row["value"][1])
            for row in found
        }

    def history(self, selector: str) -> list[tuple[Series, list[float]]]:
        """Return all that was scraped of each series, oldest first."""
        found = self._ask("query", query=f"{selector}[10m]")["result"]
        return [(row["metric"], [float(value) for _, value in row["values"]]) for row in found]

    def scrapes(self, number: int) -> None:
        """Wait until it has scraped that many times more, with success."""

        def done() -> float:
            return self.query("sum(sum_over_time(up[10m]))").get("", 0.0)

        goal = done() + number
        eventually(done, lambda found: found >= goal, within=30.0 + 2 * number, why="scrapes")

    def errors(self) -> list[str]:
        """Return what its last scrapes have failed for."""
        targets = self._ask("targets")["activeTargets"]
        return [target["lastError"] for target in targets if target["lastError"]]
