"""Which workers belong together: another user, other children, an unknown server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from support import statedir
from support.environment import environment, free_port
from support.gunicorn import Serve
from support.mounts import can_unshare, public
from support.probing import get
from support.stage import Stage
from support.system import NAMESPACES
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")
NOBODY = 65534
INSTALL = "from flask_health.gunicorn import install\ninstall(globals())\n"


@pytest.mark.skipif(not can_unshare("--mount"), reason=f"needs root and: {NAMESPACES.apt_get}")
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_workers_of_another_user(serve: Serve, tmp_path: Path, preload: tuple[str, ...]) -> None:
    """Under a root master the directory belongs to the workers' user, and to nobody else."""
    package = Path(statedir.__file__).parents[2]
    home = tmp_path / "server"
    home.mkdir()
    env = environment(home)
    more = env["PYTHONPATH"].split(os.pathsep)
    wrapper = public(home, sys.prefix, sys.base_prefix, package, *more)
    user = ("--user", str(NOBODY), "--group", str(NOBODY))
    server = serve("served:app", *preload, *user, home=home, wrapper=wrapper, tidy=False)
    assert server.answers(200).answer == OK
    component = server.state / f"flask-health-{NOBODY}"
    found = component.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (NOBODY, 0o700)
    assert len(list(component.glob("v1-*/worker.*.ready"))) == 3
    assert not statedir.ours(server.state).exists()


@pytest.mark.skipif(not can_unshare("--mount"), reason=f"needs root and: {NAMESPACES.apt_get}")
@pytest.mark.parametrize("config", ["", INSTALL], ids=["", "installed"])
def test_a_root_master_drains(serve: Serve, tmp_path: Path, config: str) -> None:
    """Its workers may not see what it has open; an installed one may write in their directory."""
    package = Path(statedir.__file__).parents[2]
    home = tmp_path / "server"
    home.mkdir()
    env = environment(home)
    more = env["PYTHONPATH"].split(os.pathsep)
    wrapper = public(home, sys.prefix, sys.base_prefix, package, *more)
    options = ("--user", str(NOBODY), "--graceful-timeout", "30")
    delay = {"FLASK_HEALTH_DRAIN_DELAY": 3}
    server = serve(
        "served:app", *options, home=home, wrapper=wrapper, tidy=False, config=config, env=delay
    )
    server.answers(200)
    with server.load() as load:
        eventually(load.pids, lambda pids: len(pids) == 3)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.answers(503, within=2.5)
        assert server.wait() == 0
    lost = next(seen for seen in load.since(began) if seen.code != 200)
    assert lost.at - began >= 3.0


if int(version("gunicorn").partition(".")[0]) >= 25:

    @pytest.fixture
    def short() -> Iterator[str]:
        """A temporary directory with a short name: gunicorn binds a unix socket in it."""
        with tempfile.TemporaryDirectory(prefix="fh-") as path:
            yield path

    def test_dirty_workers_are_not_counted(serve: Serve, tmp_path: Path, short: str) -> None:
        """TTIN and TTOU beside gunicorn's dirty workers: the gate waits for web workers alone."""
        dirty = ("--dirty-app", "dirty:Calculator", "--dirty-workers", "2")
        stage = Stage(tmp_path / "stage", "wait")
        server = serve("served:app", *dirty, workers=2, stage=stage, env={"TMPDIR": short})
        server.has_markers(2, "starting")
        server.signal(signal.SIGTTIN)
        server.has_markers(3, "starting")
        server.signal(signal.SIGTTOU)
        server.has_markers(2, "starting")
        assert server.get().answer == NOT_READY
        stage.withdraw("wait")
        assert server.answers(200).answer == OK
        assert len(stage.pids("started")) == 3


def test_gunicorn_knows_better_than_the_configuration(serve: Serve) -> None:
    """HEALTH_WORKERS is for servers that cannot be asked: gunicorn can."""
    server = serve(env={"FLASK_HEALTH_WORKERS": 7})
    assert server.answers(200).answer == OK
    assert {m.expected for m in server.markers()} == {3}


PLAIN = """
import sys
from wsgiref.simple_server import make_server
from served import app
make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
"""


@contextmanager
def plain_server(home: Path, stage: Stage, **env: str) -> Iterator[int]:
    """Serve the app in one process of a server that nobody knows; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PLAIN, str(port)],
        env=environment(home, STAGE=str(stage.root), **env),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def test_declared_siblings_agree(tmp_path: Path) -> None:
    """Two processes of an unknown server with HEALTH_WORKERS=2 open one gate together."""
    stage = Stage(tmp_path / "stage", "wait")
    state = tmp_path / "state"
    state.mkdir()
    env = {"FLASK_HEALTH_WORKERS": "2", "FLASK_HEALTH_STATE_DIR": str(state)}
    with ExitStack() as stack:
        ports = [stack.enter_context(plain_server(tmp_path, stage, **env)) for _ in range(2)]
        first, second = ports
        eventually(lambda: get(first), lambda seen: seen.answer == NOT_READY)
        (alone,) = eventually(lambda: stage.pids("started"))
        stage.order(f"go.{alone}")
        eventually(lambda: statedir.markers(state, "ready"))
        assert get(first).answer == NOT_READY
        eventually(lambda: get(second), lambda seen: seen.answer == NOT_READY)
        stage.withdraw("wait")
        eventually(lambda: [get(port).answer for port in ports], lambda seen: seen == [OK, OK])
    assert len(stage.pids("started")) == 2


def test_unknown_server_is_a_server_of_one(tmp_path: Path) -> None:
    """Without HEALTH_WORKERS a process answers for itself and writes no file."""
    stage = Stage(tmp_path / "stage", "wait")
    state = tmp_path / "state"
    state.mkdir()
    with plain_server(tmp_path, stage, FLASK_HEALTH_STATE_DIR=str(state)) as port:
        eventually(lambda: get(port), lambda seen: seen.answer == NOT_READY)
        stage.withdraw("wait")
        eventually(lambda: get(port), lambda seen: seen.answer == OK)
        assert not list(state.iterdir())
    assert not list((tmp_path / "xdg_runtime_dir").iterdir())
