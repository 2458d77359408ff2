"""What `manifest` prints for those who ask a server and send it requests, with real gunicorns."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from support import statedir, system
from support.environment import free_port
from support.gunicorn import Gunicorn, Serve
from support.kit import KIT
from support.probing import get
from support.stage import Stage
from support.waiting import eventually

from flask_health.cli.facts import App
from flask_health.cli.facts import Gunicorn as Settings
from flask_health.cli.manifests import render
from flask_health.cli.manifests.plan import Choices, Plan
from flask_health.config import Config

SBIN = "/usr/sbin:/usr/bin"

needs_haproxy = pytest.mark.skipif(
    not system.HAPROXY.is_met, reason=f"needs {system.HAPROXY.apt_get}"
)
needs_nginx = pytest.mark.skipif(not system.NGINX.is_met, reason=f"needs {system.NGINX.apt_get}")


def printed(kind: str, port: int, *servers: Gunicorn) -> str:
    """The manifest of some servers, listening on a free port instead of 8080."""
    addresses = tuple(f"127.0.0.1:{server.address}" for server in servers)
    app = App("served", Config())
    text = render(kind, Plan(app, Settings(workers=2), Choices(servers=addresses)))
    assert text.count("8080") == 1
    return text.replace(":8080", f"127.0.0.1:{port}").replace(" 8080", f" 127.0.0.1:{port}")


@contextmanager
def running(program: str, *words: str, log: Path) -> Iterator[None]:
    """A program in the foreground, ended by SIGTERM."""
    path = shutil.which(program, path=SBIN)
    assert path
    with log.open("ab") as out:
        popen = subprocess.Popen([path, *words], stdout=out, stderr=out)
    try:
        yield
    finally:
        popen.terminate()
        popen.wait(20.0)
        print(f"--- log of {program}\n{log.read_text(errors='replace')}")


@contextmanager
def haproxy(home: Path, *servers: Gunicorn) -> Iterator[int]:
    """HAProxy with the printed configuration; its port."""
    port = free_port()
    config = home / "haproxy.cfg"
    config.write_text(printed("haproxy", port, *servers))
    with running("haproxy", "-db", "-f", str(config), log=home / "haproxy.log"):
        eventually(lambda: get(port).code != "refused", why="haproxy listens")
        yield port


@contextmanager
def nginx(home: Path, *servers: Gunicorn) -> Iterator[int]:
    """nginx with the printed configuration; its port."""
    port = free_port()
    (home / "site.conf").write_text(printed("nginx", port, *servers))
    temporary = "".join(
        f" {name}_temp_path {home}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = home / "nginx.conf"
    main.write_text(
        f"daemon off;\npid {home}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\n access_log off;\n{temporary} include {home}/site.conf;\n}}\n"
    )
    home.chmod(0o777)
    with running("nginx", "-p", str(home), "-c", str(main), log=home / "nginx.log"):
        eventually(lambda: get(port).code != "refused", why="nginx listens")
        yield port


@needs_haproxy
def test_haproxy_follows_readiness(serve: Serve, tmp_path: Path) -> None:
    """Out while setup runs, in when it has finished, out and in again for a pause: each within the
    time that the comment in the file promises."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(workers=2, stage=stage)
    with haproxy(tmp_path, server) as port:
        promised = float(
            re.findall(r"to spread = (\d+) s", (tmp_path / "haproxy.cfg").read_text())[0]
        )
        assert promised == 5.0
        assert get(port, "/work").code == 503
        stage.withdraw("wait")
        server.answers(200)
        eventually(lambda: get(port, "/work").code, lambda code: code == 200, within=promised)
        (boot,) = statedir.boots(server.state)
        (boot / "pause").touch()
        # The server itself would answer: it is HAProxy that sends nothing there any more.
        eventually(lambda: get(port, "/work").code, lambda code: code == 503, within=promised)
        assert server.get("/work").code == 200
        (boot / "pause").unlink()
        eventually(lambda: get(port, "/work").code, lambda code: code == 200, within=promised)


@needs_nginx
def test_nginx_asks_the_next_server(serve: Serve, tmp_path: Path) -> None:
    """A server whose gate is closed, and one that is gone, cost no request."""
    with ExitStack() as stack:
        waiting = Stage(tmp_path / "stage", "wait")
        ready, cold = serve(workers=2), serve(workers=2, stage=waiting)
        ready.answers(200)
        port = stack.enter_context(nginx(tmp_path, cold, ready))
        assert cold.get("/work").code == 503
        assert {get(port, "/work").code for _ in range(20)} == {200}
        cold.stop()
        assert cold.get("/work").code == "refused"
        assert {get(port, "/work").code for _ in range(20)} == {200}


def health_checks(port: int) -> dict[str, list[str]]:
    """The commands with which containers ask themselves, by file; at a port instead of 9000."""
    compose = yaml.safe_load((KIT / "compose.yaml").read_text())
    words = compose["services"]["example-app"]["healthcheck"]["test"]
    assert words[0] == "CMD"
    (docker,) = re.findall(r"^ +CMD (.+)$", (KIT / "Dockerfile").read_text(), re.MULTILINE)
    commands = {"compose.yaml": words[1:], "Dockerfile": json.loads(docker)}
    for command in commands.values():
        assert command.pop(0) == "flask-health"
        assert command[-1].count("9000") == 1
        command[-1] = command[-1].replace("9000", str(port))
    return commands


def asked(command: list[str]) -> int:
    """The exit status of `flask-health` with these words."""
    words = [sys.executable, "-m", "flask_health", *command]
    return subprocess.run(words, capture_output=True, check=False, timeout=20.0).returncode


def test_containers_ask_themselves(serve: Serve, tmp_path: Path) -> None:
    """The health check of the image asks whether to restart, that of Compose whether it is ready;
    both exit with what Docker understands."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(workers=2, stage=stage)
    assert isinstance(server.address, int)
    commands = health_checks(server.address)
    server.answers(200, "/health/live")
    assert asked(commands["Dockerfile"]) == 0
    assert asked(commands["compose.yaml"]) == 1
    stage.withdraw("wait")
    server.answers(200)
    assert asked(commands["compose.yaml"]) == 0
    server.stop()
    assert asked(commands["Dockerfile"]) == 1
