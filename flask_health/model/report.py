"""What a probe is answered from."""

from __future__ import annotations

import dataclasses

from .server import Marker
from .status import Status


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
    :ivar reason: why it is not pass, for people; empty when it is.
    :ivar gate: the server's init gate: `pending`, `running`, `open` or `failed`.
    :ivar state: where the workers share their state: a directory, or `local`.
    :ivar expected: the number of workers that the server wants.
    :ivar workers: the markers of its living workers; empty where this process is the server.
    :ivar steps: the setup steps of the worker that answers.
    :ivar notes: what is wrong with this extension's own means, for people.
    """

    probe: str
    status: Status
    reason: str
    gate: str
    state: str
    expected: int
    workers: tuple[Marker, ...] = ()
    steps: tuple[StepReport, ...] = ()
    notes: tuple[str, ...] = ()
