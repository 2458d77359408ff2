"""A frontend and a backend of HAProxy that ask for readiness."""

from __future__ import annotations

from .plan import Plan
from .text import comment, lines


def render(plan: Plan) -> str:
    """A whole configuration, for `haproxy -f`."""
    rhythm = plan.ready
    servers = [
        f"    server {plan.name}-{number} {address.replace('unix:', 'unix@')} check"
        for number, address in enumerate(plan.servers, 1)
    ]
    port = f"port {plan.listen} " if plan.probes_apart else ""
    return lines(
        f"""\
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check {rhythm.timeout}s
    retries 2
    option redispatch # a connection that is refused is tried on another server

frontend {plan.name}-front
    bind :8080
    default_backend {plan.name}

backend {plan.name}
    balance leastconn
    option httpchk
    http-check send meth GET uri {plan.prefix}/ready ver HTTP/1.1 hdr Host {plan.host}
    http-check expect status 200
{comment(plan.drain_note(rhythm), 4)}
    # slowstart: a server that is back gets its full share after 10 s
    default-server {port}inter {rhythm.period}s fall {rhythm.failures} rise 1 slowstart 10s""",
        *servers,
    )
