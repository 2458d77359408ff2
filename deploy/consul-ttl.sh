#!/bin/sh
# Tells the local Consul agent every 5 s whether example-app is alive, for its check of TTL 15 s.
# It reads the state directory: no port is needed, and busy workers do not matter.
# CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN: as for the consul command.
agent="${CONSUL_HTTP_ADDR:-http://127.0.0.1:8500}/v1/agent/check"
while :; do
    state=fail
    said=$(flask-health check --probe live --app example_app 2>&1) && state=pass
    curl --silent --max-time 2 --request PUT --get --output /dev/null \
        --header "X-Consul-Token: ${CONSUL_HTTP_TOKEN:-}" --data-urlencode "note=$said" \
        "$agent/$state/example-app-live"
    sleep 5
done
