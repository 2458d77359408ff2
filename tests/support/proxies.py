"""A real HAProxy or nginx in front of servers of 127.0.0.1, on a free port."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.environment import free_port
from support.probing import get
from support.waiting import eventually

HAPROXY = """
global
    maxconn 200
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 20s
    timeout server 20s
    timeout check 1s
listen app
    bind 127.0.0.1:{port}
    option httpchk GET /health/ready
    default-server inter 200ms fall 2 rise 2 check
{servers}
"""
"""It sends nothing a second time: a request that it loses is lost."""

NGINX = """
daemon off;
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    upstream app {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_next_upstream error timeout http_502 http_503;
        }}
    }}
}}
"""
"""It does not ask for health: it learns from what fails, and asks the next server."""


@contextmanager
def haproxy(home: Path, ports: Sequence[int]) -> Iterator[int]:
    """HAProxy before these ports, asking them for readiness; its own port."""
    servers = "\n".join(f"    server s{port} 127.0.0.1:{port}" for port in ports)
    with _running("haproxy", "-db", "-f", home=home, text=HAPROXY, servers=servers) as port:
        yield port


@contextmanager
def nginx(home: Path, ports: Sequence[int]) -> Iterator[int]:
    """nginx before these ports; its own port."""
    servers = "\n".join(
        f"        server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;" for port in ports
    )
    with _running("nginx", "-p", str(home), "-c", home=home, text=NGINX, servers=servers) as port:
        yield port


@contextmanager
def _running(program: str, *words: str, home: Path, text: str, servers: str) -> Iterator[int]:
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert path, f"{program} is not installed"
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o777)
    port = free_port()
    config = home / f"{program}.conf"
    config.write_text(text.format(port=port, home=home, servers=servers))
    with (home / "log").open("ab") as log:
        popen = subprocess.Popen([path, *words, str(config)], stdout=log, stderr=log)
    try:
        eventually(lambda: get(port).code != "refused", why=f"{program} listens")
        yield port
    finally:
        popen.terminate()
        popen.wait(20.0)
