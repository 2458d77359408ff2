"""What an app has beside its checks when it is asked for: a webhook that is told, a fleet, a second
port, a systemd that waits for it. Nothing of this is loaded for an app that has none of them.
"""

from __future__ import annotations

import functools
import logging
import os
import typing as t

if t.TYPE_CHECKING:
    import collections.abc as cabc

    import flask

    from .alerts import Alerts
    from .config import Config
    from .fleet.member import Member
    from .model.report import Report
    from .model.traffic import Traffic
    from .web.about import About
    from .web.details import TokenDetails
    from .web.listener import Listener
    from .web.teller import Teller
    from .workers.gate import Gate
    from .workers.registry import Registry
    from .workers.systemd import Herald
    from .workers.verdict import Verdict

    class Wired(t.Protocol):
        """What is needed of what the extension keeps for an app; see `wired.Wired`."""

        app: cabc.Callable[[], flask.Flask | None]
        about: cabc.Callable[[], About]
        config: Config
        gate: Gate
        registry: Registry
        verdict: Verdict
        alerts: Alerts | None
        member: Member | None
        listener: Listener | None
        herald: Herald | None
        pace: float | None
        problems: list[str]

        def release(self) -> str | None: ...

        def report(self, probe: str) -> Report: ...

        def tell(self, verdict: Verdict, details: TokenDetails) -> Teller: ...


log: logging.Logger = logging.getLogger("flask_health")

NOTIFY = "NOTIFY_SOCKET"
"""Where systemd says that it wants to be told."""


def equip(wired: Wired) -> None:
    """Makes what the checks will want to know of; setup is about to begin."""
    config = wired.config
    if config.webhook_url:
        from .alerts import Alerts

        wired.alerts = Alerts(
            config.webhook_url, wired.gate, wired.verdict, lambda: dict(wired.about()())
        )
    if config.fleet_url:
        _join_fleet(wired)


def _join_fleet(wired: Wired) -> None:
    from .fleet.identity import Options
    from .fleet.member import Member

    config, gate, verdict = wired.config, wired.gate, wired.verdict
    app = wired.app()
    options = Options(
        url=t.cast(str, config.fleet_url),
        service=config.service or (app.name if app else ""),
        release=wired.release() or "unversioned",
        required=config.fleet_required,
        panic=config.fleet_panic,
        least=config.fleet_panic_min,
    )

    def leads() -> bool:
        return verdict.runner.leads if verdict.runner else gate.local.is_set()

    def traffic() -> Traffic | None:
        from .workers.measuring import count

        return count(gate)

    report = functools.partial(wired.report, "health")
    wired.member = Member(options, gate, wired.registry.checks, report, leads, traffic)


def begin(wired: Wired) -> None:
    """Takes part in the second port of the server, and tells systemd of it. Tests do neither."""
    app = wired.app()
    if app is None or (app.testing and wired.gate.server.role == "alone"):
        return
    if wired.config.listen:
        _listen(wired)
    if NOTIFY in os.environ:
        _tell_systemd(wired)


def _listen(wired: Wired) -> None:
    from .web.second import listen

    try:
        checks = wired.registry.checks
        wired.listener = listen(wired.config, wired.gate, wired.verdict, checks, wired.tell)
    except Exception as error:
        log.exception("the second port is not served by this worker")
        wired.problems.append(f"the second port is not served by this worker: {error}")


def _tell_systemd(wired: Wired) -> None:
    from .model.movement import patience
    from .workers.servertruth import ServerVerdict
    from .workers.systemd import Herald

    server = wired.gate.server
    limit = patience(wired.config.stall_after, server.timeout, server.idle_beat)
    wired.herald = Herald(wired.gate, ServerVerdict(wired.gate, wired.verdict, limit))
    wired.pace = wired.herald.pace
