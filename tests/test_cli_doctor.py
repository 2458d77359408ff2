"""`flask health doctor`: what it reads, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from support.commands import Ran, ran
from support.environment import environment

from flask_health import HealthCheck
from flask_health.cli import gather, gunicorn_conf
from flask_health.cli.command import WrongUse
from flask_health.cli.facts import Gunicorn

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and an environment that configures nothing."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("FLASK_", "GUNICORN_", "WEB_CONCURRENCY")):
            monkeypatch.delenv(name)
    return tmp_path


def app(**config: Any) -> Flask:
    """An app with a HealthCheck."""
    made = Flask("shop")
    made.config.update(config)
    HealthCheck(made)
    return made


def doctor(made: Flask, *words: str) -> Ran:
    """Run the command in an app."""
    return ran("doctor", *words, app=made)


FOUR = ("--gunicorn", "gunicorn -w 4 shop:app")


def found(result: Ran) -> list[str]:
    """The names of the findings that were printed."""
    return re.findall(r" \[([a-z-]+)\]$", result.out, re.MULTILINE)


def test_a_service_without_fault() -> None:
    """It says so, and ends with 0."""
    result = doctor(app(), *FOUR)
    assert (result.code, result.out) == (0, "no findings\n")


def test_findings_end_with_one() -> None:
    """A summary first, then each finding with its severity, its outcome and the line that mends."""
    made = Flask("shop")
    made.config["HEALTH_DETAILS"] = "always"
    HealthCheck(made).check(lambda: None, name="database", probes=["live", "startup"])
    result = doctor(made, *FOUR)
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[0] == "2 findings: 1 error, 1 warning"
    assert found(result) == ["live-dependency", "details-open"]
    about = "check 'database' of scope 'server' is part of liveness [live-dependency]"
    assert lines[2] == f"error: {about}"
    assert lines[3].startswith("  When it fails every replica is killed")
    assert lines[5:7] == [
        "  mend in the registration of 'database':",
        '    probes=("startup",)',
    ]
    assert max(map(len, lines)) <= 100


def test_for_programs() -> None:
    """`--json` tells the same, and what was not checked."""
    result = doctor(app(HEALTH_DETAILS="always"), "--json")
    told = json.loads(result.out)
    assert result.code == 1
    assert [finding["name"] for finding in told["findings"]] == ["details-open"]
    assert set(told["findings"][0]) == {"name", "severity", "what", "then", "line", "where"}
    assert "nothing says how gunicorn is started" in told["unchecked"][0]


def test_what_is_not_checked_is_said() -> None:
    """Without a word about gunicorn nothing is guessed about it."""
    result = doctor(app(HEALTH_MIN_WORKERS=1))
    assert result.code == 0
    assert result.out.startswith("no findings\n\nnot checked: gunicorn: nothing says how")


def test_without_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gunicorn is not installed its part is left out, and that is said."""
    monkeypatch.setitem(sys.modules, "gunicorn", None)
    result = doctor(app(), *FOUR)
    assert result.code == 0
    assert "not checked: gunicorn: gunicorn cannot be imported here" in result.out


def test_the_numbers_of_the_prober() -> None:
    """Each can be given; the others are the prober's own."""
    patient = ("--gunicorn", "gunicorn -w 4 --timeout 60 shop:app")
    assert found(doctor(app(), *patient)) == ["busy-workers"]
    assert found(doctor(app(), *patient, "--period", "20")) == []
    assert found(doctor(app(), *patient, "--failure-threshold=6")) == []
    assert found(doctor(app(), *FOUR, "--grace-period", "20")) == ["grace-period"]
    assert found(doctor(app(), *FOUR, "--prober", "docker")) == ["grace-period"]
    balancer = ("--prober", "haproxy", "--period", "1", "--failure-threshold", "3")
    assert found(doctor(app(), *FOUR, *balancer, "--probe-timeout", "2")) == ["slow-prober"]
    assert found(doctor(app(), *FOUR, *balancer, "--probe-timeout", "1")) == []


@pytest.mark.parametrize(
    "words, said",
    [
        (["--prober", "consul"], "--prober must be one of kubernetes, docker"),
        (["--period", "0"], "--period must be a number of seconds > 0, not '0'"),
        (["--gunicorn", "gunicorn --wrokers 4"], "gunicorn refuses its configuration"),
        (["--gunicorn", "gunicorn 'x"], "--gunicorn must be a command line"),
        (["--config", "nowhere.conf.py"], "nowhere.conf.py"),
        (["more"], "'more' is one argument too many"),
    ],
)
def test_wrong_use_ends_with_three(words: list[str], said: str) -> None:
    """One line says what is wrong and what would be right."""
    result = doctor(app(), *words)
    assert (result.code, result.out) == (3, "")
    assert said in result.err
    assert len(result.err.splitlines()) == 1


def test_without_an_app_or_its_extension() -> None:
    """Both are wrong use, and the message says what to do."""
    with pytest.raises(WrongUse, match="flask --app shop health"):
        gather.app_facts(None)
    with pytest.raises(WrongUse, match="did you call 'init_app'"):
        gather.app_facts(Flask("shop"))


def test_outside_of_a_terminal_it_is_short() -> None:
    """At most 4 KiB, the worst first, and how many are missing; as JSON everything."""
    made = Flask("shop")
    health = HealthCheck(made)
    for number in range(40):
        health.add_check(f"slow{number}", lambda: None, timeout=20.0)
    health.add_check("alive", lambda: None, probes=["live"])
    result = doctor(made)
    assert len(result.out.encode()) <= 4096
    assert result.out.startswith("41 findings: 1 error, 40 warnings\n\nerror: check 'alive'")
    shown = len(found(result))
    assert f"... and {41 - shown} more: --json tells all" in result.out
    assert len(json.loads(doctor(made, "--json").out)["findings"]) == 41


def test_it_is_a_command_of_the_app() -> None:
    """`flask health doctor` is what runs it."""
    result = app(HEALTH_DETAILS="always").test_cli_runner().invoke(args=["health", "doctor"])
    assert result.exit_code == 1
    assert "[details-open]" in result.output


def test_checks_and_steps_are_read() -> None:
    """What was registered is judged, by decorator or not."""
    made = Flask("shop")
    health = HealthCheck(made)
    health.check(lambda: None, name="slow", timeout=20.0)
    health.setup(lambda: None, name="migrate", scope="server")
    result = doctor(made, "--gunicorn", "gunicorn -w 4 --preload shop:app")
    assert found(result) == ["slow-check", "preload-step"]


def test_authorize_is_seen() -> None:
    """A function given to `authorize` shows details as a token does."""
    made = Flask("shop")
    made.config["HEALTH_DETAILS"] = "authorized"
    health = HealthCheck(made)
    assert found(doctor(made, *FOUR)) == ["no-token"]
    health.authorize(lambda request: True)
    assert found(doctor(made, *FOUR)) == []


def test_the_environment_asks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment counts as one of the app."""
    monkeypatch.setenv("FLASK_HEALTH_DETAILS", "authorized")
    assert found(doctor(app(), *FOUR)) == ["no-token"]


# gunicorn's configuration


def test_gunicorn_is_read_in_its_own_order(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default, file, `GUNICORN_CMD_ARGS`, command line: the later wins."""
    assert gunicorn_conf.read([]).graceful_timeout == 30
    (place / "gunicorn.conf.py").write_text("workers = 2\nthreads = 3\ntimeout = 40\n")
    read = gunicorn_conf.read([])
    assert (read.workers, read.threads, read.timeout) == (2, 3, 40)
    assert read.worker_class == "gthread"
    assert read.file == "gunicorn.conf.py"
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--threads 4 --timeout 50")
    read = gunicorn_conf.read([])
    assert (read.workers, read.threads, read.timeout) == (2, 4, 50)
    read = gunicorn_conf.read(["--timeout", "60", "-b", "unix:/run/x.sock", "shop:app"])
    assert (read.workers, read.threads, read.timeout) == (2, 4, 60)
    assert (read.bind, read.wsgi_app) == (("unix:/run/x.sock",), "shop:app")
    (place / "other.py").write_text("workers = 7\nwsgi_app = 'store:app'\n")
    assert gunicorn_conf.read([], "other.py").workers == 7
    assert gunicorn_conf.read(["-c", "other.py"]).wsgi_app == "store:app"
    assert gunicorn_conf.read(["-c", "other.py"], "gunicorn.conf.py").workers == 2


def test_every_setting_is_read() -> None:
    """What differs from the default arrives, and the defaults are gunicorn's own."""
    line = (
        "-w 3 -k gevent --threads 1 -t 7 --graceful-timeout 9 --preload --reuse-port "
        "--max-requests 11 -b 127.0.0.1:81 -b [::1]:82 --worker-tmp-dir /dev/shm shop:app"
    )
    read = gunicorn_conf.read(shlex.split(line))
    assert read == Gunicorn(
        version=read.version,
        workers=3,
        worker_class="gevent",
        threads=1,
        timeout=7.0,
        graceful_timeout=9.0,
        preload=True,
        reuse_port=True,
        max_requests=11,
        bind=("127.0.0.1:81", "[::1]:82"),
        worker_tmp_dir="/dev/shm",
        wsgi_app="shop:app",
    )
    assert read.version >= (20, 1)
    assert gunicorn_conf.read([]) == Gunicorn(version=read.version)


def test_installed_hooks_are_seen(place: Path) -> None:
    """`install(globals())` in the file is what makes the master wait."""
    (place / "gunicorn.conf.py").write_text(
        "workers = 4\nfrom flask_health.gunicorn import install\ninstall(globals())\n"
    )
    assert gunicorn_conf.read([]).installed
    assert found(doctor(app())) == ["grace-period"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("workers = 'many'\n", "workers"),
        ("raise RuntimeError('no such day')\n", "no such day"),
        ("print('hello'\n", "SyntaxError"),
        ("import sys\nsys.exit(4)\n", "4"),
    ],
)
def test_a_file_that_gunicorn_refuses(place: Path, text: str, said: str) -> None:
    """Wrong use, in one line with gunicorn's own words."""
    (place / "gunicorn.conf.py").write_text(text)
    with pytest.raises(WrongUse, match=f"gunicorn refuses its configuration: .*{said}"):
        gunicorn_conf.read([])


def test_versions_are_numbers() -> None:
    """What follows the numbers does not matter."""
    assert gunicorn_conf.numbers("25.1.0") == (25, 1, 0)
    assert gunicorn_conf.numbers("26.0.0rc1") == (26, 0, 0)
    assert gunicorn_conf.numbers("22.0.post1") == (22, 0)


# the example, as a user runs it


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the example service, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "example_app", "health", "doctor", *words],
        cwd=home,
        env=environment(home / "env"),
        capture_output=True,
        text=True,
        check=False,
    )


def gunicorn_commands() -> list[str]:
    """The commands of the README that start gunicorn with the example."""
    text = (ROOT / "README.md").read_text()
    return re.findall(r"(gunicorn -w \d+ example_app:app)", text)


def test_the_page_shows_what_is_printed() -> None:
    """The output in the documentation is that of the command above it."""
    text = (ROOT / "docs" / "doctor.md").read_text()
    (block,) = re.findall(r"^```console\n\$ (.*?)^```", text, re.MULTILINE | re.DOTALL)
    command, _, shown = block.partition("\n")
    words = shlex.split(command)
    assert words[:5] == ["flask", "--app", "shop", "health", "doctor"]
    assert doctor(app(), *words[5:]).out == shown


def test_the_example_has_no_findings(tmp_path: Path) -> None:
    """Started by the command of the README it is as it should be, and nothing is left behind."""
    home = tmp_path / "home"
    (home / "env").mkdir(parents=True)
    shutil.copy(ROOT / "example_app.py", home)
    (command,) = set(gunicorn_commands())
    done = run(home, "--gunicorn", command)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no findings\n", "")
    written = {path.name for path in home.rglob("*") if path.is_file()}
    assert {name for name in written if not name.endswith(".pyc")} == {"example_app.py"}
