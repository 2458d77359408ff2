"""A script that tells Consul what the state directory says."""

from __future__ import annotations

from .plan import Plan


def render(plan: Plan) -> str:
    """The script, to run beside the server."""
    return f"""\
#!/bin/sh
# Tells the local Consul agent every 5 s whether {plan.name} is alive, for its check of TTL 15 s.
# It reads the state directory: no port is needed, and busy workers do not matter.
# CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN: as for the consul command.
agent="${{CONSUL_HTTP_ADDR:-http://127.0.0.1:8500}}/v1/agent/check"
while :; do
    if said=$(flask-health check --state --probe live 2>&1); then state=pass; else state=fail; fi
    curl --silent --max-time 2 --request PUT --get --output /dev/null \\
        --header "X-Consul-Token: ${{CONSUL_HTTP_TOKEN:-}}" --data-urlencode "note=$said" \\
        "$agent/$state/{plan.name}-live"
    sleep 5
done
"""
