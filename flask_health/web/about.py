"""What a service says of itself."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import pathlib
import platform

import flask

from ..config import Config
from ..model.report import Report
from ..workers.vitals import uptime, vitals


class About:
    """The descriptive members of health+json for one app."""

    def __init__(self, app: flask.Flask, config: Config) -> None:
        self._app_name = app.name
        self._package = app.import_name.partition(".")[0]
        self._config = config
        self._root = pathlib.Path(app.root_path)

    def __call__(self) -> dict[str, object]:
        """`releaseId` is `HEALTH_VERSION`, by default the version of the installed package that
        the app is part of; `version` is its first number, the version of the public interface
        (draft-inadarei-api-health-check-06, 3.2 and 3.3).
        """
        release = self._config.version or installed_version(self._package)
        about = {
            "version": release and release.partition(".")[0],
            "releaseId": release,
            "serviceId": self._config.service or self._app_name,
            "description": self._config.description,
            "links": dict(self._config.links),
        }
        return {name: value for name, value in about.items() if value}

    def info(self, report: Report) -> dict[str, object]:
        """The members of `/health/info`. Memory is in bytes, uptime in seconds, `cpu` the share of
        one CPU.
        """
        master = os.getppid() if report.workers else os.getpid()
        workers = [
            {"pid": m.pid, "age": m.age, "state": str(m.state), "uptime": uptime(m.pid)}
            | vitals(m.pid)
            for m in report.workers
        ]
        members = {
            "service": self._config.service or self._app_name,
            "version": self._config.version or installed_version(self._package),
            "commit": _commit(self._root),
            "python": platform.python_version(),
            "flask": installed_version("flask"),
            "gunicorn": installed_version("gunicorn"),
            "uptime": uptime(master),
            "status": str(report.status),
            "workers": {
                "expected": report.expected,
                "ready": sum(m.state.serves for m in report.workers)
                if report.workers
                else int(report.gate == "open"),
                "alive": workers or [{"pid": os.getpid(), **vitals(os.getpid())}],
            },
        }
        return {name: value for name, value in members.items() if value is not None}


@functools.cache
def installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


@functools.cache
def _commit(root: pathlib.Path) -> str | None:
    """The commit that is running: from the environment, or from the checkout that holds the app."""
    for name in ("GIT_COMMIT", "COMMIT_SHA", "SOURCE_VERSION"):
        if os.environ.get(name):
            return os.environ[name]
    for folder in (root, *root.parents):
        git = folder / ".git"
        if git.is_dir():
            return _head(git)
    return None


def _head(git: pathlib.Path) -> str | None:
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        return (git / head[5:]).read_text().strip()
    except OSError:
        return None
