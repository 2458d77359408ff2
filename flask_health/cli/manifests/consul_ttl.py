"""A script that tells Consul what the state directory says."""

from __future__ import annotations

import shlex

from .plan import Plan


def render(plan: Plan) -> str:
    """The script, to run beside the server."""
    app = shlex.quote(plan.app.name)
    return f"""\
#!/bin/sh
# Tells the local Consul agent every 5 s whether {plan.name} is alive, for its check of TTL 15 s.
# It reads the state directory: no port is needed, and busy workers do not matter.
# CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN: as for the consul command.
agent="${{CONSUL_HTTP_ADDR:-http://127.0.0.1:8500}}/v1/agent/check"
while :; do
    state=fail
    said=$(flask-health check --probe live --app {app} 2>&1) && state=pass
    curl --silent --max-time 2 --request PUT --get --output /dev/null \\
        --header "X-Consul-Token: ${{CONSUL_HTTP_TOKEN:-}}" --data-urlencode "note=$said" \\
        "$agent/$state/{plan.name}-live"
    sleep 5
done
"""
