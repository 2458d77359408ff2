"""`HealthCheck` as its users meet it: wiring apps, registering steps, the gate, the report."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, current_app
from support.local import DEADLINE, Background, Blocked, call, make_app, worker_gate
from support.waiting import eventually

from flask_health import HealthCheck, Status
from flask_health.workers.registering import RESERVED


def load() -> None:
    """A step that does nothing."""


def names(health: HealthCheck, app: Flask) -> list[str]:
    """The steps that an app's setup has run, in order."""
    with app.app_context():
        health.start(wait=True)
        return [step.name for step in health.report().steps]


# Wiring


def test_one_extension_serves_two_apps() -> None:
    """Each app has a gate of its own; a step of the extension runs once in each."""
    seen: list[str] = []
    health = HealthCheck()
    health.setup(lambda: seen.append(current_app.name), name="note")
    first, second = make_app("first"), make_app("second")
    health.init_app(first)
    health.init_app(second)
    assert health.gate_for(first) is not health.gate_for(second)
    assert call(first, "/work").code == 200
    assert seen == ["first"]
    assert not health.gate_for(second).is_open
    assert call(second, "/work").code == 200
    assert seen == ["first", "second"]


def test_two_extensions_serve_two_apps() -> None:
    """What is registered with one extension is unknown to the other."""
    first, second = make_app("first"), make_app("second")
    one, other = HealthCheck(first, setup=load), HealthCheck(second)
    assert names(one, first) == ["load"]
    assert names(other, second) == []


@pytest.mark.parametrize("again", ["same", "another"])
def test_an_app_is_wired_once(again: str) -> None:
    """A second `init_app` for an app asks whether it was wired in the constructor."""
    app = make_app()
    health = HealthCheck(app)
    with pytest.raises(RuntimeError, match=r"has a HealthCheck already\. Did you"):
        (health if again == "same" else HealthCheck()).init_app(app)


def test_wiring_comes_before_the_first_request() -> None:
    """An app that has begun to serve is refused, with the likely reason."""
    app = make_app()
    app.test_client().get("/work")
    with pytest.raises(RuntimeError, match=r"before the app handles its first request\. Did you"):
        HealthCheck(app)


def test_an_unknown_app_is_refused() -> None:
    """The gate of an app that was never wired does not exist; the error asks for `init_app`."""
    app = make_app("known")
    health = HealthCheck(app)
    unknown = make_app("unknown")
    for ask in (health.gate_for, HealthCheck().gate_for):
        with pytest.raises(RuntimeError, match="'unknown'.*forget to call 'init_app'"):
            ask(unknown)
    with unknown.app_context(), pytest.raises(RuntimeError, match="'unknown'"):
        health.gate  # noqa: B018


def test_an_app_of_another_extension_is_unknown() -> None:
    """Two instances are not mixed up."""
    app = make_app()
    HealthCheck(app)
    with pytest.raises(RuntimeError, match="several HealthCheck instances"):
        HealthCheck().gate_for(app)


def test_the_gate_of_the_only_app_needs_no_context() -> None:
    """With one app `health.gate` is its gate, anywhere."""
    app = make_app()
    health = HealthCheck(app)
    assert health.gate is health.gate_for(app)
    with app.app_context():
        assert health.gate is health.gate_for(app)


def test_the_gate_of_several_apps_needs_a_context() -> None:
    """With several apps it is the current one's; without a context the error names `gate_for`."""
    first, second = make_app("first"), make_app("second")
    health = HealthCheck(first)
    health.init_app(second)
    with pytest.raises(RuntimeError, match=r"health\.gate_for\(app\)"):
        health.gate  # noqa: B018
    with second.app_context():
        assert health.gate is health.gate_for(second)


def test_without_an_app_there_is_no_gate() -> None:
    """The error asks for `init_app`."""
    health = HealthCheck()
    asks: list[Callable[[], object]] = [lambda: health.gate, health.start, health.report]
    for ask in asks:
        with pytest.raises(RuntimeError, match="Did you forget to call 'init_app'"):
            ask()


def test_the_extension_is_found_on_the_app() -> None:
    """`app.extensions["health"]` is the instance, and the blueprint is named health."""
    app = make_app()
    health = HealthCheck(app)
    assert app.extensions["health"] is health
    assert "health" in app.blueprints
    assert not hasattr(health, "app")


def test_wiring_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`init_app` starts no thread, calls no step, writes no file."""
    monkeypatch.setenv("FLASK_HEALTH_STATE_DIR", str(tmp_path))
    started: list[str] = []
    start, me = threading.Thread.start, threading.get_ident()

    def noted_start(thread: threading.Thread) -> None:
        if threading.get_ident() == me:  # What an earlier test has left behind may go on meanwhile.
            started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted_start)
    blocked = Blocked()
    app = make_app()
    health = HealthCheck(app, setup=blocked)
    assert not started
    assert not blocked.calls
    assert health.gate.state == "pending"
    assert not list(tmp_path.iterdir())


def test_the_variables_of_the_caller_are_not_kept() -> None:
    """Where gunicorn is imported, its frames are looked for; only their variables are read."""
    pytest.importorskip("gunicorn.arbiter")
    app = make_app("made")
    HealthCheck(app)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def test_a_factory_called_a_thousand_times_leaves_nothing() -> None:
    """No thread, no descriptor, no app, extension or gate is left behind."""

    def factory() -> Flask:
        app = make_app("made")
        HealthCheck(app, setup=load)
        return app

    kept = make_app("made")
    HealthCheck(kept)
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    left: weakref.WeakSet[Any] = weakref.WeakSet()
    for number in range(1000):
        app = factory()
        left.update([app, app.extensions["health"], app.extensions["health"].gate])
        if number % 100 == 0:
            assert call(app, "/work").code == 200
    del app
    eventually(threading.active_count, lambda now: now <= threads, within=DEADLINE, why="threads")
    gc.collect()
    assert len(left) == 0
    assert len(list(Path("/proc/self/fd").iterdir())) <= files
    assert call(kept).word == (200, "ok")


def test_one_extension_forgets_the_apps_of_its_factory() -> None:
    """A module's extension holds no app that a test has finished with."""
    health = HealthCheck()

    def factory() -> Flask:
        app = make_app("made")
        health.init_app(app)
        return app

    left = weakref.WeakSet(factory() for _ in range(20))
    gc.collect()
    assert len(left) == 0
    app = factory()
    assert health.gate is health.gate_for(app)


# Registering steps


def test_a_decorator_hands_the_function_back() -> None:
    """With and without arguments, and as a plain call."""
    health = HealthCheck()

    def bare() -> None: ...
    def called() -> None: ...
    def named() -> None: ...
    def plain() -> None: ...

    assert health.setup(bare) is bare
    assert health.setup()(called) is called
    assert health.setup(name="other", scope="server", timeout=5)(named) is named
    assert health.setup(plain, name="fourth") is plain
    app = make_app()
    health.init_app(app)
    assert names(health, app) == ["bare", "called", "other", "fourth"]


def test_steps_run_in_the_order_of_registration() -> None:
    """The constructor's step is the first."""
    seen: list[int] = []
    app = make_app()
    health = HealthCheck(app, setup=lambda: seen.append(0))
    for number in range(1, 6):
        health.setup(functools.partial(seen.append, number), name=f"step{number}")
    health.start(wait=True)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_the_constructors_lambda_is_named_setup() -> None:
    """The constructor has no `name=`: there a callable without a name gets one."""
    app = make_app()
    assert names(HealthCheck(app, setup=lambda: None), app) == ["setup"]
    app = make_app()
    assert names(HealthCheck(app, setup=load), app) == ["load"]


@pytest.mark.parametrize(
    "nameless", [lambda: None, functools.partial(print)], ids=["lambda", "partial"]
)
def test_a_step_needs_a_name(nameless: Callable[..., object]) -> None:
    """A callable without a plain name is refused with `name=`, and accepted with it."""
    health = HealthCheck()
    with pytest.raises(ValueError, match="no plain name: pass 'name='"):
        health.setup(nameless)
    assert health.setup(nameless, name="named") is nameless


@pytest.mark.parametrize("name", ["", " ", "a b", "a.b", "ä", "a/b", "x" * 65, 7, "a\n"])
def test_a_wrong_name_is_refused(name: Any) -> None:
    """The error shows the name and says what a name is made of."""
    with pytest.raises(ValueError, match="1 to 64 letters") as caught:
        HealthCheck().setup(load, name=name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["x", "x" * 64, "A-b_9", "0"])
def test_a_right_name_is_accepted(name: str) -> None:
    """1 to 64 letters, digits, `_` and `-`."""
    app = make_app()
    health = HealthCheck(app)
    health.setup(load, name=name)
    assert names(health, app) == [name]


@pytest.mark.parametrize("name", [*sorted(RESERVED), "Status", "LIVE"])
def test_a_reserved_name_is_refused(name: str) -> None:
    """Names that paths and members of ours have are not available, in any case."""
    with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
        HealthCheck().setup(load, name=name)


@pytest.mark.parametrize("second", ["load", "LOAD", "Load"])
def test_two_steps_of_one_name_are_refused(second: str) -> None:
    """Case makes no difference; the error names the step and says how to name it otherwise."""
    health = HealthCheck()
    health.setup(load)
    with pytest.raises(ValueError, match=f"Two setup steps are named '{second}'.*name=") as caught:
        health.setup(lambda: None, name=second)
    assert "Did you mean" in str(caught.value)


def test_the_same_function_replaces_the_earlier_one() -> None:
    """A factory that defines its step at each call has it once, in its place, the newest."""
    health = HealthCheck()
    seen: list[str] = []

    def factory(text: str) -> Flask:
        @health.setup
        def note() -> None:
            seen.append(text)

        health.setup(load)
        app = make_app("made")
        health.init_app(app)
        return app

    factory("first")
    app = factory("second")
    assert names(health, app) == ["note", "load"]
    assert seen == ["second"]


@pytest.mark.parametrize("wrong", [None, 7, "load"])
def test_a_setup_that_is_not_callable_is_refused(wrong: Any) -> None:
    """The error shows what was given instead."""
    with pytest.raises(TypeError, match=f"must be callable, not {wrong!r}"):
        HealthCheck().setup(name="step")(wrong)


def test_a_wrong_setup_in_the_constructor_wires_nothing() -> None:
    """A result instead of a function, `setup=load()` or `setup=7`, does not go unnoticed."""
    app = make_app()
    with pytest.raises(TypeError, match="must be callable"):
        HealthCheck(app, setup=7)  # type: ignore[arg-type]
    assert not app.extensions


@pytest.mark.parametrize(
    "wrong", [lambda app: None, lambda *, x: None, lambda x, y=1: None, int.from_bytes]
)
def test_a_step_takes_no_arguments(wrong: Callable[..., object]) -> None:
    """A function that requires arguments is refused by name, at its line."""
    with pytest.raises(TypeError, match="'needy' is called without arguments: missing"):
        HealthCheck().setup(wrong, name="needy")


@pytest.mark.parametrize("right", [lambda *args: None, lambda x=1, **more: None, dict, Blocked])
def test_optional_arguments_are_fine(right: Callable[..., object]) -> None:
    """What can be called without arguments is a step."""
    assert HealthCheck().setup(right, name="step") is right


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "process"}, "'scope' of setup step 'load' must be .*, not 'process'"),
        ({"scope": None}, "'scope' of setup step 'load' must be .*, not None"),
        ({"timeout": -1}, "'timeout' of setup step 'load' must be .*> 0, not -1"),
        ({"timeout": 0}, "'timeout' of setup step 'load' must be .*> 0, not 0"),
        ({"timeout": "5"}, "'timeout' of setup step 'load' must be .*, not '5'"),
        ({"timeout": True}, "'timeout' of setup step 'load' must be .*, not True"),
        ({"timeout": float("nan")}, "'timeout' of setup step 'load' must be .*, not nan"),
        ({"timeout": float("inf")}, "'timeout' of setup step 'load' must be .*, not inf"),
        ({"retries": -1}, "'retries' of setup step 'load' must be .*, not -1"),
        ({"retries": 1.5}, "'retries' of setup step 'load' must be .*, not 1.5"),
        ({"retries": True}, "'retries' of setup step 'load' must be .*, not True"),
    ],
    ids=repr,
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    """The error names the option, the step and the value, and the step is not registered."""
    app = make_app()
    health = HealthCheck(app)
    with pytest.raises(ValueError, match=message):
        health.setup(**options)(load)
    assert names(health, app) == []


def test_a_step_that_comes_too_late_is_refused() -> None:
    """Once setup has started a new step would never run."""
    app = make_app()
    health = HealthCheck(app)
    call(app)
    with pytest.raises(RuntimeError, match=r"'load' comes too late.*Did you"):
        health.setup(load)


# Async steps


async def load_async() -> None:
    """An async step that does nothing."""


def test_an_async_step_runs() -> None:
    """It is awaited before the gate opens, inside an app context."""
    seen: list[str] = []
    app = make_app()
    health = HealthCheck(app)

    @health.setup
    async def note() -> None:
        await load_async()
        seen.append(current_app.name)

    health.start(wait=True)
    assert seen == ["local"]


def test_an_async_step_needs_asgiref(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the step is refused when it is registered, with what to install."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: name != "asgiref" and find(name, *rest)
    )
    with pytest.raises(ValueError, match=r"'load_async' is async: install 'flask\[async\]'"):
        HealthCheck().setup(load_async)
    assert HealthCheck().setup(load) is load


class AsyncCallable:
    """An object whose call is async, which no inspection of functions shows."""

    async def __call__(self) -> None:
        """Does nothing."""


@pytest.mark.parametrize(
    "hidden",
    [AsyncCallable(), functools.partial(lambda make: make(), load_async)],
    ids=["object", "function"],
)
def test_a_coroutine_is_not_forgotten(hidden: Callable[[], object]) -> None:
    """A step that only hands out a coroutine has done nothing: it never counts as done."""
    app = make_app(TESTING=True)
    health = HealthCheck(app)
    health.setup(hidden, name="hidden")
    with pytest.raises(TypeError, match="hidden"):
        health.start(wait=True)
    assert not health.gate.is_open


# Starting


def test_start_waits_for_setup() -> None:
    """`start(wait=True)` returns once the gate is open."""
    app = make_app()
    health = HealthCheck(app, setup=load)
    health.start(wait=True)
    assert health.gate.is_open
    assert health.gate.local.is_set()
    assert health.gate.event.is_set()


def test_start_does_not_wait_by_itself() -> None:
    """`start()` returns while the step still runs."""
    blocked = Blocked()
    app = make_app()
    health = HealthCheck(app, setup=blocked)
    health.start()
    assert blocked.begun.wait(DEADLINE)
    assert health.gate.state == "running"
    blocked.go.set()
    assert health.gate.wait(DEADLINE)


def test_start_raises_what_the_step_raised() -> None:
    """The very exception, traceback and all, so that a test shows it."""
    error = LookupError("no model")

    def fail() -> None:
        raise error

    app = make_app(TESTING=True)
    health = HealthCheck(app, setup=fail)
    with pytest.raises(LookupError) as caught:
        health.start(wait=True)
    assert caught.value is error
    assert caught.traceback[-1].name == "fail"
    assert health.gate.state == "failed"
    assert not health.gate.is_open


def test_start_again_does_nothing() -> None:
    """Setup runs once, whoever asks."""
    blocked = Blocked()
    blocked.go.set()
    app = make_app()
    health = HealthCheck(app, setup=blocked)
    for _ in range(3):
        health.start(wait=True)
    assert blocked.calls == 1


# The gate


def test_the_gate_goes_from_pending_to_open() -> None:
    """Its state tells how far setup is; both events are set at the end, and the same objects."""
    blocked = Blocked()
    app = make_app()
    health = HealthCheck(app, setup=blocked)
    gate = health.gate
    event, local = gate.event, gate.local
    assert (gate.state, gate.is_open) == ("pending", False)
    health.start()
    assert blocked.begun.wait(DEADLINE)
    assert (gate.state, gate.is_open) == ("running", False)
    assert not event.is_set()
    assert not local.is_set()
    blocked.go.set()
    assert gate.wait(DEADLINE)
    assert (gate.state, gate.is_open) == ("open", True)
    assert gate.event is event
    assert gate.local is local
    assert type(event) is type(local) is threading.Event
    assert event.is_set()
    assert local.is_set()
    assert "open" in repr(gate)


def test_wait_gives_up_after_its_timeout() -> None:
    """`wait` tells whether the gate is open."""
    app = make_app()
    health = HealthCheck(app, setup=load)
    assert health.gate.wait(0) is False
    health.start(wait=True)
    assert health.gate.wait(0) is True


def test_wait_in_a_step_is_refused() -> None:
    """It would wait for itself."""
    app = make_app(TESTING=True)
    health = HealthCheck(app)
    health.setup(health.gate.wait, name="waits")
    with pytest.raises(RuntimeError, match="would wait for itself"):
        health.start(wait=True)


def test_start_with_wait_in_a_step_is_refused() -> None:
    """It would wait for itself as well."""
    app = make_app(TESTING=True)
    health = HealthCheck(app)
    health.setup(lambda: health.start(wait=True), name="waits")
    starting = Background(lambda: health.start(wait=True))
    with pytest.raises(RuntimeError, match="would wait for itself"):
        starting.result()


@pytest.mark.parametrize("which", ["event", "local"])
def test_who_waits_before_setup_starts_is_woken(which: str) -> None:
    """A thread that was started at import may wait for the gate from then on."""
    app = make_app()
    health = HealthCheck(app, setup=load)
    event: threading.Event = getattr(health.gate, which)
    waiting = Background(lambda: event.wait(DEADLINE))
    eventually(lambda: waits_for_a_lock(waiting), why="the thread waits")
    health.start()
    assert waiting.result() is True


def test_who_waits_before_a_worker_starts_is_woken(tmp_path: Path) -> None:
    """The same in a worker of a server: its app may start that thread when it is imported."""
    gate = worker_gate(tmp_path, workers=1)
    waiting = Background(lambda: gate.event.wait(DEADLINE))
    eventually(lambda: waits_for_a_lock(waiting), why="the thread waits")
    gate.begin()
    try:
        assert gate.event.wait(DEADLINE)
        assert waiting.result() is True
    finally:
        gate.told_to_stop()
        gate.leave()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_worker_has_fresh_events(tmp_path: Path) -> None:
    """A lock that another thread of a preloading master held at the fork stays behind: the events
    are the same objects, made anew.
    """
    gate = worker_gate(tmp_path, workers=1)
    event, local = gate.event, gate.local
    with event._cond, local._cond:  # type: ignore[attr-defined]
        child = os.fork()
        if child == 0:
            signal.alarm(round(DEADLINE))
            with suppress(BaseException):
                gate.server.master = os.getppid()
                gate.begin()
                if gate.event.wait(DEADLINE) and gate.event is event and gate.local is local:
                    os._exit(0)
            os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def waits_for_a_lock(background: Background) -> bool:
    """Whether a thread has reached `Condition.wait`."""
    frame = sys._current_frames().get(background._thread.ident or 0)
    while frame:
        if frame.f_code.co_name == "wait" and "waiter" in frame.f_locals:
            return True
        frame = frame.f_back
    return False


def test_a_user_may_set_the_events() -> None:
    """They are plain events: setting `local` lets requests pass."""
    blocked = Blocked()
    app = make_app(HEALTH_GATE_TIMEOUT=0)
    health = HealthCheck(app, setup=blocked)
    assert call(app, "/work").code == 503
    health.gate.local.set()
    assert call(app, "/work").code == 200
    blocked.go.set()


# Progress


def test_progress_is_reported() -> None:
    """What a step tells of itself is in the report while it runs."""
    begun, go = threading.Event(), threading.Event()
    app = make_app()
    health = HealthCheck(app)

    @health.setup
    def migrate() -> None:
        health.progress(0.4, "table 2 of 5")
        begun.set()
        go.wait(DEADLINE)

    health.start()
    assert begun.wait(DEADLINE)
    (step,) = health.report().steps
    assert (step.name, step.state, step.fraction, step.note) == (
        "migrate",
        "running",
        0.4,
        "table 2 of 5",
    )
    go.set()
    health.start(wait=True)
    (step,) = health.report().steps
    assert (step.state, step.fraction) == ("done", None)


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), float("inf")])
def test_progress_goes_from_0_to_1(fraction: float) -> None:
    """Anything else is an error that shows the value."""
    with pytest.raises(ValueError, match="from 0 to 1, not"):
        HealthCheck().progress(fraction)


def test_progress_outside_a_step_is_ignored() -> None:
    """A step's function can be called from a script."""
    HealthCheck().progress(0)
    app = make_app()
    HealthCheck(app).progress(1, "done")


# The report


def test_the_report_is_what_the_probes_say() -> None:
    """Its status is the one that the probe is answered with; a probe it does not know raises."""
    blocked = Blocked()
    app = make_app()
    health = HealthCheck(app, setup=blocked)
    health.start()
    for probe, expected in [("live", 200), ("ready", 503), ("startup", 503), ("health", 503)]:
        assert health.report(probe).status.http_code == expected
        assert health.report(probe).probe == probe
    assert health.report().probe == "ready"
    assert health.report().reason == "setup step 'blocked' not finished"
    blocked.go.set()
    health.start(wait=True)
    for probe in ("live", "ready", "startup", "health"):
        assert health.report(probe).status is Status.PASS
        assert health.report(probe).reason == ""
    with pytest.raises(ValueError, match="'probe' must be one of .*, not 'nope'"):
        health.report("nope")


def test_a_server_of_one_reports_itself() -> None:
    """No state directory, one worker expected, no markers."""
    app = make_app()
    health = HealthCheck(app, setup=load)
    health.start(wait=True)
    report = health.report()
    assert (report.state, report.expected, report.workers, report.gate) == ("local", 1, (), "open")


# The blueprint


def test_the_paths_have_endpoints() -> None:
    """`url_for` knows the probes by their names, aliases by their paths."""
    app = make_app(HEALTH_ALIASES={"/livez": "live", "/k8s/ready.txt": "ready"})
    HealthCheck(app)
    with app.test_request_context():
        from flask import url_for

        assert url_for("health.health") == "/health"
        assert url_for("health.live") == "/health/live"
        assert url_for("health.ready") == "/health/ready"
        assert url_for("health.startup") == "/health/startup"
        assert url_for("health.livez") == "/livez"
        assert url_for("health.k8s_ready_txt") == "/k8s/ready.txt"


def test_a_second_blueprint_of_our_name_is_refused() -> None:
    """The error says how to name ours; with another name both live side by side."""
    app = make_app()
    app.register_blueprint(Blueprint("health", __name__))
    with pytest.raises(ValueError, match="named 'health' already.*blueprint_name="):
        HealthCheck(app)
    assert not app.extensions
    HealthCheck(app, blueprint_name="probes")
    with app.test_request_context():
        from flask import url_for

        assert url_for("probes.ready") == "/health/ready"


def test_a_later_blueprint_of_our_name_is_refused() -> None:
    """Flask itself refuses it, and names it."""
    app = make_app()
    HealthCheck(app)
    with pytest.raises(ValueError, match="'health' is already registered"):
        app.register_blueprint(Blueprint("health", __name__))
