"""A real Prometheus scrapes a real gunicorn of four workers, some of which are killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from support.environment import free_port
from support.gunicorn import Gunicorn, Serve
from support.local import Background
from support.probing import get
from support.prometheus import Prometheus
from support.system import PROMETHEUS
from support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not PROMETHEUS.is_met, reason=PROMETHEUS.apt_get)

COUNTERS = '{__name__=~"flask_health_.*(_total|_bucket|_sum|_count)"}'


def start(serve: Serve, *args: str, **env: object) -> Gunicorn:
    """A ready server of four workers whose check runs often."""
    server = serve("scraped:app", *args, workers=4, env={"INTERVAL": 0.5, **env})
    server.answers(200)
    return server


def scrape(server: Gunicorn) -> str:
    """What the server tells in the text format."""
    seen = server.get("/health/metrics")
    assert seen.code == 200
    return seen.body


def value(server: Gunicorn, series: str) -> float:
    """One value of a scrape."""
    found = re.search(rf"^flask_health_{re.escape(series)} (\S+)$", scrape(server), re.MULTILINE)
    assert found, series
    return float(found[1])


def test_counters_never_go_down_while_workers_are_killed(serve: Serve, tmp_path: Path) -> None:
    """Nor while they are recycled, or while another one leads: for every series that is scraped."""
    server = start(serve, "--max-requests", "200", "--max-requests-jitter", "100")
    assert isinstance(server.address, int)
    with Prometheus(tmp_path / "prometheus", server.address) as prometheus:
        with server.load(threads=3) as load:
            for number in range(8):
                ready = eventually(lambda: server.markers("ready"), lambda m: len(m) > 1)
                server.kill(ready[0].pid)
                (server.stage.withdraw if number % 2 else server.stage.order)("fail")
                server.answers(200 if number % 2 else 503)
                prometheus.scrapes(2)
        prometheus.scrapes(3)
        assert not prometheus.errors()
        history = prometheus.history(COUNTERS)
        resets = prometheus.query("resets(flask_health_requests_total[10m])")
        told = prometheus.query("flask_health_requests_total")
    assert set(resets.values()) == {0.0}
    assert len(history) > 20
    for series, values in history:
        assert values == sorted(values), series
        assert len(values) >= 15
    changes = next(v for s, v in history if s["__name__"] == "flask_health_transitions_total")
    assert changes[-1] == 8
    # A request that was cut off by the kill has begun, and no worker lived to see its end.
    answered = [seen for seen in load.seen if isinstance(seen.code, int)]
    (total,) = told.values()
    assert len(answered) <= total <= len(load.seen)
    ended = next(v for s, v in history if s["__name__"].endswith("_seconds_count"))
    assert len(answered) <= ended[-1] <= total


def test_a_restart_begins_anew(serve: Serve) -> None:
    """A reload does not."""
    server = start(serve)
    for _ in range(5):
        assert server.get("/task").code == 200
    assert value(server, "requests_total") == 5
    old = server.workers()
    server.signal(signal.SIGHUP)
    eventually(lambda: not set(old) & set(server.workers()))
    assert value(server, "requests_total") == 5
    server.stop()
    server.start().listening()
    server.answers(200)
    assert value(server, "requests_total") == 0


def test_the_numbers_are_those_of_all_workers(serve: Serve) -> None:
    """Whichever of them is asked: requests, failures, durations, workers, verdicts."""
    server = start(serve)
    for number in range(20):
        assert server.get(f"/task?code={500 if number % 4 == 0 else 200}").code in (200, 500)
    for _ in range(3):
        server.get("/task?seconds=0.2")
    texts = {
        "\n".join(line for line in scrape(server).splitlines() if "_check_" not in line)
        for _ in range(20)
    }
    (text,) = texts
    found = {
        (s.name.removeprefix("flask_health_"), *s.labels.values()): s.value
        for family in parse(text)
        for s in family.samples
    }
    assert found["requests_total",] == 23
    assert found["request_errors_total",] == 5
    assert found["requests_in_flight",] == 0
    assert found["request_duration_seconds_count",] == 23
    assert found["request_duration_seconds_bucket", "0.15"] == 20
    assert found["request_duration_seconds_bucket", "5.0"] == 23
    assert 0.6 <= found["request_duration_seconds_sum",] < 5.0
    assert found["workers", "ready"] == found["workers_expected",] == 4
    assert found["probe_success", "ready"] == found["gate_state", "open"] == 1


def test_a_worker_s_own_check_has_no_series_of_its_own(serve: Serve) -> None:
    """It would change with every worker that is asked. The failed worker is counted."""
    server = start(serve, CHECKS="database own")
    assert '"own"' not in re.sub(r"transitions_total.*", "", scrape(server))
    victim = server.workers()[0]
    server.stage.order(f"own.{victim}")
    eventually(lambda: value(server, 'workers{state="failed"}'), lambda number: number == 1)
    assert {value(server, 'check_transitions_total{check="own"}') for _ in range(12)} == {1.0}


def test_what_is_scraped_is_sound(serve: Serve) -> None:
    """promtool finds nothing to say about names, types and help texts; and rules and dashboard know
    no other series.
    """
    server = start(serve)
    server.get("/task")
    told = scrape(server)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=told,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    known = {s.name for family in parse(told) for s in family.samples}
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
    dashboard = (ROOT / "deploy" / "grafana" / "dashboard.json").read_text()
    asked = " ".join(re.findall(r'"(?:expr|query)": (".*")', dashboard))
    for text in (rules, asked):
        used = set(re.findall(r"\bflask_health_\w+", text))
        assert len(used) > 8
        assert used <= known


def test_the_token_shows_what_has_a_name(serve: Serve, tmp_path: Path) -> None:
    """To a Prometheus that sends it; another one sees the rest."""
    server = start(serve, FLASK_HEALTH_TOKEN="s3cret", DETAILS="authorized")
    assert isinstance(server.address, int)
    for token, names in (("s3cret", {"database"}), ("", set())):
        with Prometheus(tmp_path / f"prometheus{token}", server.address, token) as prometheus:
            prometheus.scrapes(2)
            assert not prometheus.errors()
            found = json.dumps(prometheus.query("flask_health_check_status"))
            assert set(re.findall(r"check=(\w+)", found)) == names
            assert prometheus.query('flask_health_probe_success{probe="ready"}')


def test_the_second_port_tells_while_every_worker_is_busy(serve: Serve, tmp_path: Path) -> None:
    """A scrape there waits for no worker."""
    port = free_port()
    server = start(serve, FLASK_HEALTH_LISTEN=f"127.0.0.1:{port}")
    eventually(lambda: get(port).code, lambda code: code == 200)
    with Prometheus(tmp_path / "prometheus", port) as prometheus:
        prometheus.scrapes(1)
        tasks = [Background(lambda: server.get("/task?seconds=8", timeout=30)) for _ in range(4)]
        prometheus.scrapes(4)
        assert not any(task.ended.is_set() for task in tasks)
        assert not prometheus.errors()
        assert prometheus.query("max_over_time(sum(flask_health_workers)[1m:1s])") == {"": 4.0}
        for task in tasks:
            task.ended.wait(30)
        found = prometheus.query("max_over_time(flask_health_requests_in_flight[1m])")
    assert list(found.values()) == [4.0]
