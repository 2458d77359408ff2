"""The verdicts: pure functions over one look at a server."""

from __future__ import annotations

from .server import SERVING, Census, WorkerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .status import Status

READY_ONLY = frozenset({WorkerState.READY})
FAILED_ONLY = frozenset({WorkerState.FAILED})


def gate_complete(census: Census, expected: int) -> bool:
    """Whether every expected worker has finished its setup, so that the gate may open."""
    return census.how_many(READY_ONLY) >= max(expected, 1)


def gate_state(census: Census) -> str:
    """The server's gate: `open`, `failed`, `running` or `pending`."""
    if census.opened:
        return "open"
    if census.how_many(FAILED_ONLY):
        return "failed"
    return "running" if census.markers else "pending"


def ready(census: Census, min_workers: int) -> bool:
    """Whether the server may be sent traffic.

    It may once its gate has opened and as long as at least `min_workers` workers serve, or all
    of them where the server wants fewer than that; but not while it is draining or paused.
    """
    if census.orphaned or not census.opened or census.draining or census.paused:
        return False
    return census.how_many(SERVING) >= max(1, min(min_workers, census.expected))


def status(census: Census, min_workers: int, misses_one: bool = False) -> Status:
    """The status of the server: warn when it is ready, but the setup of a worker failed.

    :param misses_one: whether a worker has been missing for too long, which is to be warned of too.
    """
    from .status import Status  # Here: who asks for readiness alone cannot wait for an enum.

    if not ready(census, min_workers):
        return Status.FAIL
    return Status.WARN if misses_one or census.how_many(FAILED_ONLY) else Status.PASS


def reason(census: Census, min_workers: int, misses_one: bool = False) -> str:
    """Why the status is not pass, for people; empty when it is."""
    if census.orphaned:
        return "the server's master process is gone"
    if census.draining:
        return "draining"
    if census.paused:
        return "paused"
    failed = [marker.pid for marker in census.markers if marker.state is WorkerState.FAILED]
    if failed:
        return f"failed: worker {', '.join(map(str, failed))}"
    serving = census.how_many(SERVING)
    if not census.opened:
        return f"setup finished in {serving} of {census.expected} workers"
    if not ready(census, min_workers):
        return f"{serving} of {census.expected} workers serve, at least {min_workers} must"
    if misses_one:
        return f"{serving} of {census.expected} workers serve, and no other comes"
    return ""
