"""`HealthCheck`: registers setup steps, and wires the rooms to an app."""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t
import weakref

import flask

from . import config as configuration
from .wired import Wired
from .wiring import wire
from .workers.gate import Gate
from .workers.registry import Registry
from .workers.running import running

if t.TYPE_CHECKING:
    from typing_extensions import Unpack

    from .model.check import Check, CheckScope, Probe
    from .model.report import Report
    from .workers.checking import CheckOptions
    from .workers.steps import Scope, Step

    F = t.TypeVar("F", bound=cabc.Callable[..., object])

STATE = "health.state"
"""Where an app keeps what the extension needs for it: a key of `app.extensions`. The extension
itself only knows its apps weakly, so that an app that a test made can be forgotten."""


class HealthCheck:
    """Health probes for a Flask app that are true for all workers of its server.

    `/health` answers `ok` or `not ready`, `/health/live`, `/health/ready` and `/health/startup`
    the same per probe, and business requests wait outside until setup has finished.

    :param app: the app to wire at once; without it call :meth:`init_app`.
    :param setup: a first setup step, as with :meth:`setup`.
    :param blueprint_name: the name of the blueprint, for `url_for("health.ready")`.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        *,
        setup: cabc.Callable[[], object] | None = None,
        blueprint_name: str = "health",
    ) -> None:
        self._blueprint_name = blueprint_name
        self._authorize: cabc.Callable[[flask.Request], bool] | None = None
        self._apps: weakref.WeakSet[flask.Flask] = weakref.WeakSet()
        self._registry = Registry(
            begun=lambda: any(self._of(app).gate.begun for app in self._apps),
            fits=self._fits,
        )
        if setup is not None:
            self.setup(setup, name=_name(setup))
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Wires an app: reads its `HEALTH_*` configuration, registers the blueprint, and puts the
        probes and the gate in front of `app.wsgi_app`.

        :raises RuntimeError: for an app that is wired already or has begun to serve.
        :raises ConfigError: naming every key that is wrong, its value and what would be right.
        :raises ValueError: when a rule or blueprint of the app is where ours would be.
        """
        if "health" in app.extensions:
            raise RuntimeError(
                f"This app ({app.name!r}) has a HealthCheck already. Did you pass it to "
                "HealthCheck(app) and call 'init_app' too?"
            )
        if getattr(app, "_got_first_request", False):
            raise RuntimeError(
                "'init_app' must be called before the app handles its first request. Did you "
                "create HealthCheck inside a view?"
            )
        config = configuration.read(app.config, os.environ)
        wired = wire(app, config, self._registry, self._blueprint_name, lambda: self._authorize)
        app.extensions["health"] = self
        app.extensions[STATE] = wired
        self._apps.add(app)

    @t.overload
    def setup(
        self,
        fn: F,
        /,
        *,
        name: str | None = None,
        scope: Scope = "worker",
        timeout: float | None = None,
        retries: int | None = None,
        native_thread: bool = False,
    ) -> F: ...

    @t.overload
    def setup(
        self,
        fn: None = None,
        /,
        *,
        name: str | None = None,
        scope: Scope = "worker",
        timeout: float | None = None,
        retries: int | None = None,
        native_thread: bool = False,
    ) -> cabc.Callable[[F], F]: ...

    def setup(
        self,
        fn: t.Any = None,
        /,
        *,
        name: str | None = None,
        scope: Scope = "worker",
        timeout: float | None = None,
        retries: int | None = None,
        native_thread: bool = False,
    ) -> t.Any:
        """Registers a setup step: a callable without arguments that has to end well before the
        gate opens. Steps run in the order of registration, in a background thread, inside an app
        context. Hands the function back unchanged; usable with and without arguments.

        :param name: letters, digits, `_` and `-`; default: the function's own.
        :param scope: `"worker"`: every worker runs it; `"server"`: one worker runs it for all,
            and the others wait for it; `"fleet"`: one worker of all servers that share
            `HEALTH_FLEET_URL`, once for each release.
        :param timeout: seconds after which it counts as failed; default: `HEALTH_SETUP_TIMEOUT`.
        :param retries: how often it is tried again after it raised, after 1, 2, 4 ... 60 s;
            0: never. Default: for ever, but never under `TESTING`.
        :param native_thread: under gevent, run it on a native thread instead of in a greenlet.
        :raises TypeError: for something that cannot be called without arguments.
        :raises ValueError: for a wrong name, scope, timeout or number, or another step's name.
        :raises RuntimeError: once setup has started.
        """

        def register(function: F) -> F:
            self._registry.add_step(function, name, scope, timeout, retries, native_thread)
            return function

        return register if fn is None else register(fn)

    @t.overload
    def check(self, fn: F, /, **options: Unpack[CheckOptions]) -> F: ...

    @t.overload
    def check(
        self, fn: None = None, /, **options: Unpack[CheckOptions]
    ) -> cabc.Callable[[F], F]: ...

    def check(self, fn: t.Any = None, /, **options: t.Any) -> t.Any:
        """Registers a check: a callable without arguments that returns when all is well and raises
        when it is not. It runs in the background, inside an app context, never in a probe. Hands
        the function back unchanged; usable with and without arguments.

        Returning `False` fails; a number, or a number with its unit, is the observed value;
        raising :class:`Degraded` warns.

        :param options: as with :meth:`add_check`, and `name`: letters, digits, `_` and `-`;
            default: the function's own.
        """

        def register(function: F) -> F:
            self.add_check(options.pop("name", None), function, **options)
            return function

        return register if fn is None else register(fn)

    def add_check(
        self,
        name: str | None,
        fn: cabc.Callable[[], object],
        *,
        probes: cabc.Sequence[Probe] = ("ready",),
        critical: bool = True,
        scope: CheckScope = "server",
        timeout: float = 5.0,
        interval: float = 10.0,
        retry_interval: float = 2.0,
        failure_threshold: int = 3,
        success_threshold: int = 1,
        panic: bool = False,
    ) -> None:
        """Registers a check, as :meth:`check` does; for ready-made ones.

        :param probes: the probes that it is part of: `"live"`, `"ready"`, `"startup"`. For
            liveness use checks of this process alone.
        :param critical: whether its failure fails the probe; else it is warned of, with HTTP 200.
        :param scope: `"server"`: one worker runs it for all; `"worker"`: each for itself, and one
            that fails a critical check counts as not ready; `"fleet"`: one server runs it for all
            that share `HEALTH_FLEET_URL`.
        :param timeout: seconds after which a run counts as failed. It is not stopped, and not
            started again before it ends; while it hangs it fails anew at each retry.
        :param interval: seconds between two runs, less 5 to 10 % at random.
        :param retry_interval: the same while it fails, or a change is being confirmed; never more
            than `interval`.
        :param failure_threshold: failing runs in a row that make it fail; the very first result
            applies at once.
        :param success_threshold: good runs in a row that make it pass again.
        :param panic: whether it is only warned of while it fails on more than
            `HEALTH_FLEET_PANIC` of all servers; for checks of one's own server that are part of
            `"ready"` alone.
        :raises TypeError: for something that cannot be called without arguments.
        :raises ValueError: for a wrong argument, another check's name, or when a rule of an app is
            where the check would be told.
        :raises RuntimeError: once setup has started.
        """
        check = self._registry.add_check(
            fn,
            name,
            probes=probes,
            critical=critical,
            scope=scope,
            timeout=timeout,
            interval=interval,
            retry_interval=retry_interval,
            failure_threshold=failure_threshold,
            success_threshold=success_threshold,
            panic=panic,
        )
        for app in self._apps:
            self._of(app).show(check)

    def authorize(self, fn: F) -> F:
        """Registers `fn(request) -> bool`: whether the sender of a request may see details.

        It runs outside the app's hooks; one that raises authorizes nobody.
        """
        if not callable(fn):
            raise TypeError(f"'authorize' takes a function of the request, not {fn!r}")
        self._authorize = t.cast("cabc.Callable[[flask.Request], bool]", fn)
        return fn

    def start(self, wait: bool = False) -> None:
        """Starts setup now, where no server does it: in a test or a script. In a worker of a
        server it does nothing: the server starts setup just before it accepts.

        :param wait: also wait until setup has finished, and raise its exception if it failed;
            then until every check has had its first result, or timeout.
        """
        if wait and running.get():
            raise RuntimeError("start(wait=True) inside a setup step would wait for itself")
        gate = self.gate
        if gate.server.role != "alone":
            return
        gate.begin()
        if wait:
            error = gate.settle(None)
            if error is not None:
                raise error
            self._current().await_checks()

    def progress(self, fraction: float, note: str = "") -> None:
        """Tells how far the running setup step has come. Outside a step it does nothing, so that
        a step's function can be called from a script too.

        :param fraction: from 0 to 1.
        :param note: for people: what it is at.
        :raises ValueError: for a fraction outside 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"'fraction' must be a number from 0 to 1, not {fraction!r}")
        progress = running.get()
        if progress is not None:
            progress.fraction, progress.note = float(fraction), note

    @property
    def fencing(self) -> int | None:
        """The fencing number of the setup step that is running, if it runs for the whole fleet:
        greater than that of any server that had its lease before. None for other steps.

        :raises LeaseLostError: once the lease is lost, so that another server may run the step.
        """
        progress = running.get()
        return progress.fencing() if progress is not None and progress.fencing else None

    def report(self, probe: str = "ready") -> Report:
        """The report that the answers of a probe are made of, for the current or only app.

        :raises ValueError: for a probe that does not exist.
        """
        if probe not in configuration.PROBES:
            raise ValueError(
                f"'probe' must be one of {', '.join(configuration.PROBES)}, not {probe!r}"
            )
        return self._current().report(probe)

    def drain(self) -> None:
        """Turns readiness red for the whole server, for good, and leaves everything else as it
        is. For the current or only app.
        """
        from .workers import orders

        self._current().order(orders.drain)

    def pause(self, reason: str = "") -> None:
        """Turns readiness red for the whole server until :meth:`resume`. A second pause replaces
        the reason. For the current or only app.

        :param reason: for people: shown in the details.
        :raises TypeError: for a reason that is no text.
        :raises OSError: when the state directory takes no file.
        """
        from .workers import orders

        self._current().order(lambda gate: orders.pause(gate, reason))

    def resume(self) -> None:
        """Ends a pause; without one it does nothing. It does not undo :meth:`drain`.

        :raises OSError: when the pause cannot be removed from the state directory.
        """
        from .workers import orders

        self._current().order(orders.resume)

    @property
    def gate(self) -> Gate:
        """The init gate of the current app, or of the only one.

        :raises RuntimeError: with several apps and no app context, or without any app.
        """
        return self._current().gate

    def gate_for(self, app: flask.Flask) -> Gate:
        """The init gate of an app.

        :raises RuntimeError: for an app that this extension was never wired to.
        """
        return self._of(app).gate

    def _fits(self, registered: Step | Check) -> None:
        for app in self._apps:
            self._of(app).fits(registered)

    def _of(self, app: flask.Flask) -> Wired:
        if app.extensions.get("health") is not self:
            raise RuntimeError(
                f"This app ({app.name!r}) is not wired to this HealthCheck. Did you forget to "
                "call 'init_app', or did you create several HealthCheck instances?"
            )
        return t.cast(Wired, app.extensions[STATE])

    def _current(self) -> Wired:
        if flask.has_app_context():
            app = flask.current_app._get_current_object()  # type: ignore[attr-defined]
            return self._of(app)
        apps = list(self._apps)
        if len(apps) == 1:
            return self._of(apps[0])
        if not apps:
            raise RuntimeError("No app is wired. Did you forget to call 'init_app'?")
        raise RuntimeError(
            "Several apps are wired and no app context is active: use 'health.gate_for(app)'."
        )


def _name(setup: cabc.Callable[[], object]) -> str:
    """The name of a setup that is given to the constructor: its own, where that is a plain one."""
    from .workers.registering import proper_name

    return proper_name(setup) or "setup"
