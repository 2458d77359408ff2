"""What the extension keeps for one app, and what it does when its init gate says so."""

from __future__ import annotations

import collections.abc as cabc
import logging
import os
import typing as t
import weakref

import flask

from .config import Config
from .workers.gate import Gate, GateOptions
from .workers.server import locate, next_ordinal
from .workers.verdict import Verdict

if t.TYPE_CHECKING:
    from .alerts import Alerts
    from .fleet.member import Member
    from .model.check import Check
    from .model.fleet import FleetReport
    from .model.measures import Measures
    from .model.report import Report
    from .web.about import About
    from .web.details import TokenDetails
    from .web.listener import Listener
    from .web.teller import Teller
    from .workers.board import Transition
    from .workers.presence import Presence
    from .workers.registry import Registry
    from .workers.setup import Abroad
    from .workers.steps import Step
    from .workers.systemd import Herald

# Imported when first used, and not with the app: what runs checks, and what tells of details.
log: logging.Logger = logging.getLogger("flask_health")

DRAIN_DELAY = 5.0
"""Seconds that readiness is red before a server stops, unless the configuration says otherwise."""


class Wired:
    """What the extension keeps for one app.

    :ivar config: its configuration.
    :ivar app: gives the app; None once it is gone.
    :ivar registry: the steps and checks of its extension.
    :ivar authorizes: whether there is a function that says who may see details.
    :ivar gate: its init gate.
    :ivar verdict: what its probes are answered.
    :ivar member: this server in its fleet; None without one, and before setup begins.
    :ivar make_room: raises ValueError when a rule of the app is where a check would be told.
    :ivar show: gives a check its paths.
    :ivar teller: makes the answers that are not plain; made when first used.
    :ivar about: what the service says of itself; made when first used.
    :ivar alerts: what tells the webhook; None without one.
    :ivar listener: its share in the second port; None without one.
    :ivar herald: what tells systemd; None without one.
    :ivar problems: what is wrong with the means of this worker, for people.
    """

    authorizes: cabc.Callable[[], bool]
    make_room: cabc.Callable[[Check], None]
    show: cabc.Callable[[Check], None]
    teller: cabc.Callable[[], Teller]
    about: cabc.Callable[[], About]

    def __init__(self, app: flask.Flask, config: Config, registry: Registry) -> None:
        self.app: cabc.Callable[[], flask.Flask | None] = weakref.ref(app)
        self.config: Config = config
        self.registry: Registry = registry
        self._package = app.import_name.partition(".")[0]
        self.alerts: Alerts | None = None
        self.member: Member | None = None
        self.run_in_fleet: Abroad | None = self._run_in_fleet if config.fleet_url else None
        self.pace: float | None = None
        self.listener: Listener | None = None
        self.herald: Herald | None = None
        self.problems: list[str] = []
        self.gate: Gate = Gate(
            locate(config.workers),
            next_ordinal(app.name),
            _gate_options(app, config),
            steps=lambda: registry.steps,
            call=self._take,
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
        problem = self.alerts.problem if self.alerts else ""
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
            presence.introduce(self.gate.generation, self._introduction)
        config, checks = self.config, self.registry.checks
        if config.webhook_url or config.fleet_url:
            from .companions import equip

            equip(self)
        member = self.member
        if not config.fleet_url:
            _warn_of_no_fleet([*self.registry.steps, *checks])
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
        if config.listen or "NOTIFY_SOCKET" in os.environ:
            from .companions import begin

            begin(self)

    @property
    def any(self) -> bool:
        """Whether there are any checks."""
        return self.verdict.runner is not None

    def _introduction(self) -> tuple[set[str], str]:
        from .workers.introducing import introduction

        return introduction(self.gate, self.config, self.registry.checks, self._package)

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
        if self.alerts:
            self.alerts.stop()
        if self.member:
            self.member.leave()
        if self.listener:
            self.listener.stop()

    def look(self) -> None:
        """Sees whether there is something to tell the webhook, and systemd."""
        if self.alerts:
            self.alerts.look_if_due()
        if self.herald:
            self.herald.turn()

    def fits(self, registered: Step | Check) -> None:
        """Raises ValueError for a step or a check that has no place in this app."""
        from .workers.steps import Step

        if not isinstance(registered, Step):
            self.make_room(registered)
            return
        if self.gate.server.role != "alone":
            from .workers import setup  # noqa: F401  # Here: the workers of a preloading master have it.

        if registered.scope == "fleet" and self.config.fleet_url and not self.release():
            from .exceptions import ConfigError  # Here: in few apps anything is wrong.

            raise ConfigError(
                f"'HEALTH_VERSION' must be set: setup step '{registered.name}' with "
                "scope='fleet' runs once for each release."
            )

    def release(self) -> str | None:
        """The version of the code; None where nobody tells it."""
        from .web.about import installed_version

        app = self.app()
        package = app.import_name.partition(".")[0] if app else ""
        return self.config.version or installed_version(package)

    def _run_in_fleet(self, *args: t.Any) -> bool:
        assert self.member is not None  # Setup runs after it was prepared.
        return self.member.steps(*args)

    def notes(self) -> list[str]:
        """What is wrong with our own means, for people."""
        port = self.listener.port.seen_problem if self.listener else ""
        systemd = self.herald.problem if self.herald else ""
        return [*self.problems, *filter(None, (port, systemd))]

    def _take(self, step: Step) -> object:
        """Runs a setup step."""
        from .workers.calling import finished

        return finished(step, self._call(step.function, native=step.native_thread))

    def _call(self, function: cabc.Callable[[], object], native: bool = False) -> object:
        """Calls a step or a check inside an app context."""
        from .inside import call

        app = self.app()
        if app is None:
            raise RuntimeError("the app is gone")
        return call(app, function, native)

    def _tell(self, transition: Transition) -> None:
        from .inside import send

        app = self.app()
        if app is None:
            return
        send(app, transition)
        if self.alerts:
            self.alerts.look()


def _warn_of_no_fleet(registered: cabc.Iterable[Step | Check]) -> None:
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
