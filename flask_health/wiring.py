"""Wiring an app: the probes and the gate in front of it, the paths that tell of its checks, and its
command.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import importlib
import sys
import typing as t

import click
import flask

from .config import Config
from .web import paths
from .web.blueprint import make_blueprint
from .web.probe import Probes
from .wired import Wired

if t.TYPE_CHECKING:
    from .model.check import Check
    from .web.about import About
    from .web.early import Early
    from .web.teller import Teller
    from .workers.registry import Registry


def wire(
    app: flask.Flask,
    config: Config,
    registry: Registry,
    blueprint_name: str,
    authorize: cabc.Callable[[], cabc.Callable[[flask.Request], bool] | None],
) -> Wired:
    """Puts the probes and the gate in front of an app.

    :raises ValueError: when a rule or blueprint of the app is where ours would be.
    """
    ours = paths.of(config, registry.checks)
    taken = set(ours).union(*(paths.of_check(config.url_prefix, c) for c in registry.checks))
    paths.check_blueprint(app, blueprint_name)
    paths.check_room(app, taken)
    _check_fleet(config)
    wired = Wired(app, config, registry)
    wired.authorizes = lambda: authorize() is not None
    for step in registry.steps:
        wired.fits(step)

    @functools.cache
    def early() -> Early:
        from .web.early import Early

        return Early(app, wired.gate, config)

    @functools.cache
    def about() -> About:
        from .web.about import About

        return About(app, config)

    @functools.cache
    def teller() -> Teller:
        from .web.details import Details

        return wired.tell(wired.verdict, Details(app, config, authorize))

    wired.teller, wired.about = teller, about
    probes = Probes(app.wsgi_app, wired.gate, wired.verdict, teller, early)
    for path, what in ours.items():
        probes.add(path, probes.at(what))
    app.register_blueprint(make_blueprint(app, blueprint_name, config, ours, probes))
    paths.keep_room(app, taken)
    app.wsgi_app = probes  # type: ignore[method-assign]

    def show(check: Check) -> None:
        for path, probe in paths.of_check(config.url_prefix, check).items():
            probes.add(path, probes.check(probe, check.name))
            taken.add(path)

    _add_command(app)
    wired.make_room = lambda c: paths.check_room(app, paths.of_check(config.url_prefix, c))
    wired.show = show
    for check in registry.checks:
        show(check)
    return wired


def _add_command(app: flask.Flask) -> None:
    """Adds `flask health`, unless the app has a command of that name. The words that follow it are
    the command line's own to read.
    """
    if "health" in app.cli.commands:
        return

    def call(words: tuple[str, ...]) -> t.NoReturn:
        # By its name: the command line is above this room, and loaded when it is called.
        run = importlib.import_module("flask_health.cli.table").run
        sys.exit(run(words, "flask health", app))

    app.cli.add_command(
        click.Command(
            "health",
            callback=call,
            params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
            context_settings={"ignore_unknown_options": True},
            add_help_option=False,
            short_help="Probe this app's server: check, wait, status, drain and more.",
        )
    )


def _check_fleet(config: Config) -> None:
    """Raises ConfigError for a fleet store that can never be asked."""
    if config.fleet_url:
        from .fleet.store import check_url

        wrong = check_url(config.fleet_url)
        if wrong:
            from .exceptions import ConfigError  # Here: in few apps anything is wrong.

            raise ConfigError(f"'HEALTH_FLEET_URL' {wrong}.")
