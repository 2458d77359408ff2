"""`check` without a target: a server is judged by its state directory, and nobody is asked."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import processes, shell, statedir
from support.environment import environment
from support.gunicorn import Gunicorn, Serve
from support.mounts import can_unshare, fill, public, tmpfs
from support.stage import Stage
from support.system import NAMESPACES
from support.waiting import eventually

from flask_health.workers import outside, records

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and chown need root")
needs_mounts = pytest.mark.skipif(
    not can_unshare("--mount"), reason=f"needs root and: {NAMESPACES.apt_get}"
)
NOBODY = 65534


def check(server: Gunicorn, *words: str) -> shell.Done:
    """Check a server by its state."""
    return shell.run(server.home, "check", "--state", str(server.state), *words)


def says(server: Gunicorn, code: int, text: str, *words: str) -> None:
    """Wait until the check of a server ends so, and says this."""
    done = eventually(
        lambda: check(server, *words),
        lambda done: done.returncode == code and text in done.stdout,
        every=0.1,
        why=text,
    )
    assert not done.stderr


def test_every_state_of_a_server(serve: Serve, tmp_path: Path) -> None:
    """G01: the verdict of the workers at each time of their life, for each probe."""
    server = serve(stage=Stage(tmp_path / "stage", "wait"))
    server.has_markers(3, "starting")
    says(server, 1, "not ready: setup finished in 0 of 3 workers")
    says(server, 1, "", "--probe", "startup")
    says(server, 0, "", "--probe", "live")
    server.stage.withdraw("wait")
    server.answers(200)
    for probe in ("health", "live", "ready", "startup"):
        says(server, 0, f"ok: 3 of 3 workers serve (master {server.pid})", "--probe", probe)
    server.signal(signal.SIGKILL, server.pid)
    says(server, 1, "not ready: the server's master process is gone", "--probe", "live")
    eventually(server.workers, lambda left: not left)
    says(server, 1, "unreachable: no server has its state in")


def test_busy_workers_need_not_answer(serve: Serve) -> None:
    """All of them are stopped: an HTTP probe hangs, the state is read at once."""
    server = serve()
    server.answers(200)
    workers = server.workers()
    server.signal(signal.SIGSTOP, *workers)
    try:
        eventually(lambda: all(map(processes.stopped, workers)))
        asked = shell.run(server.home, "check", f":{server.address}", "--timeout", "0.5")
        assert (asked.returncode, "no answer within 0.5 s" in asked.stdout) == (1, True)
        done = check(server)
        assert (done.returncode, done.stdout.partition(":")[0]) == (0, "ok")
    finally:
        server.signal(signal.SIGCONT, *workers)


def test_a_server_that_is_stalled(serve: Serve) -> None:
    """Whose workers have not moved for too long is sent no traffic, and is to be restarted."""
    env = {"FLASK_HEALTH_STALL_AFTER": 1}
    server = serve("served:app", "-k", "gthread", env=env)
    server.answers(200)
    says(server, 0, "ok: 3 of 3 workers serve", "--probe", "live")
    workers = server.workers()
    (boot,) = statedir.boots(server.state)
    beats = [boot / "records" / f"record.{m.pid}.{m.start}" for m in server.markers("ready")]
    eventually(lambda: all(path.read_bytes()[16:24].strip(b"\0") for path in beats), why="beats")
    # One that moves is enough.
    server.signal(signal.SIGSTOP, *workers[1:])
    try:
        eventually(lambda: all(map(processes.stopped, workers[1:])))
        assert check(server).returncode == 0
        server.signal(signal.SIGSTOP, workers[0])
        says(server, 1, "not ready: no worker has moved for ")
        says(server, 1, "not ready: no worker has moved for ", "--probe", "live")
    finally:
        server.signal(signal.SIGCONT, *workers)
    says(server, 0, "ok: 3 of 3 workers serve")


def test_the_words_of_a_record_are_where_they_are_read() -> None:
    """What is too slow to import for a check is written down twice."""
    assert (outside.PROGRESS, outside.BEAT) == (records.PROGRESS, records.BEAT)


def test_failing_setup_is_named(serve: Serve, tmp_path: Path) -> None:
    """With the workers that failed."""
    server = serve(stage=Stage(tmp_path / "stage", "raise"))
    server.has_markers(3, "failed")
    says(server, 1, "not ready: failed: worker ")


def test_checks_have_a_say(serve: Serve) -> None:
    """As long as their results are fresh: those of a leader that is gone fail."""
    server = serve("checked:app", env={"CHECKS": "database", "INTERVAL": 1})
    server.answers(200)
    says(server, 0, "ok: 3 of 3 workers serve")
    server.stage.order("fail")
    says(server, 1, "not ready: database: ConnectionError: connection refused")
    says(server, 2, "HEALTH CRITICAL - not ready: database", "--nagios")
    says(server, 0, "", "--probe", "live")
    server.stage.withdraw("fail")
    says(server, 0, "ok: 3 of 3 workers serve")
    server.signal(signal.SIGSTOP, *server.workers())
    try:
        says(server, 1, "not ready: database: stale: the last result is ")
    finally:
        server.signal(signal.SIGCONT, *server.workers())
    says(server, 0, "ok: 3 of 3 workers serve")


def test_a_failed_replacement_warns(serve: Serve) -> None:
    """0 in the usual mode, 1 for Nagios."""
    server = serve()
    server.answers(200)
    server.stage.order("raise")
    server.kill(server.workers()[0])
    server.has_markers(1, "failed")
    says(server, 0, "ok: 2 of 3 workers serve")
    says(server, 1, "HEALTH WARNING - ok: failed: worker ", "--nagios")


def test_a_version_is_expected(serve: Serve) -> None:
    """That of the running server, whatever is installed by now."""
    server = serve(env={"FLASK_HEALTH_VERSION": "1.10"})
    server.answers(200)
    says(server, 0, "ok", "--expect-version", "1.10")
    says(server, 1, "not ready: the version is 1.10, not 1.1", "--expect-version", "1.1")


def test_several_servers_have_to_be_chosen_from(serve: Serve, tmp_path: Path) -> None:
    """3 and a list of them; each can be chosen by its master, and by its directory."""
    one = serve()
    two = serve(state=one.state)
    for server in (one, two):
        server.answers(200)
    done = check(one)
    assert done.returncode == 3
    assert not done.stdout
    first, *listed = done.stderr.splitlines()
    assert first == "flask-health check: several servers run here, choose one:"
    assert sorted(int(line.split()[1]) for line in listed) == sorted([one.pid, two.pid])
    for server, line in zip(sorted([one, two], key=lambda s: str(s.pid)), listed, strict=True):
        says(one, 0, f"(master {server.pid})", "--pid", str(server.pid))
        chosen = shell.run(one.home, "check", "--state", line.split()[-1])
        assert f"(master {server.pid})" in chosen.stdout
    none = check(one, "--pid", str(os.getpid()))
    assert (none.returncode, none.stdout[:11]) == (1, "unreachable")


def test_two_apps_of_one_server(serve: Serve, tmp_path: Path) -> None:
    """The name of the app chooses between them."""
    home = tmp_path / "server0"
    home.mkdir()
    (home / "both.py").write_text(
        """
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from flask_health import HealthCheck

shop, stock = Flask("shop"), Flask("stock")
HealthCheck(shop, setup=lambda: None)
HealthCheck(stock, setup=lambda: None)
app = DispatcherMiddleware(shop.wsgi_app, {"/stock": stock.wsgi_app})
"""
    )
    server = serve("both:app", home=home)
    server.answers(200)
    done = check(server)
    assert done.returncode == 3
    assert "--app shop" in done.stderr
    assert "--app stock" in done.stderr
    says(server, 0, "ok: 3 of 3 workers serve", "--app", "shop")
    says(server, 1, "unreachable: no server with --app shops has its state", "--app", "shops")


def test_the_state_is_found_anywhere(serve: Serve, tmp_path: Path) -> None:
    """In the candidates of the caller's environment, and where a running worker has it open."""
    server = serve()
    server.answers(200)
    chosen = ("check", "--pid", str(server.pid))
    env = {"FLASK_HEALTH_STATE_DIR": str(server.state)}
    assert shell.run(tmp_path, *chosen, env=env).returncode == 0
    assert shell.run(tmp_path, *chosen).returncode == 0
    # The directory of the boot itself, its home, and its base.
    (boot,) = statedir.boots(server.state)
    for path in (boot, boot.parent, server.state):
        assert shell.run(tmp_path, "check", "--state", str(path)).returncode == 0


@needs_mounts
def test_root_sees_the_server_of_another_user(serve: Serve, tmp_path: Path) -> None:
    """A root shell in a container finds the service's; what others have planted is passed over."""
    home = tmp_path / "server"
    home.mkdir()
    package = Path(statedir.__file__).parents[2]
    more = environment(home)["PYTHONPATH"].split(os.pathsep)
    wrapper = public(home, sys.prefix, sys.base_prefix, package, *more)
    user = ("--user", str(NOBODY), "--group", str(NOBODY))
    server = serve("served:app", *user, home=home, wrapper=wrapper, tidy=False)
    server.answers(200)
    says(server, 0, "ok: 3 of 3 workers serve")
    planted = server.state / f"flask-health-{NOBODY + 1}"
    (boot,) = (server.state / f"flask-health-{NOBODY}").iterdir()
    planted.mkdir(0o700)  # Root's own, and not of the user whose name it bears.
    (planted / boot.name).mkdir()
    says(server, 0, "ok: 3 of 3 workers serve")
    for order, text in (("pause", "paused"), ("resume", "resumed"), ("drain", "draining")):
        done = shell.run(server.home, order, "--state", str(server.state))
        assert (done.returncode, done.stdout.split()[0].strip(":")) == (0, text), done.stderr
        owners = {path.stat().st_uid for path in boot.iterdir()}
        assert owners == {NOBODY}
        server.answers(200 if order == "resume" else 503)


@needs_root
def test_an_unreadable_state_is_named(serve: Serve) -> None:
    """Nobody may look at root's server: that is said, and no verdict."""
    server = serve()
    server.answers(200)
    home = server.state / "flask-health-0"
    setpriv = shutil.which("setpriv")
    assert setpriv, NAMESPACES.apt_get
    package = Path(statedir.__file__).parents[2]
    wrapper = [
        *public(server.home, sys.prefix, sys.base_prefix, package),
        *(setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    ]
    done = shell.run(server.home, "check", "--state", str(home), wrapper=wrapper)
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert f"{home} cannot be read: Permission denied" in done.stderr
    done = shell.run(server.home, "check", "--state", str(server.state), wrapper=wrapper)
    assert done.returncode == 1
    assert done.stdout.startswith("unreachable: no server has its state in")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 64 KiB."""
    with tmpfs(tmp_path / "disk", "size=64k") as path:
        yield path


@needs_root
def test_a_full_disk_changes_no_verdict(serve: Serve, disk: Path) -> None:
    """All that a verdict needs are names: there is room for them, and none for `about.json`."""
    fill(disk)
    server = serve("checked:app", env={"CHECKS": "database"}, state=disk)
    server.answers(200)
    (boot,) = statedir.boots(disk)
    assert not (boot / "about.json").exists()
    assert "cannot write about.json" in server.log()
    says(server, 0, "ok: 3 of 3 workers serve")
    server.stage.order("fail")
    says(server, 1, "not ready: the checks do not allow traffic")
    done = shell.run(server.home, "pause", "a reason", "--state", str(disk))
    assert (done.returncode, (boot / "pause").stat().st_size) == (0, 0)
    says(server, 1, "not ready: paused")
    status = shell.run(server.home, "status", "--state", str(disk))
    assert status.returncode == 1
    assert status.stdout.startswith("not ready: paused\n")
