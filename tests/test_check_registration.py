"""Registering checks: what is wrong is said at the line that is wrong, and all of it at once."""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from support.checking import Told
from support.local import call, make_app

from flask_health import HealthCheck, checks
from flask_health.model.check import Check
from flask_health.workers.checking import CheckOptions


def registered(health: HealthCheck) -> list[Check]:
    """The checks of an extension, in order."""
    return health._registry.checks


def test_a_decorator_hands_the_function_back() -> None:
    """With and without arguments; the name is the function's own."""
    health = HealthCheck()

    def database() -> None: ...
    def cache() -> None: ...

    assert health.check(database) is database
    assert health.check(critical=False, timeout=1)(cache) is cache
    assert [(c.name, c.critical, c.timeout) for c in registered(health)] == [
        ("database", True, 5.0),
        ("cache", False, 1.0),
    ]


def test_the_defaults() -> None:
    """As the documentation gives them; one place has them, and both ways to register agree."""
    health = HealthCheck()
    health.add_check("one", Told())
    told = Told()
    health.check(told, name="other")
    one, other = registered(health)
    assert one.probes == other.probes == ("ready",)
    assert (one.critical, one.scope) == (True, "server")
    assert (one.timeout, one.interval, one.retry_interval) == (5.0, 10.0, 2.0)
    assert (one.failure_threshold, one.success_threshold) == (3, 1)
    taken = set(inspect.signature(HealthCheck.add_check).parameters) - {"self", "fn"}
    assert taken == set(CheckOptions.__annotations__)


def test_the_defaults_are_those_of_the_record() -> None:
    """Both ways to register give what `Check` is without options: no default is said twice."""
    health, one, other = HealthCheck(), Told(), Told()
    health.add_check("one", one)
    health.check(other, name="other")
    assert registered(health) == [Check("one", one), Check("other", other)]


def test_everything_wrong_is_said_in_one_message() -> None:
    """A line for each argument, with its value and what would be right."""
    with pytest.raises(ValueError) as raised:
        HealthCheck().add_check(
            "database",
            Told(),
            probes=("ready", "healthy"),  # type: ignore[arg-type]
            scope="cluster",  # type: ignore[arg-type]
            timeout="5s",  # type: ignore[arg-type]
            interval=0,
            retry_interval=float("inf"),
            failure_threshold=0,
            success_threshold=1.5,  # type: ignore[arg-type]
        )
    assert str(raised.value).splitlines() == [
        "'probes' of check 'database' must be a sequence of 'live', 'ready', 'startup', "
        "not ('ready', 'healthy').",
        "'scope' of check 'database' must be one of 'server', 'worker', 'fleet', not 'cluster'.",
        "'timeout' of check 'database' must be a number of seconds > 0, not '5s'.",
        "'interval' of check 'database' must be a number of seconds > 0, not 0.",
        "'retry_interval' of check 'database' must be a number of seconds > 0, not inf.",
        "'failure_threshold' of check 'database' must be a whole number >= 1, not 0.",
        "'success_threshold' of check 'database' must be a whole number >= 1, not 1.5.",
    ]


@pytest.mark.parametrize(
    "options",
    [{"scope": "fleet"}, {"scope": "worker"}, {"probes": ("live",)}, {"probes": ("ready", "live")}],
)
def test_only_a_servers_own_readiness_may_panic(options: dict[str, Any]) -> None:
    """A fleet check is one source, ruled by its own `critical`; nobody overrides liveness."""
    HealthCheck().add_check("database", Told(), panic=True)
    with pytest.raises(ValueError, match="'panic' of check 'database' must be False, but for"):
        HealthCheck().add_check("database", Told(), panic=True, **options)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("probes", "ready"),
        ("probes", ()),
        ("probes", ["health"]),
        ("probes", None),
        ("probes", 5),
        ("probes", [[]]),
        ("scope", None),
        ("scope", []),
        ("timeout", None),
        ("timeout", True),
        ("timeout", -1.0),
        ("timeout", float("nan")),
        ("failure_threshold", True),
        ("failure_threshold", "3"),
        ("success_threshold", -1),
    ],
)
def test_a_wrong_argument_is_named(argument: str, value: object) -> None:
    """Whatever its type: the message names the argument, the check and the value."""
    options: dict[str, Any] = {argument: value}
    with pytest.raises(ValueError, match=f"'{argument}' of check 'database' must be") as raised:
        HealthCheck().add_check("database", Told(), **options)
    assert repr(value)[:40] in str(raised.value)


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "x" * 65, "ä", "a\n", 5, "ready", "GATE", "all", "metrics", "info"]
)
def test_a_wrong_name_is_refused(name: Any) -> None:
    """Names are parts of paths and of `?exclude=`; some are taken."""
    with pytest.raises(ValueError, match="name"):
        HealthCheck().add_check(name, Told())


def test_a_callable_without_a_name_needs_one() -> None:
    """And gets it by `name=`."""
    health = HealthCheck()
    nameless = functools.partial(print)
    with pytest.raises(ValueError, match="pass 'name='"):
        health.check(nameless)
    health.check(nameless, name="prints")
    with pytest.raises(ValueError, match="pass 'name='"):
        health.check(lambda: None)


@pytest.mark.parametrize("function", [None, 5, "SELECT 1"])
def test_what_cannot_be_called_is_no_check(function: Any) -> None:
    """TypeError that shows it."""
    with pytest.raises(TypeError, match="must be callable"):
        HealthCheck().add_check("database", function)


def test_a_function_that_needs_arguments_is_no_check() -> None:
    """It would fail at every run."""

    def database(engine: object) -> None: ...

    with pytest.raises(TypeError, match="Check 'database' is called without arguments"):
        HealthCheck().check(database)  # type: ignore[arg-type,unused-ignore]


def test_two_checks_of_one_name_are_an_error() -> None:
    """Whatever their case; the message names the check and says what to do (A15)."""
    health = HealthCheck()
    health.add_check("Database", Told())
    with pytest.raises(ValueError, match="Two checks are named 'database'.*name=") as raised:
        health.add_check("database", Told())
    assert "@health.check" in str(raised.value)


def test_the_same_function_again_replaces_the_earlier_one() -> None:
    """An app factory that is called twice registers its checks twice."""
    health = HealthCheck()

    def factory(timeout: float) -> None:
        @health.check(timeout=timeout)
        def database() -> None: ...

    factory(1.0)
    factory(2.0)
    assert [c.timeout for c in registered(health)] == [2.0]


def test_a_check_and_a_step_may_have_one_name() -> None:
    """They are told apart wherever they are told."""
    health = HealthCheck()
    health.setup(name="database")(lambda: None)
    health.add_check("database", Told())
    assert len(registered(health)) == 1


def test_checks_come_in_the_order_of_registration() -> None:
    """And belong to all apps of the instance, those wired later too."""
    health = HealthCheck()
    names = ["zeta", "alpha", "mid"]
    for name in names:
        health.add_check(name, Told(), interval=30.0)
    for number in range(2):
        app = make_app(f"app{number}")
        health.init_app(app)
        with app.app_context():
            health.start(wait=True)
            assert [r.name for r in health.report().results] == names


def test_too_late_is_said_so() -> None:
    """Once setup has started a new check would never run; replacing one is no use either."""
    app = make_app()
    health = HealthCheck(app)
    health.add_check("early", Told())
    assert call(app).code in (200, 503)
    with pytest.raises(RuntimeError, match="Check 'late' comes too late") as raised:
        health.add_check("late", Told())
    assert "inside a view" in str(raised.value)


def test_a_check_registered_after_init_app_has_its_path() -> None:
    """The paths follow the registrations."""
    app = make_app(HEALTH_DETAILS="always")
    health = HealthCheck(app)
    health.add_check("database", Told())
    health.start(wait=True)
    assert call(app, "/health/ready/database").code == 200


def test_probes_are_kept_once_each() -> None:
    """A set, a list, a tuple; twice is once."""
    health = HealthCheck()
    health.add_check("database", Told(), probes=["ready", "ready", "startup"])
    assert registered(health)[0].probes == ("ready", "startup")


def test_an_async_check_needs_asgiref(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at registration, not at the first run."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "asgiref" else find(name)
    )

    async def database() -> None: ...

    with pytest.raises(ValueError, match=r"'database' is async: install 'flask\[async\]'"):
        HealthCheck().check(database)


NETWORK: list[tuple[str, Callable[[], Any]]] = [
    ("tcp", lambda: checks.tcp("127.0.0.1", 9)),
    ("http", lambda: checks.http("http://127.0.0.1:9/")),
    ("certificate", lambda: checks.certificate("example.com")),
]


@pytest.mark.parametrize(("name", "make"), NETWORK, ids=[name for name, _ in NETWORK])
def test_a_network_check_is_refused_for_liveness(name: str, make: Callable[[], Any]) -> None:
    """A dependency that is down is no reason to restart; the message says why, and what to use."""
    with pytest.raises(ValueError, match=f"Check '{name}' asks another process") as raised:
        HealthCheck().add_check(name, make(), probes=("ready", "live"))
    assert "restarting every process" in str(raised.value)
    assert "Use 'ready'" in str(raised.value)


def test_a_check_of_the_process_itself_may_be_for_liveness() -> None:
    """The disk and the memory of this machine, and anything of the user's own."""
    health = HealthCheck()
    health.add_check("disk", checks.disk("/", min_free=1), probes=("live",))
    health.add_check("own", Told(), probes=("live",))
    assert [c.probes for c in registered(health)] == [("live",), ("live",)]


def test_a_ready_made_check_knows_its_timeout() -> None:
    """Its driver gives up before the check does."""
    made = checks.tcp("127.0.0.1", 9)
    HealthCheck().add_check("broker", made, timeout=2.0)
    assert made.timeout == 2.0
    assert made.driver_timeout < 2.0
