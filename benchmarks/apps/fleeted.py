"""Ours with a check of its own and one of the fleet, which is one where the environment says so."""

from __future__ import annotations

from flask import Flask

from flask_health import HealthCheck

app = Flask("fleeted")
health = HealthCheck(app)


@health.setup
def begin() -> None:
    """Nothing to do."""


@health.check(panic=True)
def database() -> None:
    """All is well."""


@health.check(scope="fleet")
def shared() -> None:
    """All is well."""
