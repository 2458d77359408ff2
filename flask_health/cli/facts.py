"""What `doctor` and `manifest` know: the app, its gunicorn, and whoever probes it."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

if t.TYPE_CHECKING:
    from ..config import Config
    from ..model.check import Check
    from ..workers.steps import Step

DRAIN_DELAY = 5.0
"""Seconds of red readiness before a server stops, when nothing else is configured."""


class App(t.NamedTuple):
    """What there is to know of an app without starting anything.

    :ivar asked: the `HEALTH_*` keys that the app or its environment sets.
    :ivar authorizes: whether a function was given to `health.authorize`.
    """

    name: str
    config: Config
    checks: cabc.Sequence[Check] = ()
    steps: cabc.Sequence[Step] = ()
    asked: frozenset[str] = frozenset()
    debug: bool = False
    authorizes: bool = False

    @property
    def drain_delay(self) -> float:
        """`HEALTH_DRAIN_DELAY` as a server of several workers has it, in seconds."""
        delay = self.config.drain_delay
        return (0.0 if self.debug else DRAIN_DELAY) if delay is None else delay


class Gunicorn(t.NamedTuple):
    """The settings of gunicorn that matter here; durations in seconds.

    :ivar version: of gunicorn, as its package says.
    :ivar worker_class: its short name: `sync` with several threads is `gthread`.
    :ivar installed: whether `flask_health.gunicorn.install` is in its configuration file.
    :ivar wsgi_app: the app that it was told to serve, `module:name`; empty when it was not.
    :ivar file: the configuration file that was read; empty without one.
    """

    version: tuple[int, ...] = (27, 0, 1)
    workers: int = 1
    worker_class: str = "sync"
    threads: int = 1
    timeout: float = 30.0
    graceful_timeout: float = 30.0
    preload: bool = False
    reuse_port: bool = False
    max_requests: int = 0
    bind: tuple[str, ...] = ("127.0.0.1:8000",)
    worker_tmp_dir: str | None = None
    installed: bool = False
    wsgi_app: str = ""
    file: str = ""

    @property
    def is_sync(self) -> bool:
        """Whether a worker does one request at a time and answers no probe meanwhile."""
        return self.worker_class == "sync"


class Prober(t.NamedTuple):
    """Whoever probes; durations in seconds.

    :ivar period: time between two probes.
    :ivar failures: failing probes in a row that count.
    :ivar timeout: how long it waits for an answer.
    :ivar grace: time between SIGTERM and SIGKILL; None: it stops nothing.
    :ivar by_probe: whether red probes alone take a server out of rotation. Kubernetes also takes
        a pod out because it is being deleted.
    :ivar grace_line: the line that sets `grace`, with `{}` for whole seconds.
    """

    name: str
    period: float
    failures: int
    timeout: float
    grace: float | None
    by_probe: bool
    grace_line: str = ""

    @property
    def patience(self) -> float:
        """Seconds of failing probes until it acts, at most."""
        return self.period * self.failures

    @property
    def reaction(self) -> float:
        """The same and the last answer, which it may have to wait for."""
        return self.patience + self.timeout


PROBERS: dict[str, Prober] = {
    prober.name: prober
    for prober in (
        Prober("kubernetes", 10, 3, 1, 30, False, "terminationGracePeriodSeconds: {}"),
        Prober("docker", 30, 3, 30, 10, False, "stop_grace_period: {}s"),
        Prober("systemd", 10, 3, 1, 90, False, "TimeoutStopSec={}"),
        Prober("haproxy", 2, 3, 2, None, True),
        Prober("aws", 30, 2, 5, 30, True, "StopTimeout: {}"),
    )
}
"""Probers by name, with their own defaults (`aws`: an ALB before ECS)."""


class Facts(t.NamedTuple):
    """All of it.

    :ivar gunicorn: None when its configuration could not be read: nothing is said of it then.
    :ivar bases: the directories that could hold the state directory, best first.
    :ivar mounts: the text of `/proc/mounts`; empty where there is none.
    """

    app: App
    gunicorn: Gunicorn | None
    prober: Prober = PROBERS["kubernetes"]
    bases: cabc.Sequence[str] = ()
    mounts: str = ""
