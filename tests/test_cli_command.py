"""The command line: its words, its help, its mistakes; the same with Flask and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import flask
import pytest
from support.environment import environment

from flask_health import HealthCheck
from flask_health.cli import table
from flask_health.cli.command import (
    WRONG_USE,
    Command,
    Option,
    Options,
    WrongUse,
    one_of,
    seconds,
    whole,
)

OPTIONS = (
    Option("--probe", "which one", "PROBE", one_of("live", "ready"), "ready"),
    Option("--timeout", "how long", "SECONDS", seconds, 2.0),
    Option("--keep-alive", "for ever"),
    Option("--state", "where", "[DIR]"),
    Option("--count", "how many", "NUMBER", whole),
    Option("--token", "who", "TOKEN", environ="TOKEN"),
)


def read(*words: str, **environ: str) -> Options:
    """Read the words of a command with all kinds of options, and one word more."""
    return Command(lambda options: 0, "[TARGET]", "", OPTIONS, most=1).read(words, environ)


def test_options_have_defaults() -> None:
    """What is not given is what its option says, and None or False where it says nothing."""
    assert vars(read()) == {
        "probe": "ready",
        "timeout": 2.0,
        "keep_alive": False,
        "state": None,
        "count": None,
        "token": None,
        "words": [],
    }


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--probe", "live"], "probe", "live"),
        (["--probe=live"], "probe", "live"),
        (["--timeout", "0.5"], "timeout", 0.5),
        (["--keep-alive"], "keep_alive", True),
        (["--state"], "state", ""),
        (["--state", "--keep-alive"], "state", ""),
        (["--state", "/run"], "state", "/run"),
        (["--state="], "state", ""),
        (["--count", "3"], "count", 3),
        (["--token", "a", "--token", "b"], "token", "b"),
        ([":80", "--timeout", "1"], "words", [":80"]),
        (["--", "--probe"], "words", ["--probe"]),
        (["-"], "words", ["-"]),
    ],
)
def test_options_are_read(words: list[str], name: str, value: object) -> None:
    """With and without `=`, before and after other words; the last one counts."""
    assert vars(read(*words))[name] == value


def test_an_option_may_be_in_the_environment() -> None:
    """The command line is asked first."""
    assert read(TOKEN="secret").token == "secret"
    assert read("--token", "other", TOKEN="secret").token == "other"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prob"], "there is no option '--prob': did you mean '--probe'?"),
        (["-x"], "there is no option '-x'"),
        (["--probe", "dead"], "--probe must be one of live, ready, not 'dead'"),
        (["--timeout"], "--timeout needs a value: --timeout SECONDS"),
        (["--timeout", "--probe"], "--timeout needs a value: --timeout SECONDS"),
        (["--timeout", "-1"], "--timeout needs a value: --timeout SECONDS"),
        (["--timeout=0"], "--timeout must be a number of seconds > 0, not '0'"),
        (["--timeout=nan"], "--timeout must be a number of seconds > 0, not 'nan'"),
        (["--timeout=inf"], "--timeout must be a number of seconds > 0, not 'inf'"),
        (["--timeout", "soon"], "--timeout must be a number of seconds > 0, not 'soon'"),
        (["--count", "0"], "--count must be a whole number > 0, not '0'"),
        (["--count", "1.5"], "--count must be a whole number > 0, not '1.5'"),
        (["--keep-alive=yes"], "--keep-alive takes no value, not 'yes'"),
        (["a", "b"], "'b' is one argument too many"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    """The message names the option, its value, and what would be right."""
    with pytest.raises(WrongUse) as wrong:
        read(*words)
    assert str(wrong.value) == message


def run(*words: str) -> int:
    """Run a command line in this process."""
    return table.run(words, "flask-health")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each; asked for it is no mistake, without any word it is."""
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for name, summary in table.COMMANDS.items():
        assert [name, *summary.split()] in [line.split() for line in shown.splitlines()]
    assert run() == WRONG_USE
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("name", table.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It fits a terminal, and names every option."""
    assert run(name, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: flask-health {name}")
    assert max(map(len, shown.splitlines())) <= 100
    command = table.load(name)
    assert all(option.name in shown for option in command.options)


def test_help_tells_defaults_and_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there are any."""
    run("check", "--help")
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "--timeout SECONDS how long all of it may take; default: 2" in shown
    assert "--nagios answer as a Nagios plug-in does" in shown
    assert (
        "--token TOKEN shows the details of a server; or FLASK_HEALTH_TOKEN in the environment"
        in shown
    )


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With the one that may have been meant."""
    assert run("chekc") == WRONG_USE
    shown = capsys.readouterr()
    assert shown.err == "flask-health: there is no command 'chekc': did you mean 'check'?\n"
    assert not shown.out


def test_wrong_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, with the command it is about."""
    assert run("check", ":1", "--timeout", "x") == WRONG_USE
    assert capsys.readouterr().err == (
        "flask-health check: --timeout must be a number of seconds > 0, not 'x'\n"
    )


APP = """
from flask import Flask
from flask_health import HealthCheck
app = Flask("app")
HealthCheck(app)
"""


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program with these words in a directory that holds an app."""
    (home / "app.py").write_text(APP)
    return subprocess.run(
        [sys.executable, *words],
        cwd=home,
        env=environment(home, PYTHONPATH=os.pathsep.join([str(home), *sys.path])),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_flask_and_the_program_are_the_same(tmp_path: Path) -> None:
    """`flask health ...` and `python -m flask_health ...`: same words, same answer, same status."""
    for words, status in (
        (["check", ":1", "--timeout", "1"], 1),
        (["check", "--help"], 0),
        (["check", ":x"], 3),
        (["--help"], 0),
    ):
        alone = command(tmp_path, "-m", "flask_health", *words)
        inside = command(tmp_path, "-m", "flask", "--app", "app", "health", *words)
        assert (alone.returncode, inside.returncode) == (status, status), inside.stderr
        same = alone.stdout.replace("flask-health", "flask health")
        assert inside.stdout == same, words
        assert inside.stderr == alone.stderr.replace("flask-health", "flask health")


def test_an_app_may_have_its_own_health_command() -> None:
    """Made before or after ours, it is the one that is called."""
    app = flask.Flask("app")

    @app.cli.command("health")
    def own() -> None:
        """The app's."""

    HealthCheck(app)
    assert app.cli.commands["health"] is own
    other = flask.Flask("other")
    HealthCheck(other)
    other.cli.add_command(own)
    assert other.cli.commands["health"] is own
