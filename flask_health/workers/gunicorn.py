"""gunicorn, without any configuration of it: finding the worker, starting just before it accepts,
and keeping a cold worker out of the accept loop.

    no preload   the worker imports the app: its `Worker` object is on the stack of that import
    preload      the master imports the app: the `Worker` object is on the stack of the fork
    then         setuid, monkey-patching, import -> `post_worker_init` -> the accept loop

Seen in gunicorn 20.1 to 27.0 with every worker class.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import logging
import os
import sys
import time
import types
import typing as t

from .server import Server, frames, members

if t.TYPE_CHECKING:
    from .drain import Departure
    from .gate import Gate
    from .server import Member

log: logging.Logger = logging.getLogger("flask_health")

HOLD_LOOK = 0.05
"""Seconds between two looks of a held worker at its siblings."""


def find(frame: types.FrameType | None) -> tuple[t.Any, t.Any]:
    """The innermost gunicorn worker and arbiter among the `self` of a frame and its callers."""
    worker = arbiter = None
    if "gunicorn.arbiter" in sys.modules:
        for caller in frames(frame):
            # Nobody else's: a look at the variables of a frame keeps them alive.
            if not str(caller.f_globals.get("__name__")).startswith("gunicorn."):
                continue
            found = caller.f_locals.get("self")
            worker = worker or (found if _is_a(found, "gunicorn.workers.base", "Worker") else None)
            arbiter = arbiter or (found if _is_a(found, "gunicorn.arbiter", "Arbiter") else None)
    return worker, arbiter


def locate(frame: types.FrameType | None) -> Server | None:
    """The server, when this frame runs in a gunicorn worker or master; else None."""
    worker, arbiter = find(frame)
    if worker is not None and worker.pid == os.getpid():
        hook(worker)
        return describe(worker, arbiter, frame)
    if arbiter is not None and worker is None:
        return Server("master", "gunicorn", os.getpid(), forks=True)
    return None


def describe(worker: t.Any, arbiter: t.Any, frame: types.FrameType | None) -> Server:
    """The server of a gunicorn worker."""
    cfg = worker.cfg
    return Server(
        role="worker",
        kind="gunicorn",
        master=worker.ppid,
        workers=getattr(arbiter, "num_workers", cfg.workers),
        age=worker.age,
        forks=True,
        reloaded_at=_reloaded_at(worker, arbiter, frame),
        predecessor=getattr(arbiter, "master_pid", 0),
        strangers=frozenset({getattr(arbiter, "dirty_arbiter_pid", 0)}),
        own_queue=bool(getattr(cfg, "reuse_port", False)),
        tmp_dir=cfg.worker_tmp_dir,
        beat=_beat_of(worker.tmp),
        timeout=cfg.timeout,
        # It waits for connections for that long at a time; the others look once a second.
        idle_beat=worker.timeout if _is_a(worker, "gunicorn.workers.sync", "SyncWorker") else 1.0,
        listen=tuple(map(str, cfg.bind)),
    )


def _beat_of(tmp: t.Any) -> cabc.Callable[[], float]:
    """Tells when the loop of a worker last touched its file."""

    def beat() -> float:
        try:
            seen: float = tmp.last_update()
        except (OSError, ValueError):  # gunicorn closes it before it says that the worker ends.
            return 0.0
        now = time.monotonic()
        if _beats_cover_boot():  # Such releases use the other clock.
            seen += now - time.time()
        return seen if seen <= now else 0.0  # Before the first beat: when the file was made.

    return beat


def _reloaded_at(worker: t.Any, arbiter: t.Any, frame: types.FrameType | None) -> int:
    """The age of the first worker that the reload in progress has started; 0 without one.

    A reload loads the configuration anew, so its workers are those that share its object.
    """
    if not any(
        caller.f_code.co_name == "reload" and caller.f_locals.get("self") is arbiter
        for caller in frames(frame)
        if caller.f_globals.get("__name__") == "gunicorn.arbiter"
    ):
        return 0
    siblings: list[int] = [w.age for w in arbiter.WORKERS.values() if w.cfg is worker.cfg]
    return min([*siblings, int(worker.age)])


def forked_worker(frame: types.FrameType | None) -> Server | None:
    """The server, when this frame runs in a worker that the master has just forked; None in
    any other child: of user code, of a dirty arbiter, of an upgrade.
    """
    for caller in frames(frame):
        module = caller.f_globals.get("__name__", "")
        if not module.startswith("gunicorn."):
            continue
        if (module, caller.f_code.co_name) != ("gunicorn.arbiter", "spawn_worker"):
            return None
        worker, arbiter = caller.f_locals.get("worker"), caller.f_locals.get("self")
        if worker is None or worker.pid != "[booting]" or worker.ppid != os.getppid():
            return None
        hook(worker)
        return describe(worker, arbiter, caller)
    return None


def hook(worker: t.Any) -> None:
    """Has a worker call us just before it accepts, and when it ends. Again does nothing."""
    if getattr(worker, "_flask_health_hooked", False):
        return
    worker._flask_health_hooked = True
    cfg = worker.cfg
    before, after = cfg.post_worker_init, cfg.worker_exit

    def post_worker_init(worker: t.Any) -> None:
        before(worker)
        try:
            serve(worker)
        except Exception:  # It would end the whole server: no worker may fail to boot.
            log.exception("the health checks of worker %d did not start", worker.pid)

    def worker_exit(server: t.Any, worker: t.Any) -> None:
        leave()
        after(server, worker)

    # Not by `cfg.set`, which looks at their signatures: that takes 40 KiB of every worker.
    cfg.settings["post_worker_init"].value = post_worker_init
    cfg.settings["worker_exit"].value = worker_exit


def serve(worker: t.Any) -> None:
    """Starts every gate of this worker, and holds the worker while others can do its work."""
    if getattr(worker, "_flask_health_serves", False):
        return
    worker._flask_health_serves = True
    gates = members()
    for gate in gates:
        if gate.server.role != "worker" and not gate.begun:
            # Made where no frame of gunicorn could be seen, as in a thread.
            _, arbiter = find(sys._getframe())
            gate.server = describe(worker, arbiter, sys._getframe())
    if not gates:
        return
    _leave_if_told(worker)
    from .drain import Departure  # Not with the app: only a worker needs it.

    departure = gates[0].departure = Departure(worker, t.cast("list[Gate]", gates))
    for gate in gates:
        gate.begin()
    departure.announce()
    _note_signals(departure, gates)
    _hold(worker, gates)
    departure.accepts = True
    _leave_if_told(worker)


def _leave_if_told(worker: t.Any) -> None:
    """Ends a worker that was told to stop before it accepts, which tornado's would forget."""
    if not worker.alive:
        sys.exit(0)


def _hold(worker: t.Any, gates: list[Member]) -> None:
    since = time.monotonic()
    while worker.alive and os.getppid() == worker.ppid:
        if not any(gate.should_hold() for gate in gates):
            break
        if _beats_cover_boot():
            worker.notify()
        time.sleep(HOLD_LOOK)
    held = time.monotonic() - since
    if held > HOLD_LOOK:
        log.info("worker %d stayed out of the accept loop for %.1f s", worker.pid, held)


def _beats_cover_boot() -> bool:
    # Before 22.0 a worker that has not beaten yet is killed after `timeout`; since then a first
    # beat is what starts the watch.
    version = str(getattr(sys.modules.get("gunicorn"), "__version__", "22"))
    return int(version.partition(".")[0]) < 22


def _note_signals(departure: Departure, gates: list[Member]) -> None:
    """Has the gates told of a stop before gunicorn's own handler is; one by SIGTERM can wait."""
    import signal  # Here: its enums cost every import of an app a millisecond.

    def chain(number: int, waits: cabc.Callable[[], bool]) -> None:
        handle = signal.getsignal(number)

        def handler(number: int, frame: types.FrameType | None) -> None:
            if waits():
                return
            if not departure.passes:
                for gate in gates:
                    gate.told_to_stop()
            if callable(handle):
                handle(number, frame)

        with contextlib.suppress(ValueError):  # Not in the main thread: no handlers there.
            signal.signal(number, handler)
            signal.siginterrupt(number, number != signal.SIGTERM)  # As gunicorn does.

    chain(signal.SIGTERM, departure.tell)
    for number in (signal.SIGINT, signal.SIGQUIT):
        chain(number, lambda: False)


def leave() -> None:
    """Ends the presence of every gate of this process."""
    for gate in members():
        gate.leave()


def _after_fork() -> None:
    servers = ((gate, gate.server) for gate in members())
    waiting = [gate for gate, s in servers if s.role == "master" and s.kind == "gunicorn"]
    if waiting:
        server = forked_worker(sys._getframe())
        for gate in waiting:
            gate.server = server or Server()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _is_a(thing: object, module: str, name: str) -> bool:
    return any(c.__module__ == module and c.__name__ == name for c in type(thing).__mro__)
