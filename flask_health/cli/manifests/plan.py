"""The numbers of a manifest: they agree with one another, with the app and with its gunicorn.

period x threshold + timeout + 1 <= drain delay < graceful timeout < grace period
"""

from __future__ import annotations

import math
import re
import typing as t

from ..facts import App, Gunicorn

MARGIN = 1
"""Seconds that news of a red probe takes to reach all that route requests."""
SPARE = 5
"""Seconds between the end of gunicorn's own stop and SIGKILL from outside."""
PRE_STOP = 1
"""Seconds that `flask-health drain` may take."""
UNKNOWN_STEP = 300
"""Seconds granted to a setup step that has no timeout."""
LISTEN_PORT = 9000
"""The second port, where the app configures none."""


class Choices(t.NamedTuple):
    """What the caller of `manifest` chose; see the options of the command."""

    name: str = ""
    image: str = ""
    host: str = ""
    replicas: int = 2
    servers: tuple[str, ...] = ()
    directory: str = ""
    wsgi_app: str = ""
    fleet: bool = False


class Rhythm(t.NamedTuple):
    """How a prober asks; whole seconds.

    :ivar needs: the drain delay in seconds that is long enough for it.
    """

    period: int
    failures: int
    timeout: int

    @property
    def reaction(self) -> int:
        """Seconds until it has acted on a server that has turned red."""
        return self.period * self.failures + self.timeout

    @property
    def needs(self) -> int:
        """The drain delay in whole seconds that leaves it the time."""
        return self.reaction + MARGIN

    @property
    def sum(self) -> str:
        """The arithmetic, for a comment."""
        return (
            f"{self.period} s x {self.failures} + {self.timeout} s for the answer + {MARGIN} s "
            f"to spread = {self.needs} s"
        )


class Plan:
    """Everything that a template writes.

    :ivar release: the tag of the image, or its digest.
    :ivar address: `HEALTH_LISTEN`; empty without a second port.
    :ivar listen: the port of the probes; the second port where they are in a container.
    :ivar probes_apart: whether a prober outside finds them at that port.
    :ivar drain: the drain delay in seconds.
    :ivar graceful: gunicorn's graceful timeout in seconds.
    """

    def __init__(self, app: App, gunicorn: Gunicorn, choices: Choices) -> None:
        self.app = app
        self.gunicorn = gunicorn
        self.name: str = choices.name or label(app.name)
        self.image: str = choices.image or f"registry.example.com/{self.name}:1.0.0"
        self.release: str = re.split("[:@]", self.image.rpartition("/")[2])[-1]
        self.host: str = choices.host or f"{self.name}.example.com"
        self.replicas: int = choices.replicas
        self.directory: str = choices.directory or f"/srv/{self.name}"
        self.wsgi_app: str = choices.wsgi_app or gunicorn.wsgi_app
        self.fleet: bool = choices.fleet or bool(app.config.fleet_url)
        self.fleet_required = "true" if app.config.fleet_required else "false"
        self.prefix: str = app.config.url_prefix
        self.port: int = port_of(gunicorn.bind) or 8000
        self.address: str = app.config.listen or ""
        own = port_of((self.address,))
        self.listen: int = own or LISTEN_PORT
        self.probes_apart: bool = own is not None
        self.drain: float = app.drain_delay
        self.graceful: int = math.ceil(gunicorn.graceful_timeout)
        sockets = tuple(a for a in gunicorn.bind if a.startswith("unix:"))
        self.servers: tuple[str, ...] = choices.servers or sockets or (f"127.0.0.1:{self.port}",)

    def command(self, tmp_dir: str) -> list[str]:
        """gunicorn's command line.

        :param tmp_dir: where it keeps its heartbeats, in memory.
        """
        places = [f"--bind=0.0.0.0:{self.port}", f"--worker-tmp-dir={tmp_dir}"]
        return ["gunicorn", *places, *self.options, self.wsgi_app]

    def check(self, probe: str) -> list[str]:
        """The command that asks a probe from inside the container: by the state directory, which
        takes no port and works while every worker is busy."""
        return ["flask-health", "check", "--probe", probe]

    @property
    def probe_port(self) -> int:
        """The port at which a prober outside finds the probes."""
        return self.listen if self.probes_apart else self.port

    @property
    def programs(self) -> str:
        """The directory of the installed programs, outside of a container."""
        return f"{self.directory}/venv/bin"

    @property
    def options(self) -> list[str]:
        """gunicorn's options besides where it listens."""
        own = self.gunicorn
        if own.file:
            return [f"--config={own.file}"]
        flags = {
            "workers": (own.workers, 1),
            "worker-class": (own.worker_class, "sync"),
            "threads": (own.threads, 1),
            "timeout": (f"{own.timeout:g}", "30"),
            "graceful-timeout": (self.graceful, 30),
            "max-requests": (own.max_requests, 0),
        }
        given = [f"--{name}={value}" for name, (value, usual) in flags.items() if value != usual]
        return given + (["--preload"] if own.preload else [])

    @property
    def ready(self) -> Rhythm:
        """How readiness is asked for, so that the drain delay leaves time for it: as seldom as
        that allows, every 10 s at most."""
        for failures in (3, 2, 1):
            period = min(10, math.floor(self.drain - MARGIN - 1) // failures)
            if period >= 1:
                return Rhythm(period, failures, 1)
        return Rhythm(1, 3, 1)

    @property
    def live(self) -> Rhythm:
        """How liveness is asked for: slower than gunicorn replaces a worker that hangs."""
        return Rhythm(10, 3, 1)

    @property
    def live_note(self) -> str:
        """How liveness goes with gunicorn's own cure for workers that hang."""
        whole = self.live.period * self.live.failures
        return (
            f"{self.live.period} s x {self.live.failures} = {whole} s after HEALTH_STALL_AFTER: "
            "gunicorn has had the time to replace workers that hang"
        )

    @property
    def start(self) -> int:
        """Seconds that setup may take, by the timeouts of its steps."""
        return math.ceil(sum(self._limits)) or 60

    @property
    def start_sum(self) -> str:
        """The arithmetic of `start`, for a comment."""
        if not self._limits:
            return f"no setup steps: {self.start} s for the import"
        shown = " + ".join(f"{limit:g}" for limit in self._limits)
        return f"timeouts of the setup steps: {shown}" + (
            f" (those without one: {UNKNOWN_STEP})" if self._unknown else ""
        )

    @property
    def stop(self) -> int:
        """Seconds between SIGTERM and SIGKILL."""
        return self._delay + self.graceful + SPARE

    @property
    def stop_sum(self) -> str:
        """The arithmetic of `stop`, for a comment."""
        delay = f"{self._delay} drain delay + " if self._delay else ""
        return f"{delay}{self.graceful} graceful timeout + {SPARE} to spare"

    @property
    def grace(self) -> int:
        """The same with `flask-health drain` before it."""
        return PRE_STOP + self.stop

    @property
    def grace_sum(self) -> str:
        """The arithmetic of `grace`, for a comment."""
        return f"{PRE_STOP} preStop + {self.stop_sum}"

    def drain_note(self, rhythm: Rhythm) -> str:
        """How the drain delay goes with a prober, or what it must be changed to."""
        if self.drain >= rhythm.needs:
            return f"{rhythm.sum}, drain delay {self.drain:g} s"
        return (
            f"{rhythm.sum}: more than the drain delay of {self.drain:g} s, so set "
            f"FLASK_HEALTH_DRAIN_DELAY={rhythm.needs}"
        )

    @property
    def _limits(self) -> list[float]:
        default = self.app.config.setup_timeout or UNKNOWN_STEP
        return [step.timeout or default for step in self.app.steps]

    @property
    def _unknown(self) -> bool:
        return self.app.config.setup_timeout is None and any(
            step.timeout is None for step in self.app.steps
        )

    @property
    def _delay(self) -> int:
        # Without `install` the delay is part of the graceful timeout.
        return math.ceil(self.drain) if self.gunicorn.installed else 0


def label(name: str) -> str:
    """A name that DNS, Kubernetes and systemd accept."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "app"


def port_of(addresses: tuple[str, ...]) -> int | None:
    """The port of the first address that has one."""
    for address in addresses:
        port = address.rpartition(":")[2]
        if not address.startswith(("unix:", "fd://")) and port.isdigit():
            return int(port)
    return None
