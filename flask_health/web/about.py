"""What a service says of itself in detailed answers."""

from __future__ import annotations

import functools
import importlib.metadata

import flask

from ..config import Config


class About:
    """The descriptive members of health+json for one app."""

    def __init__(self, app: flask.Flask, config: Config) -> None:
        self._app_name = app.name
        self._package = app.import_name.partition(".")[0]
        self._config = config

    def __call__(self) -> dict[str, object]:
        """`releaseId` is `HEALTH_VERSION`, by default the version of the installed package that
        the app is part of; `version` is its first number, the version of the public interface
        (draft-inadarei-api-health-check-06, 3.2 and 3.3).
        """
        release = self._config.version or _installed_version(self._package)
        about = {
            "version": release and release.partition(".")[0],
            "releaseId": release,
            "serviceId": self._config.service or self._app_name,
            "description": self._config.description,
            "links": dict(self._config.links),
        }
        return {name: value for name, value in about.items() if value}


@functools.cache
def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
