"""`flask health manifest`: numbers that agree, and texts that are what they claim to be."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
import yaml
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import Ran, ran
from support.kit import FILES, ROOT

from flask_health import HealthCheck
from flask_health.cli.facts import App, Gunicorn
from flask_health.cli.manifest import COMMAND
from flask_health.cli.manifests import KINDS, render
from flask_health.cli.manifests.aws import RHYTHM
from flask_health.cli.manifests.plan import MARGIN, Choices, Plan, Rhythm, label, port_of
from flask_health.config import Config
from flask_health.workers.steps import Step


@pytest.fixture(autouse=True)
def place(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory, and an environment that configures nothing."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("FLASK_", "GUNICORN_", "WEB_CONCURRENCY")):
            monkeypatch.delenv(name)


def plan(
    *,
    config: dict[str, Any] | None = None,
    gunicorn: dict[str, Any] | None = None,
    steps: tuple[Step, ...] = (),
    **choices: Any,
) -> Plan:
    """The plan of a service with four workers, but for what is given."""
    own: dict[str, Any] = {"workers": 4, "wsgi_app": "shop:app"} | (gunicorn or {})
    return Plan(
        App("my_shop", Config(**(config or {})), steps=steps),
        Gunicorn(**own),
        Choices(**choices),
    )


def step(timeout: float | None) -> Step:
    """A setup step."""
    return Step(f"step{timeout}", lambda: None, timeout=timeout)


def documents(text: str) -> list[Any]:
    """The documents of a YAML text."""
    return list(yaml.safe_load_all(text))


# the numbers


@settings(max_examples=50)
@given(
    drain=st.floats(0, 300),
    graceful=st.integers(1, 600),
    installed=st.booleans(),
    timeouts=st.lists(st.none() | st.floats(0.1, 3600), max_size=4),
)
def test_the_numbers_agree(
    drain: float, graceful: int, installed: bool, timeouts: list[float | None]
) -> None:
    """period x threshold + timeout + 1 <= drain delay, and the stop fits into the grace period."""
    made = plan(
        config={"drain_delay": drain},
        gunicorn={"graceful_timeout": float(graceful), "installed": installed},
        steps=tuple(map(step, timeouts)),
    )
    ready = made.ready
    assert min(ready) >= 1
    assert ready.period <= 10
    assert ready.needs == ready.period * ready.failures + ready.timeout + MARGIN
    note = made.drain_note(ready)
    if drain >= 3:
        assert ready.needs <= drain
        assert "so set" not in note
    else:
        assert f"so set FLASK_HEALTH_DRAIN_DELAY={ready.needs}" in note
    assert made.stop >= graceful + (drain if installed else 0)
    assert made.stop < made.grace
    assert made.start >= sum(timeout or 300 for timeout in timeouts)
    deployment, _ = documents(render("kubernetes", made))
    pod = deployment["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == made.grace
    (container,) = pod["containers"]
    probe = container["readinessProbe"]
    numbers = [probe[key] for key in ("periodSeconds", "failureThreshold", "timeoutSeconds")]
    assert Rhythm(*numbers) == ready
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= made.start


@pytest.mark.parametrize(
    "drain, expected",
    [(5.0, (1, 3, 1)), (4.0, (1, 2, 1)), (3.0, (1, 1, 1)), (20.0, (6, 3, 1)), (90.0, (10, 3, 1))],
)
def test_probes_are_as_rare_as_the_drain_delay_allows(
    drain: float, expected: tuple[int, int, int]
) -> None:
    """Three failures where there is time for them, every 10 s at most."""
    assert plan(config={"drain_delay": drain}).ready == expected


def test_comments_give_the_arithmetic() -> None:
    """Each number that was computed is explained beside it, by sums that are right."""
    made = plan(
        gunicorn={"installed": True, "graceful_timeout": 40.0}, steps=(step(20.0), step(None))
    )
    text = render("kubernetes", made)
    assert "# 1 preStop + 5 drain delay + 40 graceful timeout + 5 to spare = 51" in text
    assert "# 1 s x 3 + 1 s for the answer + 1 s to spread = 5 s, drain delay 5 s" in text
    assert "# timeouts of the setup steps: 20 + 300 (those without one: 300)" in text
    assert "# x 2 s = 320 s" in text
    assert "# no setup steps: 60 s for the import" in render("kubernetes", plan())


def test_a_balancer_that_is_too_slow_is_told_of() -> None:
    """An ALB asks every 5 s at best: the default drain delay is too short for it."""
    text = render("aws", plan())
    said = " ".join(line.strip(" #") for line in text.splitlines())
    assert f"so set FLASK_HEALTH_DRAIN_DELAY={RHYTHM.needs}" in said
    assert "so set" not in render("aws", plan(config={"drain_delay": 13.0}))


# the places


def test_the_second_port_is_the_one_of_the_app() -> None:
    """Where the app configures it, all ask there; else balancers ask the main port."""
    own = plan(config={"listen": "0.0.0.0:9100"}, servers=("10.0.0.1:8000", "10.0.0.2:8000"))
    assert "containerPort: 9100" in render("kubernetes", own)
    assert "default-server port 9100 inter" in render("haproxy", own)
    (job,) = yaml.safe_load(render("prometheus", own))["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["10.0.0.1:9100", "10.0.0.2:9100"]}]
    none = plan(servers=("10.0.0.1:8000",))
    assert "containerPort: 9000" in render("kubernetes", none)
    assert "default-server inter" in render("haproxy", none)
    (job,) = yaml.safe_load(render("prometheus", none))["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["10.0.0.1:8000"]}]


def test_balancers_of_this_host_find_the_socket() -> None:
    """Where gunicorn listens on one, and nobody names other servers."""
    local = plan(gunicorn={"bind": ("unix:/run/shop/app.sock",)})
    assert "server unix:/run/shop/app.sock max_fails" in render("nginx", local)
    assert "server my-shop-1 unix@/run/shop/app.sock check" in render("haproxy", local)
    (job,) = yaml.safe_load(render("prometheus", local))["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8000"]}]


def test_the_prefix_is_the_one_of_the_app() -> None:
    """Nobody is sent to `/health` when the probes are elsewhere."""
    moved = plan(config={"url_prefix": "/ops/probe"})
    for kind in KINDS:
        text = render(kind, moved)
        assert "/health/" not in text.replace("/run/health/", "").replace("/etc/", ""), kind
    assert "path: /ops/probe/ready" in render("kubernetes", moved)
    assert "metrics_path: /ops/probe/metrics" in render("prometheus", moved)


def test_a_fleet_of_the_app_is_in_its_manifests() -> None:
    """With `HEALTH_FLEET_URL` no `--fleet` is needed, and the address stays a secret."""
    own = {"fleet_url": "redis://:s3cret@cache:6379/0", "fleet_required": False}
    for kind in ("kubernetes", "compose"):
        text = render(kind, plan(config=own))
        assert "FLASK_HEALTH_FLEET_URL" in text
        assert "s3cret" not in text
        assert re.search(r"FLASK_HEALTH_FLEET_REQUIRED(: |\n +value: )\"false\"", text), kind
        assert "FLEET" not in render(kind, plan())


def test_gunicorn_is_started_as_it_is_configured() -> None:
    """What differs from its defaults is on its command line, or the file is named."""
    options = {"worker_class": "gthread", "threads": 8, "timeout": 60.0, "preload": True}
    assert plan(gunicorn=options | {"bind": ("127.0.0.1:5000",)}).command("/run/health") == [
        "gunicorn",
        "--bind=0.0.0.0:5000",
        "--worker-tmp-dir=/run/health",
        "--workers=4",
        "--worker-class=gthread",
        "--threads=8",
        "--timeout=60",
        "--preload",
        "shop:app",
    ]
    file = plan(gunicorn={"file": "gunicorn.conf.py"}).command("/dev/shm")
    assert file[3:] == ["--config=gunicorn.conf.py", "shop:app"]


def test_a_unix_socket_is_drained_before_it_goes() -> None:
    """Without hooks in gunicorn's file systemd has to do it, and wait."""
    socket = {"bind": ("unix:/run/my-shop/app.sock",)}
    text = render("systemd", plan(gunicorn=socket, config={"drain_delay": 7.0}))
    assert re.findall(r"^ExecStop=(.+)$", text, re.MULTILINE) == [
        "/srv/my-shop/venv/bin/flask-health drain --state /run/my-shop --wait 7",
    ]
    assert "ExecStop" not in render("systemd", plan(gunicorn=socket | {"installed": True}))
    assert "ExecStop" not in render("systemd", plan())


def test_names_and_ports() -> None:
    """An app's name becomes one that DNS accepts; a unix socket has no port."""
    assert label("My_Shop.app") == "my-shop-app"
    assert label("__main__") == "main"
    assert label("§") == "app"
    assert len(label("x" * 99)) == 50
    assert port_of(("unix:/run/a:1", "fd://3", "[::1]:81")) == 81
    assert port_of(("localhost",)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_input_gives_the_same_text(kind: str) -> None:
    """No line is longer than a screen, none ends in blanks, and each kind ends with a newline."""
    text = render(kind, plan())
    assert text == render(kind, plan())
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    for line in text.splitlines():
        assert line == line.rstrip()
        assert len(line) <= 110, line


# the command


def manifest(*words: str, **config: Any) -> Ran:
    """Run the command in an app."""
    made = Flask("my_shop")
    made.config.update(config)
    HealthCheck(made)
    return ran("manifest", *words, app=made)


def test_every_option_arrives() -> None:
    """In the place that it is for."""
    result = manifest(
        *("kubernetes", "--gunicorn", "gunicorn -w 2 -b :5000 shop.wsgi:app", "--fleet"),
        *("--image", "ghcr.io/shop/shop@sha256:0123", "--name", "shop", "--replicas=5"),
    )
    assert result.code == 0
    deployment, service = documents(result.out)
    assert deployment["metadata"]["name"] == service["metadata"]["name"] == "shop"
    assert deployment["spec"]["replicas"] == 5
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "ghcr.io/shop/shop@sha256:0123"
    assert container["args"][-1] == "shop.wsgi:app"
    assert container["ports"][0]["containerPort"] == 5000
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment.keys() >= {"FLASK_HEALTH_FLEET_URL", "FLASK_HEALTH_FLEET_REQUIRED"}
    assert environment["FLASK_HEALTH_VERSION"] == "0123"
    assert "Host shop.example.org" in manifest("haproxy", "--host", "shop.example.org").out
    two = manifest("nginx", "--servers", "10.0.0.1:80,[fd00::1]:80").out
    assert re.findall(r"^    server (\S+)", two, re.MULTILINE) == ["10.0.0.1:80", "[fd00::1]:80"]
    unit = manifest("systemd", "--directory=/opt/shop").out
    assert "WorkingDirectory=/opt/shop\n" in unit


def test_every_kind_and_option_is_documented() -> None:
    """The page has a row for each, and none for another."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
    words = [word for row in rows for word in re.findall(r"`([^`]+)`", row)]
    assert {word for word in words if not word.startswith("--") and " " not in word} == {*KINDS}
    assert {word for word in words if word.startswith("--")} == {o.name for o in COMMAND.options}


def test_every_file_of_the_kit_is_documented() -> None:
    """With the kind that it is."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    for file in FILES:
        kind = " ".join([file.arguments[0], *(["--fleet"] if "--fleet" in file.arguments else [])])
        assert f"| `{kind}` | `{file.name}` |" in text


def test_without_a_word_about_gunicorn_its_defaults_are_taken() -> None:
    """That is said on the other channel, so that the output stays a file."""
    result = manifest("consul")
    assert result.code == 0
    assert json.loads(result.out)["service"]["port"] == 8000
    assert "gunicorn's defaults are taken: nothing says how" in result.err


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "the kind is missing: one of kubernetes, compose"),
        (["kubernets"], "there is no manifest 'kubernets': did you mean 'kubernetes'?"),
        (["nginx", "--fleet"], "--fleet is for compose and kubernetes, not for 'nginx'"),
        (["haproxy", "--servers", "one"], "--servers must be HOST:PORT"),
        (["haproxy", "--servers", "one:80,two:65536"], "--servers must be HOST:PORT"),
        (["kubernetes", "--name", "Shop!"], "--name must be a name of small letters"),
        (["kubernetes", "--image", 'x" y'], "--image must be a text without blanks or quotes"),
        (["kubernetes", "--replicas", "0"], "--replicas must be a whole number > 0"),
        (["kubernetes", "--config", "gone.py"], "gunicorn refuses its configuration"),
    ],
)
def test_wrong_use_ends_with_three(words: list[str], said: str) -> None:
    """One line says what is wrong, and nothing is printed that could be taken for a file."""
    result = manifest(*words)
    assert result.code == 3
    assert said in result.err
    assert result.out == ""


@pytest.mark.parametrize("listen", ["127.0.0.1:9000", "[::1]:9000", "unix:/run/shop/health.sock"])
def test_a_second_port_that_nobody_outside_reaches(listen: str) -> None:
    """No manifest sends a prober of another machine there."""
    for kind in ("kubernetes", "aws", "haproxy", "prometheus"):
        result = manifest(kind, HEALTH_LISTEN=listen)
        assert result.code == 3
        assert f"HEALTH_LISTEN is '{listen}', where no prober outside reaches it" in result.err
    assert manifest("systemd", HEALTH_LISTEN=listen).code == 0
