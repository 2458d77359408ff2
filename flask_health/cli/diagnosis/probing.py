"""Checks that cannot do what they are for, and probes that nobody answers."""

from __future__ import annotations

import collections.abc as cabc

from ..facts import Facts
from .finding import APP, GUNICORN, Finding, key, seconds

LISTEN_LINE = key("HEALTH_LISTEN", "0.0.0.0:9000")


def slow_checks(facts: Facts) -> cabc.Iterator[Finding]:
    """Checks that may still run when they are due again."""
    for check in facts.app.checks:
        if check.timeout >= check.interval:
            yield Finding(
                "slow-check",
                "warning",
                f"check '{check.name}' may take {seconds(check.timeout)} and is due every "
                f"{seconds(check.interval)}",
                "One run that hangs costs the next one: an outage is told of later than the "
                "interval promises.",
                f"timeout={check.interval / 2:g}, interval={check.interval:g}",
                f"the registration of '{check.name}'",
            )


def live_dependencies(facts: Facts) -> cabc.Iterator[Finding]:
    """What one worker checks for all is no matter of this process alone."""
    for check in facts.app.checks:
        if "live" in check.probes and check.critical and check.scope != "worker":
            probes = tuple(probe for probe in check.probes if probe != "live") or ("ready",)
            yield Finding(
                "live-dependency",
                "error",
                f"check '{check.name}' of scope '{check.scope}' is part of liveness",
                "When it fails every replica is killed and started again, which mends nothing "
                "that lies outside of it; what only this process can have wrong has "
                'scope="worker".',
                f"probes={probes!r}".replace("'", '"'),
                f"the registration of '{check.name}'",
            )


def busy(facts: Facts) -> cabc.Iterator[Finding]:
    """Workers that may all be busy for longer than the prober waits."""
    gunicorn, prober = facts.gunicorn, facts.prober
    if gunicorn is None or not gunicorn.is_sync or facts.app.config.listen:
        return
    if gunicorn.workers == 1:
        yield Finding(
            "one-sync-worker",
            "warning",
            "one sync worker, and no second port",
            f"While it is busy with one request for more than {seconds(prober.timeout)}, every "
            f"probe fails; after {prober.failures} in a row {prober.name} takes a working server "
            "for a dead one.",
            LISTEN_LINE,
            APP,
        )
    elif not prober.by_probe and not 0 < gunicorn.timeout <= prober.patience:
        lasts = f"up to {seconds(gunicorn.timeout)}" if gunicorn.timeout else "for ever"
        yield Finding(
            "busy-workers",
            "warning",
            f"requests to sync workers may last {lasts}, and there is no second port",
            f"With {gunicorn.workers} such requests at once no probe is answered, and "
            f"{prober.name} acts after {seconds(prober.patience)} ({seconds(prober.period)} x "
            f"{prober.failures}): a busy server is taken for a dead one.",
            LISTEN_LINE,
            APP,
        )


def never_stalled(facts: Facts) -> cabc.Iterator[Finding]:
    """Workers that may hang for ever, where a second port goes on saying that they live."""
    gunicorn, config = facts.gunicorn, facts.app.config
    if gunicorn and not gunicorn.timeout and config.listen and config.stall_after is None:
        yield Finding(
            "never-stalled",
            "warning",
            "gunicorn's timeout is 0, and HEALTH_STALL_AFTER is not set",
            "Nobody replaces a worker that hangs, and the second port says that the server lives "
            "when all of them do.",
            key("HEALTH_STALL_AFTER", 300.0),
            APP,
        )


def patient_gate(facts: Facts) -> cabc.Iterator[Finding]:
    """Requests that wait at the gate until gunicorn ends their worker."""
    gunicorn, wait = facts.gunicorn, facts.app.config.gate_timeout
    if gunicorn and gunicorn.is_sync and wait and 0 < gunicorn.timeout <= wait:
        yield Finding(
            "gate-timeout",
            "error",
            f"HEALTH_GATE_TIMEOUT is {seconds(wait)}, gunicorn's timeout "
            f"{seconds(gunicorn.timeout)}",
            "A request that waits at the gate has its worker killed in the middle of setup, "
            "which then begins anew.",
            f"timeout = {int(wait) + 30}",
            GUNICORN,
        )


RULES = (slow_checks, live_dependencies, busy, never_stalled, patient_gate)
