"""What is to be known of setup where an app has no steps: that none is running, and it is over."""

from __future__ import annotations

import contextvars
import typing as t

from ..model.server import WorkerState

if t.TYPE_CHECKING:
    from .statedir import StateDir
    from .steps import Progress

running: contextvars.ContextVar[Progress | None] = contextvars.ContextVar(
    "flask_health_step", default=None
)
"""The step that the current thread of execution belongs to."""


class NoSetup:
    """The setup of an app without steps: it is over, and `setup.Setup` need not be loaded."""

    steps: tuple[Progress, ...] = ()
    state: WorkerState = WorkerState.READY
    error: BaseException | None = None
    unfinished: Progress | None = None
    duration: float = 0.0
    gave_up: bool = False
    retry_at: float | None = None

    def check_timeouts(self, now: float) -> None:
        """No step can be late."""

    def tell(self, directory: StateDir, now: float) -> None:
        """Nobody need be told of progress."""
