"""What the second port answers: the same paths as in the app, and the server's truth instead of one
worker's. Details are for who has the token: no app is asked.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import typing as t

from ..config import Config
from ..model.movement import patience
from ..workers.gate import Gate
from ..workers.port import Port
from ..workers.servertruth import ServerVerdict
from ..workers.verdict import Verdict
from . import paths, request
from .details import TokenDetails
from .exchange import as_bytes, refusal
from .headers import Headers
from .listener import Listener
from .probe import NOT_READY, NOT_READY_HEADERS, Probes

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..model.check import Check
    from .probe import Answer
    from .teller import Teller

log: logging.Logger = logging.getLogger("flask_health")


def listen(
    config: Config,
    gate: Gate,
    verdict: Verdict,
    checks: cabc.Sequence[Check],
    tell: cabc.Callable[[Verdict, TokenDetails], Teller],
) -> Listener:
    """Has this worker take part in the second port of its server.

    :param verdict: what this worker answers in the app.
    :param tell: makes what makes the answers that are not plain.
    :raises RuntimeError: when this process may have no more threads.
    """
    assert config.listen is not None
    limit = patience(config.stall_after, gate.server.timeout, gate.server.idle_beat)
    truth = ServerVerdict(gate, verdict, limit)
    # Made here, and not by the thread: what it needs is imported.
    teller = tell(truth, TokenDetails(config))
    probes = Probes(_nothing, gate, truth, lambda: teller, lambda: _nothing)
    for path, what in paths.of(config, checks).items():
        probes.add(path, probes.at(what))
    for check in checks:
        for path, probe in paths.of_check(config.url_prefix, check).items():
            probes.add(path, probes.check(probe, check.name))
    answers = Answers(probes.routes, truth.attend)
    listener = Listener(Port(config.listen, gate.presence), answers)
    listener.start()
    return listener


def _nothing(environ: WSGIEnvironment, start_response: StartResponse) -> t.NoReturn:
    raise LookupError("there is no app behind the second port")


class Answers:
    """The answers to requests on the second port, as bytes.

    :param routes: the paths that are ours, each with what answers there.
    :param prepare: is called before each answer.
    """

    def __init__(
        self, routes: cabc.Mapping[str, Answer], prepare: cabc.Callable[[], object]
    ) -> None:
        self._routes = routes
        self._prepare = prepare
        self._complained = False

    def __call__(self, received: bytes) -> tuple[bytes, bool]:
        """The answer to a complete head, and whether the client may go on sending.

        :raises Refused: for a request that cannot be answered.
        """
        environ = request.parse(received)
        route = self._routes.get(environ["PATH_INFO"])
        sends_more = request.has_body(environ)
        if route is None:
            return refusal("404 Not Found"), sends_more
        if sends_more and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            raise request.Refused("413 Content Too Large")
        return self._ask(route, environ), sends_more

    def _ask(self, route: Answer, environ: dict[str, t.Any]) -> bytes:
        said: list[tuple[str, Headers]] = []

        def start_response(status: str, headers: Headers, *_: t.Any) -> t.Any:
            said.append((status, headers))

        try:
            self._prepare()
            body = b"".join(route(environ, start_response))
        except Exception:
            if not self._complained:
                log.exception("an answer on the second port failed: it is 'not ready'")
            self._complained = True
            said, body = [("503 Service Unavailable", NOT_READY_HEADERS)], NOT_READY[0]
        status, headers = said[-1]
        return as_bytes(status, headers, body)
