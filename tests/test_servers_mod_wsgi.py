"""Apache with mod_wsgi: daemon processes, loaded at their start or with a request, and embedded."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.apache import DAEMONS, IMPORT, apache, needs_apache
from support.stage import Stage
from support.waiting import eventually

OK, NOT_READY = (200, "ok"), (503, "not ready")

pytestmark = needs_apache


@pytest.mark.parametrize("group", ["%{GLOBAL}", "other"])
def test_daemons_that_load_at_their_start(tmp_path: Path, group: str) -> None:
    """With WSGIImportScript both processes set up without a request, and agree."""
    stage = Stage(tmp_path / "stage", "wait")
    home = tmp_path / "apache"
    with apache(home, DAEMONS, IMPORT, application_group=group, stage=stage) as server:
        first, second = server.has_started(2)
        assert server.answers(503).answer == NOT_READY
        assert server.get("/work").code == 503
        with server.prober() as prober:
            stage.order(f"go.{first}")
            eventually(lambda: stage.pids("finished"), lambda pids: pids == [first])
            prober.sees(20)
            assert prober.codes() == {503}
            stage.order(f"go.{second}")
            server.answers(200)
            prober.sees(20)
        assert prober.flips() == 0
        with server.load() as load:
            eventually(load.pids, lambda pids: pids == {first, second})
        assert load.codes() == {200}


def test_daemons_that_load_with_a_request(tmp_path: Path) -> None:
    """Without it a process sets up after its first request: probes reach all of them in the end."""
    stage = Stage(tmp_path / "stage", "wait")
    with apache(tmp_path / "apache", DAEMONS, stage=stage) as server:
        server.answers(503)
        with server.prober(threads=4) as prober:
            server.has_started(2)
            stage.withdraw("wait")
            server.answers(200)
            prober.sees(20)
        opened = min(seen.at + seen.took for seen in prober.seen if seen.code == 200)
        assert prober.codes(since=opened) == {200}


def test_killed_daemon_is_replaced(tmp_path: Path) -> None:
    """Apache starts another process, whose setup no request meets unfinished."""
    with apache(tmp_path / "apache", DAEMONS, IMPORT) as server:
        server.answers(200)
        victim = server.has_started(2)[0]
        server.stage.order("wait")
        server.kill(victim)
        server.has_started(3)
        with server.load() as load:
            load.sees(40)
            server.stage.withdraw("wait")
            eventually(load.pids, lambda pids: len(pids) == 2)
        assert not load.cold()
        assert load.codes() <= {200, 503}
        assert server.answers(200).answer == OK


def test_groups_are_servers_of_their_own(tmp_path: Path) -> None:
    """Two groups of processes below one Apache, with one app name, know nothing of each other."""
    mine = DAEMONS.replace("{name}", "mine") + IMPORT.replace("{name}", "mine")
    only = 'WSGIDaemonProcess other processes=1 home="{home}" python-path="{path}"\n'
    only += 'WSGIScriptAlias /other "{home}/app.wsgi" process-group=other '
    only += "application-group={application_group}"
    stage = Stage(tmp_path / "stage", "wait")
    with apache(tmp_path / "apache", only, mine, stage=stage) as server:
        server.has_started(3)
        names = [path.name.split(".") for path in server.state.glob("*/v1-*/worker.*")]
        (other,) = (pid for _, _, pid, _, expected, _ in names if expected == "1")
        stage.order(f"go.{other}")
        server.answers(200, "/other/health")
        assert server.get("/other/health/startup").answer == OK
        assert server.get("/health/startup").answer == NOT_READY
        assert server.get().answer == NOT_READY
        stage.withdraw("wait")
        server.answers(200)


def test_embedded_process_answers_for_itself(tmp_path: Path) -> None:
    """In Apache's own processes each one is a server of one, without files."""
    stage = Stage(tmp_path / "stage", "wait")
    embedded = "WSGIApplicationGroup {application_group}"
    with apache(tmp_path / "apache", embedded, stage=stage) as server:
        server.answers(503)
        stage.withdraw("wait")
        assert server.answers(200).answer == OK
        (pid,) = server.has_started(1)
        assert server.get("/work").json()["pid"] == pid
        assert not list(server.state.iterdir())
