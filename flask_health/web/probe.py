"""Answering probes before Flask: the fast path.

A probe's way: look its path up, ask for the verdict, write two words. No hook of the app runs, no
host is checked, nobody is redirected, and nothing is allocated that grows with the app.

Everything else is traffic, which is counted on its way to the app; see `workers/records.py`.
"""

from __future__ import annotations

import collections.abc as cabc
import time
import types
import typing as t
from bisect import bisect_left

from ..workers.gate import Gate
from ..workers.records import BOUNDS, BUCKETS, ERRORS, PROGRESS, REQUESTS, SPENT, Record
from ..workers.verdict import Verdict
from .headers import RETRY_AFTER, TEXT, headers
from .paths import in_environ

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .teller import Teller

    Answer = cabc.Callable[[WSGIEnvironment, StartResponse], cabc.Iterable[bytes]]
    Early = cabc.Callable[[WSGIEnvironment, StartResponse], cabc.Iterable[bytes] | None]
    Told = tuple[str, list[tuple[str, str]], bytes]
    State = list[t.Any]

OK = (b"ok",)
OK_HEADERS = headers(TEXT, 2)
NOT_READY = (b"not ready",)
NOT_READY_HEADERS: list[tuple[str, str]] = [*headers(TEXT, 9), RETRY_AFTER]
NOT_ALLOWED = (b"method not allowed",)
NOT_ALLOWED_HEADERS: list[tuple[str, str]] = [*headers(TEXT, 18), ("Allow", "GET, HEAD")]

_now = time.monotonic
_SHORT = BOUNDS[0]


class Probes:
    """A WSGI middleware that answers the probes, keeps early business requests waiting, and counts
    them all.

    :ivar routes: the paths that are ours, each with what answers there.
    """

    def __init__(
        self,
        app: WSGIApplication,
        gate: Gate,
        verdict: Verdict,
        teller: cabc.Callable[[], Teller],
        early: cabc.Callable[[], Early],
    ) -> None:
        self.app = app
        self.routes: dict[str, Answer] = {}
        self._gate = gate
        self._verdict = verdict
        self._teller = teller
        self._early = early
        self._passes = gate.local.is_set
        self._record = gate.record
        self._responds = _noting_errors(gate.record)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> cabc.Iterable[bytes]:
        answer = self.routes.get(environ.get("PATH_INFO", ""))
        if answer is not None:
            return answer(environ, start_response)
        record = self._record
        began = _now()
        if began > record.due:
            record.snapshot(began)
        state: State = [start_response]
        # Nothing may be called while counters change: a thread would be switched there.
        words = record.words
        words[REQUESTS] += 1.0
        words[PROGRESS] = began
        try:
            # The cheapest object that can be called: a closure costs twice as much.
            respond = types.MethodType(self._responds, state)
            if not self._passes():
                refusal = self._early()(environ, respond)
                if refusal is not None:
                    return refusal
            return self.app(environ, respond)
        except BaseException:
            _note_error(record, state)
            raise
        finally:
            ended = _now()
            took = ended - began
            bucket = BUCKETS if took <= _SHORT else BUCKETS + bisect_left(BOUNDS, took)
            words = record.words
            words[PROGRESS] = ended
            words[SPENT] += took
            words[bucket] += 1.0

    def add(self, path: str, answer: Answer) -> None:
        """Answers at a path, with and without a slash at its end."""
        path = in_environ(path)
        self.routes[path] = self.routes[path + "/"] = answer

    def probe(self, probe: str) -> Answer:
        """What answers one probe."""
        verdict, now = self._verdict, time.monotonic
        ask = {"live": verdict.live, "startup": verdict.startup}.get(probe, verdict.ready)
        detailed = self.detailed(lambda environ: self._teller().probe(probe, environ))

        def respond(
            environ: WSGIEnvironment, start_response: StartResponse
        ) -> cabc.Iterable[bytes]:
            if (
                environ["REQUEST_METHOD"] != "GET"
                or environ.get("QUERY_STRING")
                or "json" in environ.get("HTTP_ACCEPT", "")
            ):
                return detailed(environ, start_response)
            # What is ready has started, and lives.
            if now() < verdict.good_until or self._ask(ask):
                start_response("200 OK", OK_HEADERS.copy())
                return OK
            start_response("503 Service Unavailable", NOT_READY_HEADERS.copy())
            return NOT_READY

        return respond

    def at(self, what: str) -> Answer:
        """What answers at a path of :func:`paths.of`."""
        if what == "metrics":
            return self.detailed(lambda environ: self._teller().metrics(environ))
        if what == "ui":
            return self.detailed(lambda environ: self._teller().ui(environ))
        if what == "fleet":
            return self.detailed(lambda environ: self._teller().fleet(environ))
        return self.info() if what == "info" else self.probe(what)

    def check(self, probe: str, name: str) -> Answer:
        """What answers one check of a probe."""
        return self.detailed(lambda environ: self._teller().check(probe, name, environ))

    def info(self) -> Answer:
        """What tells of the service itself."""
        return self.detailed(lambda environ: self._teller().info("health", environ))

    def detailed(self, tell: cabc.Callable[[WSGIEnvironment], Told]) -> Answer:
        """What answers everything but a plain GET."""

        def respond(
            environ: WSGIEnvironment, start_response: StartResponse
        ) -> cabc.Iterable[bytes]:
            method = environ["REQUEST_METHOD"]
            if method not in ("GET", "HEAD"):
                start_response("405 Method Not Allowed", NOT_ALLOWED_HEADERS.copy())
                return NOT_ALLOWED
            if not self._gate.begun:
                self._gate.begin()
            status, headers, body = tell(environ)
            start_response(status, headers)
            return (body,) if method == "GET" else ()

        return respond

    def _ask(self, ask: cabc.Callable[[], bool]) -> bool:
        if not self._gate.begun:
            self._gate.begin()
        return ask()


def _noting_errors(record: Record) -> cabc.Callable[..., t.Any]:
    """What takes the place of `start_response`, after the state of its request."""

    def respond(state: State, status: str, headers: t.Any, exc_info: t.Any = None) -> t.Any:
        if status >= "5":
            _note_error(record, state)
        if exc_info is None:
            return state[0](status, headers)
        return state[0](status, headers, exc_info)

    return respond


def _note_error(record: Record, state: State) -> None:
    """Counts a request as failed, once."""
    if len(state) == 1:
        state.append("failed")
        record.words[ERRORS] += 1.0
