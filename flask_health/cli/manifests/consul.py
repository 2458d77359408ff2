"""A service of Consul, asked over HTTP, with a second check that is told by a script."""

from __future__ import annotations

import json

from .plan import Plan


def render(plan: Plan) -> str:
    """The definition, for `/etc/consul.d`. JSON has no comments: `Notes` explain the numbers."""
    rhythm = plan.ready
    checks = [
        {
            "id": f"{plan.name}-ready",
            "name": "ready",
            "notes": plan.drain_note(rhythm),
            "http": f"http://127.0.0.1:{plan.probe_port}{plan.prefix}/ready",
            "method": "GET",
            "interval": f"{rhythm.period}s",
            "timeout": f"{rhythm.timeout}s",
            "failures_before_critical": rhythm.failures - 1,
        },
        {
            "id": f"{plan.name}-live",
            "name": "live",
            "notes": "told by consul-ttl.sh every 5 s: critical after 3 of these are missing",
            "ttl": "15s",
            "deregister_critical_service_after": "30m",
        },
    ]
    service = {"name": plan.name, "id": plan.name, "port": plan.port, "checks": checks}
    return json.dumps({"service": service}, indent=2, ensure_ascii=False) + "\n"
