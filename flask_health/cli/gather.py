"""Gathering the facts of an app and of its gunicorn, without starting or writing anything."""

from __future__ import annotations

import os
import shlex
import typing as t

from . import gunicorn_conf
from .command import Option, WrongUse
from .facts import App, Gunicorn

if t.TYPE_CHECKING:
    import flask

    from ..wired import Wired

GUNICORN_OPTIONS = [
    Option("--gunicorn", 'how it is started: "gunicorn -w 4 shop:app"', "COMMAND"),
    Option("--config", "its configuration file; else gunicorn.conf.py, if there is one", "FILE"),
]


def app_facts(app: flask.Flask | None) -> App:
    """What is known of an app.

    :raises WrongUse: without an app, or with one that has no HealthCheck.
    """
    if app is None:
        raise WrongUse("this needs the app: flask --app shop health ...")
    if "health.state" not in app.extensions:
        raise WrongUse(f"the app {app.name!r} has no HealthCheck: did you call 'init_app'?")
    wired: Wired = app.extensions["health.state"]
    asked = [key for key in app.config if key.startswith("HEALTH_")]
    asked += [key[6:] for key in os.environ if key.startswith("FLASK_HEALTH_")]
    return App(
        app.name,
        wired.config,
        wired.registry.checks,
        wired.registry.steps,
        frozenset(asked),
        app.debug,
        wired.authorizes(),
    )


def gunicorn_facts(command: str | None, file: str | None) -> Gunicorn:
    """The settings of gunicorn.

    :param command: its command line, with or without its name before it.
    :param file: its configuration file.
    :raises WrongUse: for a command or a file that gunicorn would refuse.
    :raises gunicorn_conf.Missing: without gunicorn, or when nothing says how it is started.
    """
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise WrongUse(f"--gunicorn must be a command line: {error}") from None
    if words and os.path.basename(words[0]) == "gunicorn":
        del words[0]
    found = gunicorn_conf.read(words, file)
    if not (command or found.file or os.environ.get("GUNICORN_CMD_ARGS")):
        raise gunicorn_conf.Missing(
            'nothing says how gunicorn is started: give --gunicorn "gunicorn -w 4 shop:app"'
        )
    return found
