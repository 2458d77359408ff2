"""Servers of a fleet in this process: each an app of its own that serves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask

from flask_health import HealthCheck, Report
from flask_health.extension import STATE
from flask_health.fleet.member import Member
from flask_health.model.fleet import Aggregate, FleetReport
from support.waiting import eventually

Register = Callable[[HealthCheck], None]


class Server:
    """One server of a fleet.

    :param register: registers its steps and checks.
    """

    def __init__(self, url: str, register: Register | None, config: dict[str, Any]) -> None:
        self.app = Flask("shop")
        self.app.config.update(
            {"HEALTH_FLEET_URL": url, "HEALTH_VERSION": "1.0", "HEALTH_DETAILS": "always"} | config
        )
        self.health = HealthCheck(self.app)
        if register:
            register(self.health)

    @property
    def member(self) -> Member:
        """What it is in its fleet."""
        found: Member | None = self.app.extensions[STATE].member
        assert found, "it has not started"
        return found

    @property
    def fleet(self) -> FleetReport:
        """What it knows of its fleet."""
        return self.member.report()

    @property
    def sees(self) -> Aggregate:
        """The fleet as it sees it; nobody before it has looked."""
        return self.fleet.sight or Aggregate()

    def report(self) -> Report:
        """What it tells of itself."""
        return self.health.report("health")

    def answers(self, path: str = "/health") -> int:
        """The code with which it answers."""
        return self.app.test_client().get(path).status_code

    def start(self) -> Server:
        """Start it."""
        self.health.start()
        return self

    def leave(self) -> None:
        """Have it tell no more, as if it had been killed."""
        wired = self.app.extensions[STATE]
        if wired.member:
            wired.member.leave()


class Fleet:
    """Servers that share a store; a context manager that ends all of them."""

    def __init__(self, url: str, register: Register | None = None, **config: Any) -> None:
        self.url = url
        self.servers: list[Server] = []
        self._register = register
        self._config = config

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self.servers:
            server.leave()

    def add(self, register: Register | None = None, **config: Any) -> Server:
        """Start one more server."""
        server = Server(self.url, register or self._register, {**self._config, **config})
        self.servers.append(server)
        return server.start()

    def of(self, number: int) -> list[Server]:
        """Start so many, and wait until each of them sees all."""
        for _ in range(number):
            self.add()
        self.see(number)
        return self.servers

    def see(self, number: int, within: float = 10.0) -> None:
        """Wait until all see so many servers."""
        eventually(
            lambda: [server.sees.servers for server in self.servers],
            lambda seen: set(seen) == {number},
            within=within,
            why=f"{number} servers",
        )
