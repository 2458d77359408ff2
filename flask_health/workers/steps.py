"""Setup steps: what they are, and how far they have come."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..model.server import Value

if t.TYPE_CHECKING:
    Scope = t.Literal["worker", "server", "fleet"]

SCOPES: tuple[Scope, ...] = ("worker", "server", "fleet")

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
TAKEOVERS = 3
"""How often another worker takes a server's step over from one that died in it."""


class Step(Value):
    """A setup step as it was registered.

    :ivar scope: `worker`: every worker runs it; `server`: one worker for all; `fleet`: one worker
        of all servers, once for each release.
    :ivar timeout: seconds after which it counts as failed; None: never.
    :ivar retries: how often it is tried again after it raised; None: for ever.
    :ivar native_thread: under gevent, run it on a native thread instead of in a greenlet.
    """

    __slots__ = ("function", "name", "native_thread", "retries", "scope", "timeout")

    def __init__(
        self,
        name: str,
        function: cabc.Callable[[], object],
        scope: Scope = "worker",
        timeout: float | None = None,
        retries: int | None = None,
        native_thread: bool = False,
    ) -> None:
        self.name: str = name
        self.function: cabc.Callable[[], object] = function
        self.scope: Scope = scope
        self.timeout: float | None = timeout
        self.retries: int | None = retries
        self.native_thread: bool = native_thread


class Progress:
    """How far a step has come.

    :ivar state: `pending`, `running`, `waiting` (another worker runs it), `failed` or `done`.
    :ivar fraction: from 0 to 1, as the step itself told; None when it did not.
    :ivar note: what it told with it.
    :ivar started: when the running attempt began, on the monotonic clock.
    :ivar error: why it failed, None when it did not.
    :ivar fencing: gives the fencing number of a step that runs for the fleet; None for others.
    """

    def __init__(self, step: Step, state: str = "pending", started: float | None = None) -> None:
        self.step = step
        self.state = state
        self.fraction: float | None = None
        self.note: str = ""
        self.started = started
        self.error: BaseException | None = None
        self.fencing: cabc.Callable[[], int] | None = None

    def late(self, now: float, default_timeout: float | None) -> float | None:
        """The timeout in seconds that the running attempt has exceeded; None when it has not."""
        timeout = self.step.timeout if self.step.timeout is not None else default_timeout
        if self.state != "running" or timeout is None or self.started is None:
            return None
        return timeout if now - self.started > timeout else None


def backoff(attempt: int) -> float:
    """Seconds to wait before attempt 1, 2, 3 ... is repeated: 1, 2, 4 ... 60."""
    return float(min(FIRST_RETRY * 2 ** min(attempt - 1, 10), LONGEST_RETRY))
