"""An upstream of nginx."""

from __future__ import annotations

from .plan import Plan
from .text import lines


def render(plan: Plan) -> str:
    """A file for `conf.d`."""
    servers = [f"    server {address} max_fails=1 fail_timeout=2s;" for address in plan.servers]
    return lines(
        f"""\
# nginx itself asks for no health: only NGINX Plus does. It learns from answers alone, so a server
# that drains keeps its share of requests until it refuses connections; these go to the next one.
upstream {plan.name} {{
    # One refused connection takes a server out for 2 s; all of them out: all are tried again.""",
        *servers,
        f"""\
    keepalive 32;
}}

server {{
    listen 8080;
    server_name {plan.host};

    location / {{
        proxy_pass http://{plan.name};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        # 503 is what the gate of a cold worker says: nothing was done, another server may do it.
        # What is not idempotent is sent again only where it has not been sent yet.
        proxy_next_upstream error timeout http_503;
        proxy_next_upstream_tries {max(2, len(plan.servers))};
        proxy_next_upstream_timeout 10s;
        proxy_connect_timeout 2s;
    }}

    # Probes are for those who run the servers.
    location ~ ^{plan.prefix}(/|$) {{
        allow 127.0.0.1;
        allow ::1;
        deny all;
        proxy_pass http://{plan.name};
        proxy_set_header Host $host;
    }}
}}""",
    )
