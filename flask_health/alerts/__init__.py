"""Telling a webhook of changes: once for a server, whichever of its workers has noticed.

Imported only where `HEALTH_WEBHOOK_URL` is set. One worker, which holds the lock `alerts`, reads
the changes that all of them keep in the state directory, and keeps there what it has told and what
still waits: if it dies, the next one goes on from there.
"""

from __future__ import annotations

import collections.abc as cabc
import json
import logging
import threading
import time
import typing as t
import urllib.parse

from ..model import judge
from ..model.mask import mask
from ..model.server import WorkerState
from ..workers.gate import Gate
from ..workers.statedir import Lock
from ..workers.verdict import Verdict
from . import conditions
from .conditions import Condition
from .outbox import Edge, Outbox, Waiting

if t.TYPE_CHECKING:
    from .post import Answer

log: logging.Logger = logging.getLogger("flask_health")

LOCK = "alerts"
FILE = "results/alerts.json"
LOOK_EVERY = 1.0
"""Seconds between two looks at the server, where several workers are."""


class Alerts:
    """Tells a webhook of the changes of one app's server.

    :param about: what the service says of itself.
    :ivar problem: what keeps it from that, for people; empty when nothing does.
    """

    def __init__(
        self,
        url: str,
        gate: Gate,
        verdict: Verdict,
        about: cabc.Callable[[], cabc.Mapping[str, object]],
    ) -> None:
        self.problem: str = ""
        self._url = url
        self._gate = gate
        self._verdict = verdict
        self._about = about
        self._held: Lock | None = None
        self._taken = 0
        self._outbox = Outbox()
        self._conditions = (
            Condition("gate"),
            Condition("workers", conditions.SETTLED_AFTER),
        )
        self._changing = threading.Lock()
        self._woken = threading.Event()
        self._sender: threading.Thread | None = None
        self._look_at = 0.0
        self._saves = True
        self._complained = False

    def look_if_due(self) -> None:
        """Looks, unless that was done a moment ago."""
        now = time.monotonic()
        if self._gate.presence is None or now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self.look()

    def look(self) -> None:
        """Takes note of what has changed, if that is this worker's to do, and has it sent."""
        try:
            self._look()
        except Exception:
            # Where it is called other things are done that must go on.
            if not self._complained:
                log.exception("cannot see what the webhook has to be told")
            self._complained = True

    def _look(self) -> None:
        with self._changing:
            if not self._in_charge():
                return
            edges = [*self._new_transitions(), *self._new_conditions()]
            for edge in edges:
                self._outbox.put(edge)
            if edges:
                self._save()
                self._woken.set()
            if self._outbox.waiting and self._sender is None:
                self._sender = threading.Thread(
                    target=self._send, name="flask-health-alerts", daemon=True
                )
                self._sender.start()

    def stop(self) -> None:
        """Lets another worker tell what is left."""
        held, self._held = self._held, None
        if held:
            held.let_go()
        self._woken.set()

    def _in_charge(self) -> bool:
        presence = self._gate.presence
        if presence is None:
            return True
        stopping = presence.state is WorkerState.STOPPING
        if self._held and presence.directory.has(LOCK, self._held) and not stopping:
            return True
        self.stop()
        if stopping:
            return False
        try:
            self._held = presence.directory.claim(LOCK)
        except OSError:
            return False  # The directory is being mended; it will be there at the next look.
        if self._held:
            self._load()
        return self._held is not None

    def _new_transitions(self) -> cabc.Iterator[Edge]:
        runner = self._verdict.runner
        if runner is None:
            return
        total, kept = runner.numbered_transitions()
        if total < self._taken:
            self._taken = 0  # The directory had vanished; counting has begun anew.
        new, self._taken = total - self._taken, total
        for row in kept[-new:] if new else ():
            yield Edge(
                row.check,
                row.worker,
                row.old,
                row.new,
                row.output,
                row.failures,
                row.outage,
                row.time,
            )

    def _new_conditions(self) -> cabc.Iterator[Edge]:
        gate, census = self._gate, self._gate.census
        seen = conditions.NOTHING, conditions.NOTHING
        if not gate.orphaned:
            state = gate.state
            why = self._why_setup_failed() if state == "failed" else ""
            seen = conditions.of_gate(state, why), conditions.NOTHING
        if census:
            least, missing = gate.options.min_workers, gate.misses_one
            seen = seen[0], conditions.of_workers(census, least, missing)
        for condition, found in zip(self._conditions, seen, strict=True):
            edge = condition.see(found, time.monotonic(), time.time())
            if edge:
                yield edge

    def _why_setup_failed(self) -> str:
        gate, census = self._gate, self._gate.census
        step = gate.setup.unfinished if gate.setup else None
        if step and step.error:
            return f"setup step '{step.step.name}' failed: {mask(str(step.error))}"
        return judge.reason(census, gate.options.min_workers) if census else ""

    def _send(self) -> None:
        """The life of the thread that exists while something waits to be sent."""
        while True:
            with self._changing:
                now = time.monotonic()
                ours = self._held is not None or self._gate.presence is None
                pause = self._outbox.pause(now) if ours else None
                if pause is None:
                    self._sender = None
                    return
                item = self._outbox.next(now)
                self._woken.clear()
            if item is None:
                self._woken.wait(pause)
                continue
            answer = self._post(item)
            with self._changing:
                self._settle(item, answer)
                self._save()

    def _post(self, item: Waiting) -> Answer:
        from .message import compose
        from .post import Answer, post

        try:
            return post(self._url, compose(item, self._about()))
        except Exception as error:
            log.exception("a message for the webhook could not be made")
            return Answer(type(error).__name__, final=True)

    def _settle(self, item: Waiting, answer: Answer) -> None:
        if item.edge.key not in self._outbox.waiting:
            return  # Another worker had it in charge meanwhile.
        if not answer.why:
            self._outbox.sent(item, time.monotonic())
            if self.problem:
                log.info("%s takes messages again", self._shown)
            self.problem = ""
            return
        if answer.final:
            self._outbox.refused(item)
        else:
            self._outbox.failed(item, time.monotonic(), answer.retry_after)
        if not self.problem:
            log.error("%s takes no message: %s", self._shown, answer.why)
        self.problem = f"{self._shown} takes no message: {answer.why}"

    @property
    def _shown(self) -> str:
        """The webhook, without what is secret in its URL."""
        parts = urllib.parse.urlsplit(self._url)
        return f"the webhook at {parts.scheme}://{parts.netloc.rpartition('@')[2]}/***"

    def _load(self) -> None:
        """Goes on where the worker before has left off."""
        presence = self._gate.presence
        assert presence is not None
        text = presence.directory.read(FILE)
        if not text:
            return
        try:
            content = json.loads(text)
            taken, outbox = int(content["taken"]), Outbox.load(content["outbox"])
            for condition in self._conditions:
                condition.load(content["conditions"][condition.name])
        except (KeyError, TypeError, ValueError) as error:
            log.error("%s cannot be read, and is begun anew: %r", FILE, error)
            return
        self._taken, self._outbox = taken, outbox

    def _save(self) -> None:
        presence = self._gate.presence
        if presence is None or self._held is None:
            return
        content = {
            "taken": self._taken,
            "outbox": self._outbox.dump(),
            "conditions": {c.name: c.dump() for c in self._conditions},
        }
        try:
            presence.directory.make_folder("results")
            presence.directory.write(FILE, json.dumps(content))
        except OSError as error:
            if self._saves:
                log.error("cannot keep what the webhook was told: %s", error)
            self._saves = False
        else:
            self._saves = True
