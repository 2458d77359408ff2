"""Running the setup of one worker: its steps in order, each until it has ended well."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import logging
import math
import os
import time
import traceback
import typing as t

from ..exceptions import SetupFailedError, SetupTimeoutError
from ..model.mask import mask, mask_secrets
from ..model.server import WorkerState
from .running import running
from .statedir import PROGRESS, progress_of
from .steps import TAKEOVERS, Progress, Step, backoff

if t.TYPE_CHECKING:
    from .presence import Presence
    from .statedir import Lock, StateDir

    Told = cabc.Callable[[BaseException | None], None]
    """Tells other workers of a failure; None: of another attempt."""

    Abroad = cabc.Callable[
        [Progress, cabc.Callable[[Told], bool], cabc.Callable[[], None], Told], bool
    ]
    """Has a step run once for all servers; see :class:`flask_health.fleet.steps.FleetSteps`."""

log: logging.Logger = logging.getLogger("flask_health")

TELLING = 0.25
"""Seconds between two times that outsiders are told of progress, at least."""

LOOK_AT_RUNNER = 0.05
"""Seconds between two looks of a waiting worker at the one that runs a step for all."""


class Setup:
    """The setup of this worker.

    :ivar steps: how far each step has come, in order.
    :ivar duration: how many seconds it took, 0 before it has finished.
    :ivar gave_up: whether a step failed that may not be tried again.
    :ivar retry_at: when the next attempt begins, on the monotonic clock; None when none is due.
    """

    def __init__(
        self,
        steps: cabc.Sequence[Step],
        call: cabc.Callable[[Step], object],
        changed: cabc.Callable[[], None],
        *,
        default_timeout: float | None,
        default_retries: int | None,
        abroad: Abroad | None = None,
    ) -> None:
        self.steps: list[Progress] = [Progress(step) for step in steps]
        self.retry_at: float | None = None
        self._told_at = 0.0 if steps else math.inf
        self._told_last = 0
        self.gave_up: bool = False
        self._call = call
        self._changed = changed
        self._default_timeout = default_timeout
        self._default_retries = default_retries
        self._finished = not steps
        self.duration: float = 0.0
        self._claim: Lock | None = None
        self._told: Told | None = None
        self._abroad = abroad

    @property
    def state(self) -> WorkerState:
        """`STARTING`, `FAILED` or `READY`."""
        if self._finished:
            return WorkerState.READY
        return WorkerState.FAILED if self.error else WorkerState.STARTING

    @property
    def error(self) -> BaseException | None:
        """Why it stands failed now; None when it does not."""
        return next((p.error for p in self.steps if p.error), None)

    @property
    def unfinished(self) -> Progress | None:
        """The step that it is at; None when all are done."""
        return next((p for p in self.steps if p.state != "done"), None)

    def run(self, presence: Presence | None, generation: int) -> None:
        """Runs the steps; returns when all are done, or when one has been given up."""
        began = time.monotonic()
        for progress in self.steps:
            if progress.step.scope != "worker" and presence:
                done = self._finish_for_all(progress, presence, generation)
            else:
                done = self._finish_for_server(progress)
            if not done:
                self.gave_up = True
                self._changed()
                return
        self._finished = True
        self.duration = time.monotonic() - began
        self._changed()

    def tell(self, directory: StateDir, now: float) -> None:
        """Tells outsiders now and then how far it has come, and nothing more once it has finished.
        A disk that is full leaves what was told, and nothing else suffers.
        """
        if now - self._told_at < TELLING:
            return
        self._told_at = now if self.unfinished else math.inf
        with contextlib.suppress(OSError):
            if not self.unfinished:
                directory.remove(progress_of(os.getpid()))
                return
            text = self._progress()
            if hash(text) != self._told_last:
                directory.make_folder(PROGRESS)
                directory.write(progress_of(os.getpid()), text)
                self._told_last = hash(text)

    def _progress(self) -> str:
        """The steps as their file holds them: `began` is when the running attempt did, on the
        monotonic clock.
        """
        import json

        steps = [
            {
                "name": step.step.name,
                "scope": step.step.scope,
                "state": step.state,
                "fraction": step.fraction,
                "note": mask(step.note),
                "error": mask(str(step.error or "")),
                "began": step.started,
            }
            for step in self.steps
        ]
        return json.dumps({"steps": steps})

    def check_timeouts(self, now: float) -> None:
        """Marks a step that runs longer than its timeout as failed. It goes on: a thread cannot
        be stopped, and if it ends well its result counts.
        """
        for progress in self.steps:
            timeout = progress.late(now, self._default_timeout)
            if timeout is not None and progress.error is None:
                name = progress.step.name
                progress.error = SetupTimeoutError(
                    f"setup step '{name}' timed out after {timeout:g} s"
                )
                log.error("%s; it goes on, and counts if it ends well", progress.error)
                if self._told and progress.state == "running" and progress.step.scope != "worker":
                    self._told(progress.error)
                self._changed()

    def _finish_for_server(self, progress: Progress, failed: Told | None = None) -> bool:
        """Runs a step in this worker, or waits for the server that runs it for the fleet."""
        if progress.step.scope != "fleet" or self._abroad is None:
            return self._finish(progress, failed)

        def finish(told: Told) -> bool:
            self._told = told
            return self._finish(progress, told)

        return self._abroad(progress, finish, self._changed, failed or (lambda error: None))

    def _finish(self, progress: Progress, failed: Told | None = None) -> bool:
        """Tries a step until it ends well, True, or may not be tried again, False."""
        retries = progress.step.retries
        if retries is None:
            retries = self._default_retries
        attempt = 1
        while not self._attempt(progress, attempt):
            if failed:
                failed(progress.error)
            if retries is not None and attempt > retries:
                return False
            self._pause(backoff(attempt))
            if failed:
                failed(None)
            attempt += 1
        return True

    def _attempt(self, progress: Progress, attempt: int) -> bool:
        progress.state, progress.started, progress.error = "running", time.monotonic(), None
        self._changed()
        token = running.set(progress)
        try:
            self._call(progress.step)
        # An exception that left this thread would be lost, SystemExit too: the server must learn
        # of it, and go on.
        except BaseException as error:
            self._report(progress, error, attempt)
            progress.state, progress.error = "failed", error
            self._changed()
            return False
        finally:
            running.reset(token)
        progress.state, progress.error, progress.fraction, progress.note = "done", None, None, ""
        self._changed()
        return True

    def _report(self, progress: Progress, error: BaseException, attempt: int) -> None:
        name = progress.step.name
        if attempt == 1:
            trace = mask_secrets("".join(traceback.format_exception(error)))
            log.error("setup step '%s' failed in worker %d\n%s", name, os.getpid(), trace)
        else:
            log.error("setup step '%s' failed again, attempt %d: %s", name, attempt, _brief(error))

    def _pause(self, seconds: float) -> None:
        self.retry_at = time.monotonic() + seconds
        time.sleep(seconds)
        self.retry_at = None

    def _finish_for_all(self, progress: Progress, presence: Presence, generation: int) -> bool:
        """Runs a step for the whole server, or waits for the worker that does."""
        name = f"step.{progress.step.name}.{generation}"
        complained = False
        while True:
            try:
                if presence.directory.exists(f"{name}.done"):
                    progress.state, progress.error = "done", None
                    presence.decide(f"{name}.done")
                    return True
                claim = presence.directory.claim(f"{name}.claim")
                if claim and not presence.directory.exists(f"{name}.done"):
                    # Kept when the step was given up: nobody else needs to try.
                    self._claim = claim
                    return self._run_for_all(progress, presence, name)
                if not claim:
                    self._await_runner(progress, presence, name)
            except OSError as error:  # The directory is gone or full; it is mended elsewhere.
                if not complained:
                    log.error("cannot claim setup step '%s': %s", progress.step.name, error)
                complained = True
            time.sleep(LOOK_AT_RUNNER)

    def _await_runner(self, progress: Progress, presence: Presence, name: str) -> None:
        failed = presence.directory.exists(f"{name}.failed")
        if failed and progress.error is None:
            reason = presence.directory.read(f"{name}.failed") or "see the log"
            progress.error = SetupFailedError(
                f"setup step '{progress.step.name}' failed in the worker that runs it: {reason}"
            )
        elif not failed:
            progress.error = None
        state = "failed" if failed else "waiting"
        if progress.state != state:
            progress.state = state
            self._changed()

    def _run_for_all(self, progress: Progress, presence: Presence, name: str) -> bool:
        directory = presence.directory
        runs = sum(entry.startswith(f"{name}.run") for entry in directory.names())
        abroad = progress.step.scope == "fleet" and self._abroad is not None
        if runs > TAKEOVERS and not abroad:  # The fleet counts who has died in a step itself.
            progress.state = "failed"
            progress.error = SetupFailedError(
                f"setup step '{progress.step.name}': the workers that ran it died, {runs} of them"
            )
            log.error("%s", progress.error)
            self._tell(presence, name, progress.error)
            return False
        directory.create(f"{name}.run{runs}")
        self._tell(presence, name, None)
        self._told = functools.partial(self._tell, presence, name)
        if not self._finish_for_server(progress, self._told):
            return False
        presence.decide(f"{name}.done")
        self._told(None)
        if self._claim and presence.directory.exists(f"{name}.done"):
            self._claim.let_go()
        return True

    def _tell(self, presence: Presence, name: str, error: BaseException | None) -> None:
        """Tells the waiting workers that a step has failed, or is tried again."""
        directory, failed = presence.directory, f"{name}.failed"
        try:
            if error is None:
                directory.remove(failed)
                return
            try:
                directory.write(failed, _brief(error))
            except OSError:
                directory.create(failed)  # A full disk still has room for a name.
        except OSError as problem:
            log.error("cannot tell the other workers of a failed step: %s", problem)


def _brief(error: BaseException) -> str:
    return mask(f"{type(error).__name__}: {error}")
