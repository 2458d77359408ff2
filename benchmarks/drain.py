"""How soon readiness is red after SIGTERM, and what rolling restarts behind a balancer lose."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from .measure import Line, at_most
from .prober import Prober
from .servers import Server, free_port, running, wait_for

PERIOD = 0.002
LIMIT = 0.2
DELAY = 2.0
"""Seconds that a server drains; HAProxy here takes 0.4 s to believe in a red probe."""

CLASSES = {"sync": (), "gthread": ("--threads", "4"), "gevent": ()}
RESTARTS = 20
CLIENTS = 4
PATHS = "/usr/sbin:/usr/bin:/sbin:/bin"

HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 20s
    timeout server 20s
listen app
    bind 127.0.0.1:{port}
    option httpchk GET /health/ready
    default-server inter 200ms fall 2 rise 2 check
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""

NGINX = """
daemon off;
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
        server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;
        server 127.0.0.1:{two} max_fails=1 fail_timeout=1s;
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


def measure(quick: bool = False) -> list[Line]:
    """Each worker class is stopped again and again; then two servers in turn, behind each proxy."""
    lines = []
    for name in CLASSES:
        seconds = [red_after(name) for _ in range(1 if quick else 10)]
        what = f"{name}: first red probe after SIGTERM, longest"
        note = f"median {statistics.median(seconds) * 1000:.0f} ms of {len(seconds)} stops"
        lines.append(at_most("drain", what, max(seconds), "s", LIMIT, note))
    restarts = 1 if quick else RESTARTS
    for program in ("haproxy", "nginx"):
        if shutil.which(program, path=PATHS):
            lost, sent = rolling(program, restarts)
            what = f"{program}: requests lost in {restarts} rolling restarts"
            lines.append(at_most("drain", what, lost, "", 0, f"of {sent}"))
    return lines


def red_after(worker_class: str) -> float:
    """Seconds from SIGTERM to the first answer that is red; infinity when there is none."""
    with serving(free_port(), worker_class) as server:
        wait_for(server, "/health")
        with Prober(server.port, "/health/ready", PERIOD) as prober:
            time.sleep(0.3)
            told = time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(1.0)
    red = [a.received - told for a in prober.answers if a.sent >= told and a.status == 503]
    return min(red, default=float("inf"))


def rolling(program: str, restarts: int) -> tuple[int, int]:
    """How many requests were not answered 200, and how many were sent."""
    ports = free_port(), free_port()
    with ExitStack() as stack:
        servers = [stack.enter_context(Restarting(port)) for port in ports]
        proxy = stack.enter_context(balancing(program, ports))
        wait_for(proxy, "/search")
        with ExitStack() as clients:
            load = [Prober(proxy.port, "/search", 0.01) for _ in range(CLIENTS)]
            for prober in load:
                clients.enter_context(prober)
            for number in range(restarts):
                servers[number % 2].restart()
            time.sleep(1.0)
        answers = [answer for prober in load for answer in prober.answers]
    return sum(not answer.ok for answer in answers), len(answers)


class Restarting:
    """A server that is started anew on the same port, as a deployment does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._running = ExitStack()

    def __enter__(self) -> Restarting:
        wait_for(self._running.enter_context(serving(self._port)), "/health")
        return self

    def __exit__(self, *exception: object) -> None:
        self._running.close()

    def restart(self) -> None:
        """Stops it, starts it, and gives the balancer a moment to believe that it is ready."""
        self._running.close()
        self.__enter__()
        time.sleep(1.0)


def serving(port: int, worker_class: str = "sync") -> AbstractContextManager[Server]:
    """A server of two workers with a drain delay, on this port."""
    app = f"benchmarks.apps.ours:app(HEALTH_DRAIN_DELAY={DELAY})"
    command = [sys.executable, "-m", "gunicorn", app, "--workers", "2", "--log-level", "warning"]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", worker_class]
    return running([*command, *CLASSES[worker_class]], port)


@contextmanager
def balancing(program: str, ports: Sequence[int]) -> Iterator[Server]:
    """HAProxy or nginx before two servers."""
    path = shutil.which(program, path=PATHS)
    assert path
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        port, config = free_port(), Path(home) / "conf"
        text = HAPROXY if program == "haproxy" else NGINX
        config.write_text(text.format(port=port, home=home, one=ports[0], two=ports[1]))
        words = ["-db", "-f"] if program == "haproxy" else ["-p", home, "-c"]
        with running([path, *words, str(config)], port) as proxy:
            yield proxy
