"""What `doctor` finds: each mistake planted alone, and what is right beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flask_health.cli.diagnosis import RULES, examine
from flask_health.cli.diagnosis.finding import SEVERITIES
from flask_health.cli.diagnosis.workers import file_system
from flask_health.cli.facts import PROBERS, App, Facts, Gunicorn
from flask_health.config import Config
from flask_health.model.check import Check
from flask_health.workers.steps import Step

ROOT = Path(__file__).resolve().parent.parent


def nothing() -> None:
    """A check, or a step."""


def facts(
    *,
    config: dict[str, Any] | None = None,
    app: dict[str, Any] | None = None,
    gunicorn: dict[str, Any] | None = None,
    prober: str = "kubernetes",
    numbers: dict[str, Any] | None = None,
    bases: tuple[str, ...] = (),
    mounts: str = "",
) -> Facts:
    """A service without fault, four sync workers in Kubernetes, but for what is given."""
    asked = frozenset(f"HEALTH_{name.upper()}" for name in config or {})
    return Facts(
        App("shop", Config(**(config or {})), **({"asked": asked} | (app or {}))),
        Gunicorn(**({"workers": 4} | (gunicorn or {}))),
        PROBERS[prober]._replace(**(numbers or {})),
        bases,
        mounts,
    )


def names(given: Facts) -> list[str]:
    """The names of all findings."""
    return [finding.name for finding in examine(given)]


def check(**options: Any) -> dict[str, Any]:
    """An app with one check."""
    return {"checks": (Check("database", nothing, **options),)}


def step(**options: Any) -> dict[str, Any]:
    """An app with one setup step."""
    return {"steps": (Step("migrate", nothing, **options),)}


NFS = "/dev/sda1 / ext4 rw 0 0\nfiler:/srv /srv nfs4 rw 0 0\n"

PLANTED: dict[str, tuple[Facts, str]] = {
    "debug": (facts(app={"debug": True}), "export FLASK_DEBUG=0"),
    "details-open": (
        facts(config={"details": "always"}),
        'app.config["HEALTH_DETAILS"] = "authorized"',
    ),
    "no-token": (
        facts(config={"details": "authorized"}),
        'export FLASK_HEALTH_TOKEN="$(openssl rand -hex 16)"',
    ),
    "listen-without-token": (
        facts(config={"listen": "0.0.0.0:9000"}),
        'export FLASK_HEALTH_TOKEN="$(openssl rand -hex 16)"',
    ),
    "webhook-http": (
        facts(config={"webhook_url": "http://hooks.example.com/T0/B0/secret"}),
        'app.config["HEALTH_WEBHOOK_URL"] = "https://hooks.example.com/..."',
    ),
    "slow-check": (facts(app=check(timeout=10.0, interval=10.0)), "timeout=5, interval=10"),
    "live-dependency": (facts(app=check(probes=("live", "ready"))), 'probes=("ready",)'),
    "one-sync-worker": (
        facts(gunicorn={"workers": 1}),
        'app.config["HEALTH_LISTEN"] = "0.0.0.0:9000"',
    ),
    "busy-workers": (
        facts(gunicorn={"timeout": 60.0}),
        'app.config["HEALTH_LISTEN"] = "0.0.0.0:9000"',
    ),
    "never-stalled": (
        facts(gunicorn={"timeout": 0.0}, config={"listen": "127.0.0.1:9000"}),
        'app.config["HEALTH_STALL_AFTER"] = 300.0',
    ),
    "gate-timeout": (facts(config={"gate_timeout": 30.0}), "timeout = 60"),
    "no-drain": (
        facts(config={"drain_delay": 0.0}),
        'app.config["HEALTH_DRAIN_DELAY"] = 5.0',
    ),
    "slow-prober": (facts(prober="aws"), 'app.config["HEALTH_DRAIN_DELAY"] = 66'),
    "drain-delay": (
        facts(config={"drain_delay": 28.0}),
        "graceful_timeout = 53",
    ),
    "grace-period": (
        facts(gunicorn={"graceful_timeout": 45.0}),
        "terminationGracePeriodSeconds: 50",
    ),
    "unix-socket": (
        facts(gunicorn={"bind": ("unix:/run/shop.sock",)}),
        "from flask_health.gunicorn import install; install(globals())",
    ),
    "min-workers": (
        facts(config={"min_workers": 4}),
        'app.config["HEALTH_MIN_WORKERS"] = 3',
    ),
    "max-requests": (
        facts(gunicorn={"workers": 1, "max_requests": 100, "worker_class": "gthread"}),
        "workers = 2",
    ),
    "gunicorn-version": (facts(gunicorn={"version": (21, 2, 0)}), "gunicorn>=22,!=25.1.0"),
    "reuse-port": (facts(gunicorn={"reuse_port": True}, app=step()), "reuse_port = False"),
    "preload-step": (
        facts(gunicorn={"preload": True}, app=step(scope="server")),
        "preload_app = False",
    ),
    "fleet-scope": (
        facts(app=step(scope="fleet")),
        "export FLASK_HEALTH_FLEET_URL=redis://cache:6379/0",
    ),
    "state-dir-missing": (
        facts(config={"state_dir": "/nowhere/to/be/found"}),
        "mkdir -p /nowhere/to/be/found",
    ),
    "state-dir-network": (
        facts(bases=("/",), mounts="filer:/ / nfs4 rw 0 0\n"),
        'app.config["HEALTH_STATE_DIR"] = "/dev/shm"',
    ),
}
"""Each mistake alone, and the line that mends it."""


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_mistake_is_found(name: str) -> None:
    """It is found, nothing else is, and the finding says what happens and what mends it."""
    (finding,) = examine(PLANTED[name][0])
    assert finding.name == name
    assert finding.line == PLANTED[name][1]
    assert finding.severity in SEVERITIES
    assert finding.then.endswith(".")
    assert finding.where
    assert "\n" not in "".join(finding)


@pytest.mark.parametrize("prober", ["kubernetes", "systemd", "haproxy"])
def test_a_service_without_fault_has_no_findings(prober: str) -> None:
    """Defaults of everything, four workers, under probers that go with gunicorn's defaults."""
    numbers = {"period": 1, "failures": 2, "timeout": 1} if prober == "haproxy" else {}
    assert names(facts(prober=prober, numbers=numbers)) == []


def test_every_rule_has_a_planted_mistake() -> None:
    """No rule is left that no test can trip, and the worst findings come first."""
    for rule in RULES:
        assert any(list(rule(given)) for given, _ in PLANTED.values()), rule.__name__
    everything = facts(
        config={"details": "always", "min_workers": 4},
        app=check(probes=("live",), timeout=20.0) | {"debug": True},
    )
    order = [SEVERITIES.index(finding.severity) for finding in examine(everything)]
    assert len(order) >= 5
    assert order == sorted(order)


RIGHT: dict[str, Facts] = {
    "a token": facts(config={"details": "authorized", "token": "s3cret"}),
    "a function that authorizes": facts(config={"details": "authorized"}, app={"authorizes": True}),
    "nobody asked for details": facts(),
    "a second port with a token": facts(config={"listen": "0.0.0.0:9000", "token": "s3cret"}),
    "a second port of this host": facts(config={"listen": "127.0.0.1:9000"}),
    "a second port on IPv6 loopback": facts(config={"listen": "[::1]:9000"}),
    "a second port on a socket": facts(config={"listen": "unix:/run/shop/health.sock"}),
    "a webhook over TLS": facts(config={"webhook_url": "https://hooks.example.com/T0"}),
    "a webhook of this host": facts(config={"webhook_url": "http://127.0.0.1:8080/hook"}),
    "a check as long as half its interval": facts(app=check(timeout=5.0, interval=10.0)),
    "a live check of this process": facts(app=check(probes=("live",), scope="worker")),
    "a live check that only warns": facts(app=check(probes=("live",), critical=False)),
    "one worker with threads": facts(gunicorn={"workers": 1, "worker_class": "gthread"}),
    "one worker with a second port": facts(
        gunicorn={"workers": 1}, config={"listen": "127.0.0.1:9000"}
    ),
    "long requests with a second port": facts(
        gunicorn={"timeout": 600.0}, config={"listen": "127.0.0.1:9000"}
    ),
    "long requests, a patient prober": facts(gunicorn={"timeout": 60.0}, numbers={"period": 20}),
    "a time after which workers hang": facts(
        gunicorn={"timeout": 0.0}, config={"listen": "127.0.0.1:9000", "stall_after": 60.0}
    ),
    "a gate that waits less than gunicorn": facts(config={"gate_timeout": 10.0}),
    "a gate that waits, with threads": facts(
        config={"gate_timeout": 60.0}, gunicorn={"worker_class": "gthread"}
    ),
    "a delay for a slow balancer": facts(
        config={"drain_delay": 70.0},
        gunicorn={"graceful_timeout": 100.0},
        prober="aws",
        numbers={"grace": 120},
    ),
    "a delay that just fits": facts(
        config={"drain_delay": 27.0}, prober="haproxy", numbers={"period": 5}
    ),
    "a delay before the graceful timeout": facts(
        config={"drain_delay": 30.0}, gunicorn={"installed": True}, numbers={"grace": 60}
    ),
    "a socket with installed hooks": facts(
        gunicorn={"bind": ("unix:/run/shop.sock",), "installed": True}, numbers={"grace": 35}
    ),
    "one worker may be missing": facts(config={"min_workers": 3}),
    "one worker, which is the minimum": facts(
        config={"min_workers": 1}, gunicorn={"workers": 1, "worker_class": "gthread"}
    ),
    "max_requests with siblings": facts(gunicorn={"max_requests": 100}),
    "the oldest gunicorn": facts(gunicorn={"version": (22, 0, 0)}),
    "the release after the broken one": facts(gunicorn={"version": (25, 1, 1)}),
    "reuse_port without setup": facts(gunicorn={"reuse_port": True}),
    "preload with a step of each worker": facts(gunicorn={"preload": True}, app=step()),
    "a fleet": facts(
        app=step(scope="fleet") | check(scope="fleet"),
        config={"fleet_url": "redis://cache", "token": "s3cret"},
    ),
    "a state directory in memory": facts(bases=("/",), mounts="tmpfs / tmpfs rw 0 0\n"),
    "a network disk that is not the first choice": facts(
        bases=("/", "/srv"), mounts="tmpfs / tmpfs rw 0 0\nfiler:/srv /srv nfs4 rw 0 0\n"
    ),
    "no /proc": facts(bases=("/",)),
}


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_right_is_not_found(what: str) -> None:
    """Close to a planted mistake, but none."""
    assert names(RIGHT[what]) == []


def documented(page: str, first: str) -> list[list[str]]:
    """The cells of every table row of a page whose first cell matches, without backticks."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `")]
    cells = [[cell.strip().replace("`", "") for cell in row] for row in rows]
    return [row for row in cells if re.fullmatch(first, row[0])]


def test_every_finding_is_documented() -> None:
    """The page of the doctor names each with its severity, and no other."""
    shown = {row[0]: row[1] for row in documented("doctor.md", "[a-z-]+") if row[1] in SEVERITIES}
    assert shown == {name: examine(given)[0].severity for name, (given, _) in PLANTED.items()}


def test_every_prober_is_documented() -> None:
    """With the numbers that are its defaults."""
    shown = {
        row[0].partition(" ")[0]: row[1:5]
        for row in documented("doctor.md", r"(\w+)( \(.*\))?")
        if row[0].partition(" ")[0] in PROBERS
    }
    assert shown == {
        name: [
            f"{prober.period:g} s",
            str(prober.failures),
            f"{prober.timeout:g} s",
            f"{prober.grace:g} s" if prober.grace else "it stops nothing",
        ]
        for name, prober in PROBERS.items()
    }


def test_the_broken_release_of_gunicorn() -> None:
    """25.1.0 deadlocks when it forks."""
    (finding,) = examine(facts(gunicorn={"version": (25, 1, 0)}))
    assert finding.name == "gunicorn-version"
    assert "deadlocks" in finding.then


def test_installed_hooks_add_the_delay_to_the_stop() -> None:
    """The master waits before gunicorn's own limit begins: both must fit into the grace period."""
    given = facts(gunicorn={"installed": True})
    (finding,) = examine(given)
    assert finding.name == "grace-period"
    assert "drain delay 5 s + graceful_timeout 30 s" in finding.what
    assert finding.line == "terminationGracePeriodSeconds: 40"


def test_nothing_is_said_of_an_unknown_gunicorn() -> None:
    """Without its configuration only what the app alone says is judged."""
    given = facts(config={"min_workers": 4, "drain_delay": 0.0, "details": "always"})
    assert names(given._replace(gunicorn=None)) == ["details-open"]


def test_debug_mode_has_no_drain_delay() -> None:
    """Its absence is no finding of its own there."""
    assert names(facts(app={"debug": True})) == ["debug"]


def test_no_finding_tells_a_secret() -> None:
    """Neither the token nor the path of a webhook."""
    given = facts(
        config={
            "token": "s3cret",
            "details": "always",
            "webhook_url": "http://u:s3cret@hooks.example.com/s3cret?key=s3cret",
        }
    )
    told = [text for finding in examine(given) for text in finding]
    assert "webhook-http" in told
    assert "s3cret" not in "".join(told)


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/state", "nfs4"),
        ("/srvx", "ext4"),
        ("/mnt/with space/x", "cifs"),
        ("/srv/local/x", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    """The longest mount point that holds it, whatever comes after it, decides."""
    mounts = NFS + "//nas/x /mnt/with\\040space cifs rw 0 0\nnone /srv/local tmpfs rw 0 0\nodd\n"
    assert file_system(path, mounts) == kind


def test_a_mount_over_a_mount() -> None:
    """The last one at a place is what is seen there."""
    assert file_system("/srv/x", NFS + "none /srv tmpfs rw 0 0\n") == "tmpfs"
    assert file_system("/srv/x", "") == ""
