"""Every `HEALTH_*` key: its default, where it is read from, what is right, what is not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_health import ConfigError, HealthCheck
from flask_health import config as configuration
from flask_health.config import PARSERS, SECRET, Config, read


class Row:
    """A key: its default, right values with what they mean, the same as text, and wrong values."""

    def __init__(
        self,
        default: object,
        right: list[tuple[object, object]],
        text: list[tuple[str, object]],
        wrong: list[object],
        wrong_text: list[str],
    ) -> None:
        self.default = default
        self.right = right
        self.text = text
        self.wrong = wrong
        self.wrong_text = wrong_text


TRUE = [(word, True) for word in ("true", "True", "1", "yes", "YES")]
FALSE = [(word, False) for word in ("false", "FALSE", "0", "no", "No")]


def flag(default: bool) -> Row:
    return Row(
        default,
        [(True, True), (False, False), (1, True), (0, False), *TRUE, *FALSE],
        [*TRUE, *FALSE],
        [2, -1, "on", "", [], {}, 0.5],
        ["on", "maybe", ""],
    )


def seconds(default: object, zero: bool = True) -> Row:
    zeros: list[tuple[object, object]] = [(0, 0.0)] if zero else []
    return Row(
        default,
        [*zeros, (3, 3.0), (0.25, 0.25), ("1.5", 1.5)],
        [*([("0", 0.0)] if zero else []), ("2.5", 2.5), ("1e1", 10.0)],
        [-1, -0.001, True, "5s", "", [], float("nan"), float("inf"), *([] if zero else [0])],
        ["5s", "-1", "nan", "inf", "", *([] if zero else ["0"])],
    )


def count(default: object) -> Row:
    return Row(
        default,
        [(1, 1), (64, 64), ("4", 4)],
        [("2", 2)],
        [0, -1, 1.5, True, "two", "", [], "-1"],
        ["0", "two", "1.5", "+1", ""],
    )


def text() -> Row:
    return Row(
        None,
        [("words with spaces", "words with spaces"), (None, None)],
        [("1.10", "1.10"), ("true", "true"), ("null", "null")],
        [1.1, 7, True, "", b"bytes", ["x"]],
        [""],
    )


ROWS = {
    "url_prefix": Row(
        "/health",
        [("/up", "/up"), ("/a/b", "/a/b"), ("/health.d", "/health.d")],
        [("/up", "/up")],
        ["", "/", "health", "/health/", "/<name>", "/a b", "/a?b", "/a#b", None, 7],
        ["", "health", "/x/"],
    ),
    "aliases": Row(
        {},
        [({}, {}), ({"/livez": "live"}, {"/livez": "live"}), ('{"/r": "ready"}', {"/r": "ready"})],
        [('{"/livez": "live"}', {"/livez": "live"}), ("{}", {})],
        [
            None,
            [],
            "/livez",
            {"livez": "live"},
            {"/livez": "alive"},
            {"/": "live"},
            {"/<x>": "live"},
        ],
        ["/livez", "[]", "{", ""],
    ),
    "state_dir": Row(
        None,
        [("/run/x", "/run/x"), (Path("/run/x"), "/run/x"), (None, None)],
        [("/run/x", "/run/x")],
        ["", "run/x", "./x", 7],
        ["run/x", ""],
    ),
    "workers": count(None),
    "gate": flag(True),
    "gate_timeout": seconds(None),
    "gate_exempt": Row(
        (),
        [([], ()), (["/static"], ("/static",)), (("/a", "/b"), ("/a", "/b"))],
        [('["/static", "/x"]', ("/static", "/x"))],
        [None, "/static", ["static"], [7], {"/static": 1}],
        ["/static", "{}", ""],
    ),
    "setup_timeout": seconds(None, zero=False),
    "exit_on_setup_failure": flag(False),
    "hold": Row(
        "siblings",
        [(word, word) for word in ("siblings", "never")],
        [("never", "never")],
        ["Never", "", None, True, 0],
        ["sometimes", ""],
    ),
    "min_workers": count(1),
    "drain_delay": seconds(None),
    "listen": Row(
        None,
        [(a, a) for a in ("127.0.0.1:9000", "[::]:9000", "a.example:1", "unix:/run/a b", None)],
        [("0.0.0.0:65535", "0.0.0.0:65535"), ("unix:/a", "unix:/a")],
        [
            *("", "9000", ":9000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536"),
            *("::1:9000", "[::1]", "a:-1", "a:+1", "a:9_0", "a:\u0661", "http://a:9000", "[a]:1"),
            *("\xe4.example:9000", "\xe4" * 70 + ":9000"),
            *("unix:", "unix:a.socket", "unix:/a\0b", "a\0:1", "unix:/" + "x" * 107, 9000),
            *(b"a:1", ("127.0.0.1", 9000), True),
        ],
        ["9000", "127.0.0.1:99999", "unix:x"],
    ),
    "stall_after": seconds(None, zero=False),
    "details": Row(
        "authorized",
        [(word, word) for word in ("authorized", "always", "never")],
        [("always", "always")],
        ["all", "", None, True],
        ["all", ""],
    ),
    "token": text(),
    "version": text(),
    "service": text(),
    "description": text(),
    "links": Row(
        {},
        [({}, {}), ({"about": "https://x.example"}, {"about": "https://x.example"})],
        [('{"about": "https://x.example"}', {"about": "https://x.example"})],
        [None, [], "https://x.example", {"about": 1}, {1: "x"}],
        ["https://x.example", ""],
    ),
    "webhook_url": Row(
        None,
        [
            (url, url)
            for url in (
                "https://hooks.example/T1/s3cret",
                "http://u:p@[::1]:8080/?a=b#c",
                "HTTP://h",
            )
        ],
        [("https://hooks.example", "https://hooks.example")],
        [
            *(7, "", "hooks.example", "ftp://h/", "file:///etc/passwd", "https://", "http://[::1"),
            *("http://h:99999/", "http://h/a b", "http://h/\n", "http://h/\u00e9", ["https://h"]),
        ],
        ["hooks.example", ""],
    ),
    "fleet_url": Row(
        None,
        [(url, url) for url in ("redis://cache", "rediss://:pw@cache:6379/1", "unix:///run/r")],
        [("redis://cache:6379/0", "redis://cache:6379/0")],
        ["", "cache:6379", "http://cache", 7, True, b"redis://cache"],
        ["cache", "http://cache", ""],
    ),
    "fleet_required": flag(True),
    "fleet_panic": Row(
        0.0,
        [(0, 0.0), (0.5, 0.5), ("0.25", 0.25)],
        [("0", 0.0), ("0.5", 0.5)],
        [1, 1.5, -0.1, True, "half", "", None, float("nan")],
        ["1", "50", "half", "nan", ""],
    ),
    "fleet_panic_min": count(5),
}


def key(name: str) -> str:
    return f"HEALTH_{name.upper()}"


def cases(which: str) -> list[Any]:
    """The rows as parameters: name and value, with the result where there is one."""
    found = []
    for name, row in ROWS.items():
        for case in getattr(row, which):
            values = case if isinstance(case, tuple) and which in ("right", "text") else (case,)
            found.append(pytest.param(name, *values, id=f"{name}={values[0]!r}"))
    return found


def test_every_key_has_a_row_here() -> None:
    """No key goes untested."""
    assert set(ROWS) == set(PARSERS) == {name for name in vars(Config) if name[0] != "_"}


@pytest.mark.parametrize("name", ROWS)
def test_a_key_has_a_default(name: str) -> None:
    """Without configuration and environment every key has its default."""
    assert getattr(read({}, {}), name) == ROWS[name].default


@pytest.mark.parametrize(("name", "given", "meant"), cases("right"))
def test_a_right_value_is_taken(name: str, given: object, meant: object) -> None:
    """A value in the app's config means what the table says, in the type it says."""
    found = getattr(read({key(name): given}, {}), name)
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(("name", "given", "meant"), cases("text"))
def test_the_environment_is_read(name: str, given: str, meant: object) -> None:
    """`FLASK_<KEY>` counts where the app's config does not have the key."""
    found = getattr(read({}, {f"FLASK_{key(name)}": given}), name)
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(("name", "given", "meant"), cases("text"))
def test_from_prefixed_env_changes_nothing(
    name: str, given: str, meant: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app that loads `FLASK_*` itself, and turns `1.10` into 1.1, gets the same."""
    monkeypatch.setenv(f"FLASK_{key(name)}", given)
    app = Flask("local")
    app.config.from_prefixed_env()
    assert key(name) in app.config
    assert getattr(read(app.config, {f"FLASK_{key(name)}": given}), name) == meant


@pytest.mark.parametrize(("name", "given"), cases("wrong"))
def test_a_wrong_value_is_named(name: str, given: object) -> None:
    """The error names the key, the value, and what would be right."""
    with pytest.raises(ConfigError) as caught:
        read({key(name): given}, {})
    message = str(caught.value)
    assert message.startswith(f"'{key(name)}' must be ")
    assert message.endswith(
        ", which it is not." if name in configuration.SECRET else f", not {given!r}."
    )
    assert message.endswith(f", not {given!r}." if name not in SECRET else ", which it is not.")
    assert "\n" not in message


@pytest.mark.parametrize(("name", "given"), cases("wrong_text"))
def test_a_wrong_text_in_the_environment_is_named(name: str, given: str) -> None:
    """A mistake in the environment is no smaller than one in the config."""
    with pytest.raises(ConfigError, match=f"'{key(name)}' must be "):
        read({}, {f"FLASK_{key(name)}": given})


def test_the_config_wins_over_the_environment() -> None:
    """What the app has set, it has set."""
    assert read({"HEALTH_HOLD": "never"}, {"FLASK_HEALTH_HOLD": "always"}).hold == "never"
    assert read({"HEALTH_VERSION": "2"}, {"FLASK_HEALTH_VERSION": "1"}).version == "2"


def test_holding_all_workers_needs_the_second_port() -> None:
    """Nothing else would answer probes while setup goes on."""
    wanted = "^'HEALTH_HOLD' must be 'siblings' or 'never' without 'HEALTH_LISTEN', not 'always': "
    with pytest.raises(ConfigError, match=wanted):
        read({"HEALTH_HOLD": "always"}, {})
    listens = {"HEALTH_HOLD": "always", "HEALTH_LISTEN": "127.0.0.1:9000"}
    assert read(listens, {}).hold == "always"
    with pytest.raises(ConfigError) as caught:
        read(listens | {"HEALTH_LISTEN": "9000"}, {})
    assert "HEALTH_HOLD" not in str(caught.value)


def test_all_that_is_wrong_is_in_one_error() -> None:
    """Nobody repairs a configuration one error at a time."""
    wrong = {key(name): row.wrong[0] for name, row in ROWS.items()}
    with pytest.raises(ConfigError) as caught:
        read(wrong, {})
    lines = str(caught.value).splitlines()
    assert [line.split("'")[1] for line in lines] == list(wrong)


def test_init_app_raises_it_and_wires_nothing() -> None:
    """An app whose configuration is wrong is left as it was."""
    app = Flask("local")
    app.config["HEALTH_HOLD"] = "sometimes"
    wsgi_app, blueprints = app.wsgi_app, dict(app.blueprints)
    rules = [rule.rule for rule in app.url_map.iter_rules()]
    health = HealthCheck()
    with pytest.raises(ConfigError, match="HEALTH_HOLD"):
        health.init_app(app)
    assert app.wsgi_app == wsgi_app
    assert app.blueprints == blueprints
    assert [rule.rule for rule in app.url_map.iter_rules()] == rules
    assert not app.extensions
    app.config["HEALTH_HOLD"] = "never"
    health.init_app(app)
    assert app.test_client().get("/health").text == "ok"


def test_a_config_error_is_a_value_error() -> None:
    """Who does not know our exception can still catch it."""
    with pytest.raises(ValueError, match="HEALTH_GATE"):
        read({"HEALTH_GATE": "perhaps"}, {})


@pytest.mark.parametrize("given", [7, ""])
def test_a_secret_is_not_shown(given: object) -> None:
    """Neither an error nor the repr of the configuration tells a token."""
    with pytest.raises(ConfigError) as caught:
        read({"HEALTH_TOKEN": given}, {})
    assert "7" not in str(caught.value)
    assert "s3cret" not in repr(read({"HEALTH_TOKEN": "s3cret"}, {}))


def test_the_address_of_a_webhook_is_not_shown() -> None:
    """Who knows it can write there."""
    with pytest.raises(ConfigError) as caught:
        read({"HEALTH_WEBHOOK_URL": "ftp://hooks.example/s3cret"}, {})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(read({"HEALTH_WEBHOOK_URL": "https://hooks.example/s3cret"}, {}))


@pytest.fixture
def fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets which near misses were warned about."""
    monkeypatch.setattr(configuration, "_warned", set())


@pytest.mark.usefixtures("fresh_warnings")
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("HEALTH_TOKN", "HEALTH_TOKEN"),
        ("HEALTH_ALIAS", "HEALTH_ALIASES"),
        ("HEALTH_GATE_TIMEOUTS", "HEALTH_GATE_TIMEOUT"),
        ("HEALTH_DETIALS", "HEALTH_DETAILS"),
        ("HEALTH_STATEDIR", "HEALTH_STATE_DIR"),
    ],
)
def test_a_near_miss_is_warned_about_once(
    given: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A key within two letters of ours is named, with ours, however many apps have it."""
    for _ in range(3):
        read({given: "x"}, {})
    assert [record.getMessage() for record in caplog.records] == [
        f"'{given}' is not a key of Flask-Health: did you mean '{meant}'?"
    ]


@pytest.mark.usefixtures("fresh_warnings")
@pytest.mark.parametrize(
    "given", ["HEALTH_CHECK_DATABASE", "HEALTH_TEAM", "HEALTHY", "WEALTH_TOKEN", "HEALTH_"]
)
def test_other_keys_are_the_apps_own(given: str, caplog: pytest.LogCaptureFixture) -> None:
    """A key that resembles none of ours is nobody's business."""
    with caplog.at_level(logging.DEBUG):
        assert repr(read({given: object()}, {})) == repr(read({}, {}))
    assert not caplog.records


def test_the_configuration_is_frozen() -> None:
    """What `init_app` has read stays, whatever the app does to its config later."""
    app = Flask("local")
    HealthCheck(app)
    app.config["HEALTH_URL_PREFIX"] = "/elsewhere"
    assert app.test_client().get("/health").status_code == 200
    assert app.test_client().get("/elsewhere").status_code == 404
    with pytest.raises(AttributeError):
        read({}, {}).gate = False
