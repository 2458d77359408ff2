"""What `manifest` prints for those who ask a server and send it requests, with real gunicorns."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
needs_curl = pytest.mark.skipif(not system.CURL.is_met, reason=f"needs {system.CURL.apt_get}")
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


def health_checks() -> dict[str, list[str]]:
    """The commands with which containers ask themselves, by file."""
    compose = yaml.safe_load((KIT / "compose.yaml").read_text())
    words = compose["services"]["example-app"]["healthcheck"]["test"]
    assert words[0] == "CMD"
    (docker,) = re.findall(r"^ +CMD (.+)$", (KIT / "Dockerfile").read_text(), re.MULTILINE)
    commands = {"compose.yaml": words[1:], "Dockerfile": json.loads(docker)}
    for command in commands.values():
        assert command.pop(0) == "flask-health"
    return commands


def asked(command: list[str], server: Gunicorn) -> int:
    """The exit status of `flask-health` with these words, where that server alone runs."""
    words = [sys.executable, "-m", "flask_health", *command, "--state", str(server.state)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=60.0)
    return done.returncode


def test_containers_ask_themselves(serve: Serve, tmp_path: Path) -> None:
    """The health check of the image asks whether to restart, that of Compose whether it is ready;
    both exit with what Docker understands."""
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(workers=2, stage=stage)
    commands = health_checks()
    server.answers(200, "/health/live")
    assert asked(commands["Dockerfile"], server) == 0
    assert asked(commands["compose.yaml"], server) == 1
    stage.withdraw("wait")
    server.answers(200)
    assert asked(commands["compose.yaml"], server) == 0
    server.stop()
    assert asked(commands["Dockerfile"], server) == 1


class Agent(ThreadingHTTPServer):
    """A Consul agent that only remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Told)
        self.told: list[str] = []
        self.tokens: list[str] = []


class Told(BaseHTTPRequestHandler):
    """Remembers one update of a check."""

    server: Agent

    def do_PUT(self) -> None:
        """As the agent's API: an update has the state and the check in its path."""
        self.server.told.append(self.path)
        self.server.tokens.append(self.headers.get("X-Consul-Token", ""))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def agent() -> Iterator[Agent]:
    """An agent that listens."""
    with Agent() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@needs_curl
def test_consul_is_told_by_the_script(serve: Serve, tmp_path: Path) -> None:
    """Alive as long as the server runs, with what the command says as a note; failed after that."""
    server = serve(workers=2)
    server.answers(200)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "flask-health").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m flask_health "$@"\n'
    )
    (programs / "flask-health").chmod(0o755)
    script = tmp_path / "consul-ttl.sh"
    script.write_text((KIT / "consul-ttl.sh").read_text().replace("sleep 5", "sleep 0.2"))
    assert "--app example_app" in script.read_text()
    only = f"--state {server.state}"  # others may serve on this machine
    script.write_text(script.read_text().replace("--app example_app", only))
    (check,) = [c["id"] for c in consul_checks() if "ttl" in c]
    with agent() as consul, ExitStack() as stack:
        env = server.environment | {
            "CONSUL_HTTP_ADDR": f"http://127.0.0.1:{consul.server_port}",
            "CONSUL_HTTP_TOKEN": "s3cret",
            "PATH": f"{programs}:{server.environment['PATH']}",
        }
        popen = stack.enter_context(subprocess.Popen(["sh", str(script)], env=env))
        stack.callback(popen.terminate)
        passed = f"/v1/agent/check/pass/{check}?note="
        eventually(lambda: [path for path in consul.told if path.startswith(passed)])
        assert all(path.startswith(passed) for path in consul.told), consul.told
        assert set(consul.tokens) == {"s3cret"}
        server.stop()
        failed = f"/v1/agent/check/fail/{check}?note="
        eventually(lambda: [path for path in consul.told if path.startswith(failed)])


def consul_checks() -> list[dict[str, str]]:
    """The checks of the service definition."""
    found: list[dict[str, str]] = json.loads((KIT / "consul.json").read_text())["service"]["checks"]
    return found


def test_the_workflow_verifies_a_release(serve: Serve) -> None:
    """Its commands end well for the version that runs, and badly for another one."""
    server = serve(workers=2, env={"FLASK_HEALTH_VERSION": "2.0.0", "FLASK_HEALTH_TOKEN": "s3cret"})
    workflow = yaml.safe_load((KIT / "github-verify.yml").read_text())
    runs = [step["run"] for step in workflow["jobs"]["verify"]["steps"]][-2:]
    url = f"http://127.0.0.1:{server.address}/health"

    def ends(run: str, version: str, seconds: str) -> int:
        command = re.sub(r"https://\S+", url, re.sub(r"--timeout \d+", seconds, run))
        command = command.replace("flask-health", f"{sys.executable} -m flask_health")
        env = server.environment | {"VERSION": version, "FLASK_HEALTH_TOKEN": "s3cret"}
        done = subprocess.run(
            ["sh", "-c", command], env=env, capture_output=True, check=False, timeout=60.0
        )
        return done.returncode

    assert [ends(run, "2.0.0", "--timeout 30") for run in runs] == [0, 0]
    assert [ends(run, "3.0.0", "--timeout 1") for run in runs] == [1, 1]


def test_a_pod_is_probed_as_the_manifest_says(serve: Serve, tmp_path: Path) -> None:
    """Started with its arguments, a server answers its three probes on the second port: while it
    starts and all workers are busy, when it is ready, and after its preStop command."""
    deployment, _ = yaml.safe_load_all((KIT / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    port = free_port()
    args = [
        arg for arg in container["args"][1:-1] if not arg.startswith(("--bind", "--worker-tmp"))
    ]
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(
        "served:app", *args, stage=stage, env={"FLASK_HEALTH_LISTEN": f"127.0.0.1:{port}"}
    )

    def code(probe: str) -> int | str:
        asked = container[f"{probe}Probe"]
        assert asked["httpGet"]["port"] == "health"
        return get(port, asked["httpGet"]["path"], timeout=asked["timeoutSeconds"]).code

    def codes() -> list[int | str]:
        return [code("startup"), code("readiness"), code("liveness")]

    eventually(codes, lambda found: found == [503, 503, 200], why="starting")
    workers = server.has_workers(4)
    with ThreadPoolExecutor(len(workers)) as requests:
        waiting = [requests.submit(server.get, "/wait") for _ in workers]
        eventually(lambda: server.get(timeout=0.5).code, lambda code: code == "timeout")
        assert codes() == [503, 503, 200]
        stage.withdraw("wait")
        assert [request.result().code for request in waiting] == [200] * 4
    eventually(codes, lambda found: found == [200, 200, 200], why="ready")
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[-2:] == ["--state", "/run/health"]
    assert asked([*command[1:-2]], server) == 0
    eventually(codes, lambda found: found == [200, 503, 200], why="draining")
    assert server.get("/work").code == 200


def test_the_unit_waits_until_the_server_is_ready(serve: Serve, tmp_path: Path) -> None:
    """What systemd runs after the start ends when setup has, and fails when time is up."""
    unit = (KIT / "example-app.service").read_text()
    (command,) = re.findall(r"^ExecStartPost=\S+/flask-health (.+)$", unit, re.MULTILINE)
    wait = command.replace("--state /run/example-app ", "")
    assert wait.startswith("wait --timeout ")
    stage = Stage(tmp_path / "stage", "wait")
    server = serve(workers=2, stage=stage)
    assert asked(["wait", "--timeout", "1"], server) == 1
    with ThreadPoolExecutor(1) as waiting:
        ended = waiting.submit(asked, wait.split(), server)
        server.answers(503)
        assert not ended.done()
        stage.withdraw("wait")
        assert ended.result(30.0) == 0
    assert server.get().code == 200
