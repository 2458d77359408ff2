"""What a probe is answered from."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import typing as t

from .check import Result
from .server import Marker
from .status import SEVERITY, Status, worst

if t.TYPE_CHECKING:
    from .fleet import FleetReport
    from .traffic import Traffic


@dataclasses.dataclass(frozen=True)
class StepReport:
    """How far a setup step of this worker has come.

    :ivar state: `pending`, `running`, `waiting` (another worker runs it), `failed` or `done`.
    :ivar fraction: from 0 to 1 as the step told, None when it did not.
    :ivar note: what it told with it.
    :ivar error: why it failed, empty when it did not.
    """

    name: str
    scope: str
    state: str
    fraction: float | None = None
    note: str = ""
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that one probe is answered from.

    :ivar probe: `health`, `live`, `ready` or `startup`.
    :ivar status: the aggregate; its `http_code` is what the probe is answered with.
    :ivar server: the part of it that no check has a say in: gate, workers, master.
    :ivar reason: why the server is not pass, for people; empty when it is.
    :ivar gate: the server's init gate: `pending`, `running`, `open` or `failed`.
    :ivar state: where the workers share their state: a directory, or `local`.
    :ivar expected: the number of workers that the server wants.
    :ivar results: the checks of this probe; of `health`, those of all probes.
    :ivar excluded: the names of checks that were left out of the status.
    :ivar workers: the markers of its living workers; empty where this process is the server.
    :ivar movements: by pid, how many requests a worker has under way, and for how many seconds it
        has been stalled, None when it is not.
    :ivar steps: the setup steps of the worker that answers.
    :ivar setups: by pid, the steps of each worker whose setup has not finished.
    :ivar notes: what is wrong with this extension's own means, for people.
    :ivar fleet: what this server knows of its fleet; None where it has none.
    :ivar read_traffic: reads the traffic.
    """

    probe: str
    status: Status
    server: Status
    reason: str
    gate: str
    state: str
    expected: int
    results: tuple[Result, ...] = ()
    excluded: frozenset[str] = frozenset()
    workers: tuple[Marker, ...] = ()
    movements: cabc.Mapping[int, tuple[int, float | None]] = dataclasses.field(default_factory=dict)
    steps: tuple[StepReport, ...] = ()
    setups: cabc.Mapping[int, tuple[StepReport, ...]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fleet: FleetReport | None = None
    read_traffic: cabc.Callable[[], Traffic | None] = dataclasses.field(
        default=lambda: None, repr=False, compare=False
    )

    @functools.cached_property
    def traffic(self) -> Traffic | None:
        """The requests of the server, over all its workers; read when first asked for, and then at
        most a second old. None when it cannot be read.
        """
        return self.read_traffic()

    def noting(self, note: str) -> Report:
        """The same report with one more note."""
        return dataclasses.replace(self, notes=(*self.notes, note))

    def excluding(self, names: cabc.Iterable[str]) -> Report:
        """The same report, its status without some checks. The server is never left out, and a
        name that is no check changes nothing.
        """
        excluded = frozenset(names)
        counted = [r for r in self.results if r.name not in excluded]
        status = self.status
        if len(counted) < len(self.results):
            without = worst([self.server, aggregate(self.probe, counted)])
            status = max(status, without, key=SEVERITY.index)
        return dataclasses.replace(self, status=status, excluded=excluded)


def aggregate(probe: str, results: cabc.Iterable[Result]) -> Status:
    """What checks mean to a probe. For liveness a check that has not run yet means nothing: it
    gives no reason to restart a process.
    """
    return worst(r.counts_as for r in results if r.time is not None or probe != "live")
