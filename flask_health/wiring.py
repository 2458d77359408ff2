"""Wiring an app: one gate, one verdict, one runner of checks, and the paths that tell of them."""

from __future__ import annotations

import collections.abc as cabc
import functools
import importlib
import inspect
import logging
import os
import sys
import typing as t
import weakref

import click
import flask

from .config import Config
from .exceptions import ConfigError
from .signals import status_changed
from .web import paths
from .web.blueprint import make_blueprint
from .web.probe import Probes
from .workers import steps
from .workers.gate import Checks, Gate, GateOptions
from .workers.locate import locate
from .workers.server import Role, next_ordinal
from .workers.verdict import Verdict

if t.TYPE_CHECKING:
    from .alerts import Alerts
    from .fleet.member import Member
    from .model.check import Check
    from .model.fleet import FleetReport
    from .model.measures import Measures
    from .model.report import Report
    from .model.traffic import Traffic
    from .web.about import About
    from .web.details import TokenDetails
    from .web.early import Early
    from .web.listener import Listener
    from .web.teller import Teller
    from .workers.board import Transition
    from .workers.presence import Presence
    from .workers.registry import Registry
    from .workers.systemd import Herald

# Imported when first used, and not with the app: what runs checks, and what tells of details.
log: logging.Logger = logging.getLogger("flask_health")

DRAIN_DELAY = 5.0
"""Seconds that readiness is red before a server stops, unless the configuration says otherwise."""


class Wired(Checks):
    """What the extension keeps for one app.

    :ivar config: its configuration.
    :ivar registry: the steps and checks of its extension.
    :ivar authorizes: whether there is a function that says who may see details.
    :ivar gate: its init gate.
    :ivar verdict: what its probes are answered.
    :ivar member: this server in its fleet; None without one, and before setup begins.
    :ivar make_room: raises ValueError when a rule of the app is where a check would be told.
    :ivar show: gives a check its paths.
    :ivar teller: makes the answers that are not plain; made when first used.
    :ivar about: what the service says of itself; made when first used.
    :ivar listener: its share in the second port; None without one.
    """

    authorizes: cabc.Callable[[], bool]
    make_room: cabc.Callable[[Check], None]
    show: cabc.Callable[[Check], None]
    teller: cabc.Callable[[], Teller]
    about: cabc.Callable[[], About]

    def __init__(self, app: flask.Flask, config: Config, registry: Registry) -> None:
        self._app = weakref.ref(app)
        self.config: Config = config
        self.registry: Registry = registry
        self._package = app.import_name.partition(".")[0]
        self._alerts: Alerts | None = None
        self.member: Member | None = None
        if config.fleet_url:
            self.run_in_fleet = self._run_in_fleet
        self.listener: Listener | None = None
        self._herald: Herald | None = None
        self._notes: list[str] = []
        self.gate: Gate = Gate(
            locate(config.workers),
            next_ordinal(app.name),
            _gate_options(app, config),
            steps=lambda: registry.steps,
            call=lambda step: steps.finished(
                step, self._call(step.function, native=step.native_thread)
            ),
            testing=lambda: app.testing,
            checks=self,
        )
        self.verdict: Verdict = Verdict(self.gate)

    def report(self, probe: str, verdict: Verdict | None = None) -> Report:
        """The report behind the answers of a probe.

        :param verdict: whose; default: that of this worker.
        """
        from .workers.survey import survey

        report = survey(self.gate, verdict or self.verdict, probe, self._fleet())
        problem = self._alerts.problem if self._alerts else ""
        return report.noting(problem) if problem else report

    def tell(self, verdict: Verdict, details: TokenDetails) -> Teller:
        """What makes the answers that are not plain, from a verdict."""
        from .web.teller import Teller
        from .workers.overview import overview

        return Teller(
            lambda probe: self.report(probe, verdict),
            lambda: self._measure(verdict),
            lambda: overview(self.gate, verdict, self._fleet()),
            details,
            self.about(),
            lambda: self.member,
        )

    def _measure(self, verdict: Verdict) -> Measures:
        from .workers.measuring import measure

        return measure(self.gate, verdict, self._fleet())

    def _fleet(self) -> FleetReport | None:
        return self.member.report() if self.member else None

    def order(self, give: cabc.Callable[[Gate], None]) -> None:
        """Gives an order, see `workers.orders`; it holds from the next answer on."""
        give(self.gate)
        self.verdict.good_until = 0.0

    def prepare(self, presence: Presence | None) -> None:
        """Makes the runner of the checks, if there are any, and what tells the webhook, if there is
        one; setup is about to begin.
        """
        if presence:
            from .workers.introducing import introduce

            introduce(self.gate, self.config, self.registry.checks, self._package)
        url = self.config.webhook_url
        if url:
            from .alerts import Alerts

            self._alerts = Alerts(url, self.gate, self.verdict, lambda: dict(self.about()()))
        checks = self.registry.checks
        member = self._join_fleet(checks)
        if checks:
            from .workers.runner import Runner

            self.verdict.runner = Runner(
                checks,
                lambda check: self._call(check.function),
                presence,
                self._tell,
                member.sharing if member else None,
            )
        if member:
            member.join(presence)
        if self.config.listen:
            self._listen()
        if "NOTIFY_SOCKET" in os.environ and self._serves():
            self._tell_systemd()

    @property
    def any(self) -> bool:
        """Whether there are any checks."""
        return self.verdict.runner is not None

    def start(self) -> None:
        """Starts the checks; setup has finished in this worker."""
        if self.verdict.runner:
            self.verdict.runner.start()

    def await_checks(self) -> None:
        """Waits until every check has had its first result."""
        if self.verdict.runner:
            self.verdict.runner.informed.wait()

    def stop(self) -> None:
        """Lets another worker run the checks."""
        if self.verdict.runner:
            self.verdict.runner.stop()
        if self._alerts:
            self._alerts.stop()
        if self.member:
            self.member.leave()
        if self.listener:
            self.listener.stop()

    def look(self) -> None:
        """Sees whether there is something to tell the webhook, and systemd."""
        if self._alerts:
            self._alerts.look_if_due()
        if self._herald:
            self._herald.turn()

    def fits(self, registered: steps.Step | Check) -> None:
        """Raises ValueError for a step or a check that has no place in this app."""
        if not isinstance(registered, steps.Step):
            self.make_room(registered)
        elif registered.scope == "fleet" and self.config.fleet_url and not self._release():
            raise ConfigError(
                f"'HEALTH_VERSION' must be set: setup step '{registered.name}' with "
                "scope='fleet' runs once for each release."
            )

    def _release(self) -> str | None:
        from .web.about import installed_version

        app = self._app()
        package = app.import_name.partition(".")[0] if app else ""
        return self.config.version or installed_version(package)

    def _join_fleet(self, checks: cabc.Sequence[Check]) -> Member | None:
        url, app = self.config.fleet_url, self._app()
        if url is None or app is None:
            _warn_of_no_fleet([*self.registry.steps, *checks])
            return None
        from .fleet.member import Member, Options

        options = Options(
            url=url,
            service=self.config.service or app.name,
            release=self._release() or "unversioned",
            required=self.config.fleet_required,
            panic=self.config.fleet_panic,
            least=self.config.fleet_panic_min,
        )
        verdict, gate = self.verdict, self.gate

        def leads() -> bool:
            return verdict.runner.leads if verdict.runner else gate.local.is_set()

        def traffic() -> Traffic | None:
            from .workers.measuring import count

            return count(gate)

        report = functools.partial(self.report, "health")
        self.member = Member(options, gate, checks, report, leads, traffic)
        return self.member

    def _run_in_fleet(self, *args: t.Any) -> bool:
        assert self.member is not None  # Setup runs after it was prepared.
        return self.member.steps(*args)

    def notes(self) -> list[str]:
        """What is wrong with our own means, for people."""
        port = self.listener.port.seen_problem if self.listener else ""
        systemd = self._herald.problem if self._herald else ""
        return [*self._notes, *filter(None, (port, systemd))]

    def _listen(self) -> None:
        """Takes part in the second port of the server."""
        if not self._serves():
            return
        from .web.second import listen

        try:
            checks = self.registry.checks
            self.listener = listen(self.config, self.gate, self.verdict, checks, self.tell)
        except Exception as error:
            log.exception("the second port is not served by this worker")
            self._notes = [f"the second port is not served by this worker: {error}"]

    def _tell_systemd(self) -> None:
        from .model.movement import patience
        from .workers.servertruth import ServerVerdict
        from .workers.systemd import Herald

        server = self.gate.server
        limit = patience(self.config.stall_after, server.timeout, server.idle_beat)
        self._herald = Herald(self.gate, ServerVerdict(self.gate, self.verdict, limit))
        self.pace = self._herald.pace

    def _serves(self) -> bool:
        """Whether this process may serve more than a test."""
        app = self._app()
        return app is not None and not (app.testing and self.gate.server.role is Role.ALONE)

    def _call(self, function: cabc.Callable[[], object], native: bool = False) -> object:
        """Calls a step or a check inside an app context."""
        app = self._app()
        if app is None:
            raise RuntimeError("the app is gone")
        # Under gevent an event loop needs a thread of its own.
        apart = inspect.iscoroutinefunction(function) and steps.gevent_rules()

        def inside() -> object:
            with app.app_context():
                if apart:
                    import asyncio

                    return asyncio.run(t.cast("cabc.Coroutine[t.Any, t.Any, t.Any]", function()))
                return app.ensure_sync(function)()

        return steps.call_natively(inside) if native or apart else inside()

    def _tell(self, transition: Transition) -> None:
        app = self._app()
        if app is None:
            return
        told = {
            "check": transition.check,
            "old": transition.old,
            "new": transition.new,
            "output": transition.output,
            "failures": transition.failures,
            "outage": transition.outage,
        }
        with app.app_context():
            # One by one: a receiver that raises must not keep the others from hearing.
            for receiver in status_changed.receivers_for(app):
                try:
                    receiver(app, **told)
                except Exception:
                    log.exception("a receiver of 'status_changed' raised")
        if self._alerts:
            self._alerts.look()


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
            raise ConfigError(f"'HEALTH_FLEET_URL' {wrong}.")


def _warn_of_no_fleet(registered: cabc.Iterable[steps.Step | Check]) -> None:
    names = [thing.name for thing in registered if thing.scope == "fleet"]
    if names:
        log.warning(
            "without HEALTH_FLEET_URL each server runs for itself what has scope='fleet': %s",
            ", ".join(names),
        )


def _gate_options(app: flask.Flask, config: Config) -> GateOptions:
    return GateOptions(
        app_name=app.name,
        state_dir=config.state_dir,
        min_workers=config.min_workers,
        hold=config.hold,
        setup_timeout=config.setup_timeout,
        exit_on_failure=config.exit_on_setup_failure,
        drain_delay=_drain_delay(app, config),
        stall_after=config.stall_after,
    )


def _drain_delay(app: flask.Flask, config: Config) -> float:
    if config.drain_delay is not None:
        return config.drain_delay
    return 0.0 if app.testing or app.debug else DRAIN_DELAY
