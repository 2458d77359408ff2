"""Delays that do not fit into one another when a server stops.

period x threshold + timeout < drain delay < graceful timeout <= grace period
"""

from __future__ import annotations

import collections.abc as cabc
import math

from ..facts import Facts
from .finding import APP, GUNICORN, Finding, key, seconds

RESERVE = 3.0
"""Seconds of gunicorn's limit that are left for what follows the delay."""
SPARE = 1.0
"""Seconds that news of a red probe takes to reach all that route requests."""


def no_drain(facts: Facts) -> cabc.Iterator[Finding]:
    """No time between the news of a stop and the stop."""
    if facts.gunicorn and facts.app.drain_delay < SPARE and not facts.app.debug:
        yield Finding(
            "no-drain",
            "warning",
            f"HEALTH_DRAIN_DELAY is {seconds(facts.app.drain_delay)}",
            "A server that is stopped refuses connections before anyone who routes requests has "
            "heard of it: each rollout loses some.",
            key("HEALTH_DRAIN_DELAY", 5.0),
            APP,
        )


def slow_prober(facts: Facts) -> cabc.Iterator[Finding]:
    """A balancer that finds out after the server has stopped."""
    prober, delay = facts.prober, facts.app.drain_delay
    if facts.gunicorn and prober.by_probe and delay >= SPARE and prober.reaction + SPARE > delay:
        yield Finding(
            "slow-prober",
            "warning",
            f"{prober.name} takes a server out after {seconds(prober.reaction)} "
            f"({seconds(prober.period)} x {prober.failures} + {seconds(prober.timeout)}), "
            f"HEALTH_DRAIN_DELAY is {seconds(delay)}",
            "A server that is stopped is sent requests after it has stopped accepting: each "
            "rollout loses some.",
            key("HEALTH_DRAIN_DELAY", math.ceil(prober.reaction + SPARE)),
            APP,
        )


def short_graceful_timeout(facts: Facts) -> cabc.Iterator[Finding]:
    """A drain delay that gunicorn's own limit cuts off."""
    gunicorn, delay = facts.gunicorn, facts.app.drain_delay
    if gunicorn and not gunicorn.installed and delay > gunicorn.graceful_timeout - RESERVE:
        yield Finding(
            "drain-delay",
            "warning",
            f"HEALTH_DRAIN_DELAY is {seconds(delay)}, gunicorn's graceful_timeout "
            f"{seconds(gunicorn.graceful_timeout)}",
            f"gunicorn kills its workers at that limit, and needs {seconds(RESERVE)} of it: the "
            "delay is shortened.",
            f"graceful_timeout = {math.ceil(delay) + 25}",
            GUNICORN,
        )


def short_grace(facts: Facts) -> cabc.Iterator[Finding]:
    """A stop that is cut off from outside."""
    gunicorn, prober = facts.gunicorn, facts.prober
    if gunicorn is None or prober.grace is None:
        return
    delay = facts.app.drain_delay if gunicorn.installed else 0.0
    needed = gunicorn.graceful_timeout + delay
    if needed > prober.grace:
        before = f"drain delay {seconds(delay)} + " if delay else ""
        yield Finding(
            "grace-period",
            "warning",
            f"a stop may take {seconds(needed)} ({before}graceful_timeout "
            f"{seconds(gunicorn.graceful_timeout)}), {prober.name} gives it "
            f"{seconds(prober.grace)}",
            "Requests that gunicorn would still let end are cut off by SIGKILL.",
            prober.grace_line.format(math.ceil(needed) + 5),
            f"the manifest of {prober.name}",
        )


def unix_socket(facts: Facts) -> cabc.Iterator[Finding]:
    """A socket whose path is gone before the delay begins."""
    gunicorn = facts.gunicorn
    if gunicorn is None or gunicorn.installed or not facts.app.drain_delay:
        return
    for address in gunicorn.bind:
        if address.startswith("unix:"):
            yield Finding(
                "unix-socket",
                "warning",
                f"gunicorn listens at {address}, without flask_health.gunicorn.install",
                "gunicorn removes the socket's path the moment it is told to stop: the proxy "
                "gets errors instead of HEALTH_DRAIN_DELAY.",
                "from flask_health.gunicorn import install; install(globals())",
                f"the last line of {GUNICORN}",
            )


RULES = (no_drain, slow_prober, short_graceful_timeout, short_grace, unix_socket)
