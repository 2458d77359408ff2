"""A unit of systemd."""

from __future__ import annotations

from .plan import SPARE, Plan
from .text import comment, lines


def render(plan: Plan) -> str:
    """The unit, for `/etc/systemd/system`."""
    return lines(_service(plan), _stop(plan), "\n[Install]\nWantedBy=multi-user.target")


def _service(plan: Plan) -> str:
    binds = [f"--bind={address}" for address in plan.gunicorn.bind]
    gunicorn = [f"{plan.programs}/gunicorn", *binds, f"--worker-tmp-dir=/run/{plan.name}"]
    command = " \\\n    ".join([*gunicorn, *plan.options, plan.wsgi_app])
    listen = f"\nEnvironment=FLASK_HEALTH_LISTEN={plan.address}" if plan.address else ""
    return f"""\
[Unit]
Description={plan.name}
After=network-online.target
Wants=network-online.target

[Service]
Type=simple
DynamicUser=yes
WorkingDirectory={plan.directory}
# Where workers meet, and gunicorn's heartbeats: in memory, gone with the service.
RuntimeDirectory={plan.name}
Environment=FLASK_HEALTH_STATE_DIR=/run/{plan.name}{listen}
ExecStart={command}
# What comes after this unit is started when it is ready: gunicorn itself would say so too early.
{comment(plan.start_sum)}
ExecStartPost={plan.programs}/flask-health wait --state /run/{plan.name} --timeout {plan.start}
TimeoutStartSec={plan.start + SPARE}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure"""


def _stop(plan: Plan) -> str:
    on_socket = any(address.startswith("unix:") for address in plan.gunicorn.bind)
    before = (
        f"""\
# gunicorn removes its socket the moment it is told to stop: drain before that.
ExecStop={plan.programs}/flask-health drain --state /run/{plan.name} --wait {plan.drain:g}"""
        if on_socket and not plan.gunicorn.installed
        else ""
    )
    return lines(
        before,
        f"""\
# SIGTERM to the master alone: it is the master that stops its workers.
KillMode=mixed
# {plan.stop_sum} = {plan.stop}
TimeoutStopSec={plan.stop}""",
    ).rstrip("\n")
