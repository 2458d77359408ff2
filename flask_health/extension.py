"""`HealthCheck`: registers setup steps, and wires the rooms to an app."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import os
import typing as t
import weakref

import flask

from . import config as configuration
from .model.report import Report
from .web import paths, render
from .web.about import About
from .web.blueprint import make_blueprint
from .web.details import Details
from .web.early import Early
from .web.probe import Probes
from .workers import steps
from .workers.gate import Gate, GateOptions
from .workers.locate import locate
from .workers.server import Role, next_ordinal
from .workers.steps import Scope, Step
from .workers.survey import survey
from .workers.verdict import Verdict

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

F = t.TypeVar("F", bound=cabc.Callable[..., object])

STATE = "health.state"
"""Where an app keeps what the extension needs for it: a key of `app.extensions`. The extension
itself only knows its apps weakly, so that an app that a test made can be forgotten."""


@dataclasses.dataclass
class _Wired:
    """What the extension keeps for one app."""

    gate: Gate
    verdict: Verdict


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
        self._steps: dict[str, Step] = {}
        self._authorize: cabc.Callable[[flask.Request], bool] | None = None
        self._apps: weakref.WeakSet[flask.Flask] = weakref.WeakSet()
        if setup is not None:
            self.setup(setup, name=steps.proper_name(setup) or "setup")
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
        ours = paths.of(config)
        paths.check_room(app, ours, self._blueprint_name)

        gate = self._make_gate(app, config)
        wired = _Wired(gate, Verdict(gate))
        probes = self._make_probes(app, config, wired)
        for path, probe in ours.items():
            probes.add(paths.in_environ(path), probe)
        app.register_blueprint(make_blueprint(app, self._blueprint_name, config, ours, probes))
        paths.keep_room(app, ours)
        app.wsgi_app = probes  # type: ignore[method-assign]
        app.extensions["health"] = self
        app.extensions[STATE] = wired
        self._apps.add(app)

    def _make_gate(self, app: flask.Flask, config: configuration.Config) -> Gate:
        def call(step: Step) -> object:
            def inside() -> object:
                with app.app_context():
                    return steps.finished(step, app.ensure_sync(step.function)())

            return steps.call_natively(inside) if step.native_thread else inside()

        options = GateOptions(
            app_name=app.name,
            state_dir=config.state_dir,
            min_workers=config.min_workers,
            hold=config.hold,
            setup_timeout=config.setup_timeout,
            exit_on_failure=config.exit_on_setup_failure,
        )
        return Gate(
            locate(config.workers),
            next_ordinal(app.name),
            options,
            steps=lambda: list(self._steps.values()),
            call=call,
            testing=lambda: app.testing,
        )

    def _make_probes(self, app: flask.Flask, config: configuration.Config, wired: _Wired) -> Probes:
        details = Details(app, config, lambda: self._authorize)
        about = About(app, config)

        def detailed(
            probe: str, good: bool, environ: WSGIEnvironment
        ) -> tuple[str, render.Headers, bytes]:
            as_json = render.wants_json(environ)
            report = survey(wired.gate, probe, good)
            seen = about() if as_json and details.visible_to(environ) else None
            return render.answer(report, as_json, seen)

        return Probes(
            app.wsgi_app,
            wired.gate,
            wired.verdict,
            detailed,
            Early(app, wired.gate, config),
        )

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
            and the others wait for it.
        :param timeout: seconds after which it counts as failed; default: `HEALTH_SETUP_TIMEOUT`.
        :param retries: how often it is tried again after it raised, after 1, 2, 4 ... 60 s;
            0: never. Default: for ever, but never under `TESTING`.
        :param native_thread: under gevent, run it on a native thread instead of in a greenlet.
        :raises TypeError: for something that cannot be called without arguments.
        :raises ValueError: for a wrong name, scope, timeout or number, or another step's name.
        :raises RuntimeError: once setup has started.
        """
        if fn is None:
            return lambda function: self._register(
                function, name, scope, timeout, retries, native_thread
            )
        return self._register(fn, name, scope, timeout, retries, native_thread)

    def _register(self, fn: F, *options: t.Any) -> F:
        step = steps.make_step(fn, *options)
        earlier = self._steps.get(step.name.lower())
        if earlier is None and any(self._of(app).gate.begun for app in self._apps):
            raise RuntimeError(
                f"Setup step '{step.name}' comes too late: setup has started. Did you register "
                "it inside a view or another step?"
            )
        if earlier is not None and not steps.same_function(earlier.function, fn):
            raise ValueError(
                f"Two setup steps are named '{step.name}'. Did you mean to give one of them "
                "another name, with @health.setup(name=...)?"
            )
        self._steps[step.name.lower()] = step
        return fn

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

        :param wait: also wait until setup has finished, and raise its exception if it failed.
        """
        if wait and steps.running.get():
            raise RuntimeError("start(wait=True) inside a setup step would wait for itself")
        gate = self.gate
        if gate.server.role is not Role.ALONE:
            return
        gate.begin()
        if wait:
            error = gate.settle(None)
            if error is not None:
                raise error

    def progress(self, fraction: float, note: str = "") -> None:
        """Tells how far the running setup step has come. Outside a step it does nothing, so that
        a step's function can be called from a script too.

        :param fraction: from 0 to 1.
        :param note: for people: what it is at.
        :raises ValueError: for a fraction outside 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"'fraction' must be a number from 0 to 1, not {fraction!r}")
        progress = steps.running.get()
        if progress is not None:
            progress.fraction, progress.note = float(fraction), note

    def report(self, probe: str = "ready") -> Report:
        """The report that the answers of a probe are made of, for the current or only app.

        :raises ValueError: for a probe that does not exist.
        """
        if probe not in configuration.PROBES:
            raise ValueError(
                f"'probe' must be one of {', '.join(configuration.PROBES)}, not {probe!r}"
            )
        wired = self._current()
        ask = {"live": wired.verdict.live, "startup": wired.verdict.startup}
        return survey(wired.gate, probe, ask.get(probe, wired.verdict.ready)())

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

    def _of(self, app: flask.Flask) -> _Wired:
        if app.extensions.get("health") is not self:
            raise RuntimeError(
                f"This app ({app.name!r}) is not wired to this HealthCheck. Did you forget to "
                "call 'init_app', or did you create several HealthCheck instances?"
            )
        return t.cast(_Wired, app.extensions[STATE])

    def _current(self) -> _Wired:
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
