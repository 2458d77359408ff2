"""The second port of one process, with its real thread: what it answers, to whom, what it takes."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.environment import free_port
from support.local import DEADLINE, Blocked, boot_of, call, make_app, sibling
from support.probing import Address
from support.second import Reply, ask, connect, heard, reply, send
from support.waiting import eventually

from flask_health import HealthCheck
from flask_health.extension import STATE
from flask_health.model.server import WorkerState
from flask_health.web import listener as module
from flask_health.web.listener import MOST_CONNECTIONS, Listener

GET = b"GET /health HTTP/1.1\r\n\r\n"
TOKEN = {"Authorization": "Bearer hunter2"}


class Service:
    """An app in this process with a second port."""

    def __init__(self, **config: Any) -> None:
        self.address: Address = config.pop("address", None) or free_port()
        listen = f"127.0.0.1:{self.address}"
        if isinstance(self.address, str):
            listen = f"unix:{self.address}"
        self.app = make_app(HEALTH_LISTEN=listen, **config)
        self.health = HealthCheck(self.app)
        self.blocked = Blocked()

    def start(self) -> Service:
        """Starts it, and waits until it listens."""
        call(self.app, "/health")
        eventually(lambda: self.listener.port.socket, why="listens")
        return self

    @property
    def listener(self) -> Listener:
        """Its share in the second port."""
        found: Listener = self.app.extensions[STATE].listener
        return found

    def ask(self, path: str = "/health", method: str = "GET", **headers: str) -> Reply:
        """Sends one request to its second port."""
        return ask(self.address, path, method, **headers)

    def end(self) -> None:
        """Leaves nothing behind."""
        self.blocked.go.set()
        wired = self.app.extensions[STATE]
        if wired.listener:
            wired.listener.stop()
        wired.gate.leave()


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Make services; they end with the test."""
    made: list[Service] = []

    def make(**config: Any) -> Service:
        made.append(Service(**config))
        return made[-1]

    yield make
    for service in made:
        service.end()


Serve = Callable[..., Service]


# What is answered


def test_the_probes(serve: Serve) -> None:
    """The same words with the same headers as in the app."""
    service = serve(HEALTH_ALIASES={"/livez": "live"}).start()
    for path in (
        "/health",
        "/health/",
        "/health/live",
        "/health/ready",
        "/health/startup",
        "/livez",
    ):
        answer = service.ask(path)
        assert answer.word == (200, "ok")
        assert answer == tuple(call(service.app, path))
        assert service.ask(path, "HEAD") == tuple(call(service.app, path, "HEAD"))
        assert service.ask(path, "DELETE") == tuple(call(service.app, path, "DELETE"))


def test_while_setup_goes_on(serve: Serve) -> None:
    """It answers from the beginning, and the answer turns with the gate."""
    service = serve()
    service.health.setup(service.blocked)
    service.start()
    assert service.ask("/health").word == (503, "not ready")
    assert service.ask("/health").headers["Retry-After"] == "5"
    assert service.ask("/health/live").word == (200, "ok")
    service.blocked.go.set()
    assert service.health.gate.wait(DEADLINE)
    assert service.ask("/health").word == (200, "ok")


@pytest.mark.parametrize("path", ["/", "/work", "/health/x", "//health", "/health/../health"])
def test_nothing_else_is_there(serve: Serve, path: str) -> None:
    """Nor does any request reach the app."""
    service = serve().start()
    for method in ("GET", "POST"):
        assert service.ask(path, method).word == (404, "not found")
    assert service.ask(path, "HEAD").word == (404, "")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", 413),
        (b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"POST /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", 405),
        (b"HEAD /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", 413),
        (b"POST /login HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", 404),
        (b"GET /health SPDY/1\r\n\r\n", 400),
        (b"GET /health HTTP/3\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
        (b"GET /" + b"a" * 10_000, 431),
        (b"GET /health HTTP/1.1\r\nCookie: " + b"a" * 10_000, 431),
    ],
)
def test_what_no_prober_sends(serve: Serve, sent: bytes, code: int) -> None:
    """Is refused, and the client gets to read why."""
    service = serve().start()
    with connect(service.address) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = reply(heard(connection))
    assert answer.code == code
    assert bool(answer.body) is not sent.startswith(b"HEAD ")


def test_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    """It goes with the process that serves it."""
    path = tmp_path / "health.socket"
    service = serve(address=str(path)).start()
    assert service.ask().word == (200, "ok")
    service.end()
    assert not path.exists()


# Details


def failing() -> None:
    raise ConnectionError("refused")


def test_details_by_token(serve: Serve) -> None:
    """JSON, verbose, one check, and what the service is, for who has the token."""
    service = serve(HEALTH_TOKEN="hunter2", HEALTH_SERVICE="shop")
    service.health.check(lambda: 7, name="stock")
    service.health.check(failing, name="mail", critical=False)
    service.start()
    eventually(lambda: service.ask().code == 200, why="checked")
    told = json.loads(service.ask("/health?format=json", **TOKEN).body)
    assert told["status"] == "warn"
    assert told["serviceId"] == "shop"
    assert told["checks"].keys() == {"stock", "mail"}
    assert "[+]stock ok" in service.ask("/health?verbose", **TOKEN).body.decode()
    assert service.ask("/health/ready/stock", **TOKEN).code == 200
    assert service.ask("/health/ready/mail", **TOKEN).code == 503
    assert json.loads(service.ask("/health/info", **TOKEN).body)["service"] == "shop"
    assert b"flask_health_check_info" in service.ask("/health/metrics", **TOKEN).body
    basic = {"Authorization": "Basic Omh1bnRlcjI="}
    assert b"mail" in service.ask("/health/ui", **basic).body


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer hunter3"}])
def test_no_details_without_it(serve: Serve, headers: dict[str, str]) -> None:
    """Whoever has no token, or a wrong one, gets the word and nothing that names anything."""
    service = serve(HEALTH_TOKEN="hunter2")
    service.health.check(failing, name="mail", critical=False)
    service.start()
    eventually(lambda: service.ask().code == 200, why="checked")
    for path in ("/health?format=json", "/health?verbose", "/health/metrics"):
        answer = service.ask(path, **headers)
        assert answer.code == 200
        assert b"mail" not in answer.body
    for path in ("/health/ready/mail", "/health/info"):
        assert service.ask(path, **headers).code == 404
    assert service.ask("/health/ui", **headers).code == 401


def test_the_app_is_not_asked(serve: Serve) -> None:
    """Neither `authorize` nor debug mode shows anything there."""
    service = serve(DEBUG=True)
    asked: list[object] = []

    @service.health.authorize
    def authorize(request: object) -> bool:
        asked.append(request)
        return True

    service.start()
    assert service.ask("/health/info").code == 404
    assert service.ask("/health/ui").code == 404
    assert json.loads(service.ask("/health?format=json").body) == {"status": "pass"}
    assert call(service.app, "/health/info").code == 200
    assert len(asked) == 1


@pytest.mark.parametrize(("details", "code"), [("always", 200), ("never", 404)])
def test_details_for_all_or_nobody(serve: Serve, details: str, code: int) -> None:
    """As configured."""
    service = serve(HEALTH_DETAILS=details, HEALTH_TOKEN="hunter2").start()
    assert service.ask("/health/info", **TOKEN).code == code
    assert service.ask("/health/info").code == code


# Who it tells of


@pytest.fixture
def of_two(serve: Serve, tmp_path: Path) -> Iterator[tuple[Service, Any]]:
    """A worker of a server of two that is still starting, and its sibling, which is ready."""
    service = serve(HEALTH_WORKERS=2, HEALTH_STATE_DIR=str(tmp_path), HEALTH_GATE_TIMEOUT=0)
    service.health.setup(service.blocked)
    service.start()
    gate = service.health.gate
    other = sibling(tmp_path, boot_of(gate), age=gate.server.age + 1)
    other.say(WorkerState.READY)
    other.decide("open")
    yield service, other
    other.leave()


def test_a_cold_worker_tells_of_the_server(of_two: tuple[Service, Any]) -> None:
    """It answers for itself in the app, and for the server on the second port."""
    service, other = of_two
    assert call(service.app, "/health").code == 503
    assert service.ask().word == (200, "ok")
    told = service.health.report()
    assert told.status.http_code == 503
    other.say(WorkerState.STOPPING)
    assert service.ask().word == (503, "not ready")


def test_a_worker_that_serves_takes_over(of_two: tuple[Service, Any]) -> None:
    """A cold one gives the lock up as soon as another worker is ready, and answers nevertheless
    when that one does not.
    """
    service, other = of_two
    eventually(lambda: not service.listener.port.is_elected, why="stands back")
    assert other.directory.claim("listener")
    assert service.ask().word == (200, "ok")


# What it takes


def test_a_taken_port_is_in_the_details(serve: Serve) -> None:
    """And the service itself runs on; it is tried again until it is free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        service = serve(address=other.getsockname()[1], HEALTH_DETAILS="always")
        service.health.start()
        eventually(lambda: service.listener.port.problem, why="is told")
        told = json.loads(call(service.app, QUERY_STRING="format=json").body)
        assert told["status"] == "pass"
        assert told["notes"] == [service.listener.port.problem]
        assert "is taken" in told["notes"][0]
    eventually(lambda: service.listener.port.socket, why="is free")
    assert service.ask().word == (200, "ok")
    assert "notes" not in json.loads(call(service.app, QUERY_STRING="format=json").body)


def test_silent_clients_are_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open connections and slow writers go when their time is up, whatever they trickle."""
    monkeypatch.setattr("flask_health.web.exchange.IN_TIME", 0.5)
    service = serve().start()
    with connect(service.address) as silent, connect(service.address) as slow:
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in GET:
                slow.send(bytes([byte]))
                if slow in _readable(slow, 0.1):
                    break
        assert heard(slow) == b""
        assert heard(silent) == b""
        assert time.monotonic() - begin < 2.0
    assert service.ask().code == 200


def _readable(connection: socket.socket, seconds: float) -> list[socket.socket]:
    import select

    return select.select([connection], [], [], seconds)[0]


def test_slow_readers_are_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not read its answer loses it, and others are answered meanwhile."""
    monkeypatch.setattr("flask_health.web.exchange.IN_TIME", 0.5)
    service = serve(HEALTH_DETAILS="always", HEALTH_DESCRIPTION="x" * 4_000_000).start()
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", service.address))
        lazy.sendall(b"GET /health?format=json HTTP/1.1\r\n\r\n")
        assert service.ask().code == 200
        eventually(lambda: not service.listener._exchanges, why="cut off", within=5.0)


def test_more_connections_than_there_is_room_for(serve: Serve) -> None:
    """The oldest silent ones give way: a prober that comes last is answered at once."""
    service = serve().start()
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(connect(service.address)) for _ in range(MOST_CONNECTIONS * 2)
        ]
        begin = time.monotonic()
        assert service.ask().code == 200
        assert time.monotonic() - begin < 1.0
        assert len(service.listener._exchanges) <= MOST_CONNECTIONS
        assert heard(silent[0]) == b""


def test_ten_thousand_clients_of_the_worst_kind(serve: Serve) -> None:
    """Garbage, half requests, silence and hasty closing in a row: each probe in between is
    answered.
    """
    service = serve().start()
    kinds = [
        b"",
        b"GET /hea",
        b"\0\xff" * 50,
        GET,
        b"POST / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 9000,
    ]
    with contextlib.ExitStack() as stack:
        open_ones: list[socket.socket] = []
        for number in range(10_000):
            connection = stack.enter_context(connect(service.address))
            with contextlib.suppress(ConnectionError):
                connection.sendall(kinds[number % len(kinds)])
            open_ones.append(connection)
            if number % 7 == 0 or len(open_ones) > 700:  # Of 1024 files, where that is the limit.
                open_ones.pop(0).close()
            if number % 100 == 0:
                assert service.ask().word == (200, "ok")
    assert service.ask().word == (200, "ok")
    eventually(lambda: not service.listener._exchanges, why="closed", within=DEADLINE)


def test_an_answer_that_fails_is_not_ready(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong inside: 503, logged once, and the next one is answered."""
    service = serve().start()

    def fail(*args: object) -> bool:
        raise OSError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("flask_health.workers.verdict.Verdict._serves", fail)
        assert service.ask().word == (503, "not ready")
        assert service.ask().word == (503, "not ready")
    assert service.ask().word == (200, "ok")
    assert len([r for r in caplog.records if "the second port" in r.getMessage()]) == 1


def test_a_turn_that_fails_does_not_end_the_thread(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logged once, and it goes on."""
    service = serve().start()
    with monkeypatch.context() as patch:
        patch.setattr(Listener, "_accept_if_it_is_time", lambda *args: 1 / 0)
        eventually(lambda: service.listener._complained, why="failed")
    eventually(lambda: ask(service.address).code == 200, why="answers")
    assert len([r for r in caplog.records if "the second port" in r.getMessage()]) == 1


def test_a_wait_that_fails_does_not_end_the_thread(serve: Serve) -> None:
    """As where a process has lowered its own limits: it tries again until it can wait."""
    service = serve().start()
    polls: list[object] = []

    class Refusing:
        def register(self, *_: object) -> None:
            pass

        def poll(self, _: float) -> None:
            polls.append(self)
            raise OSError(22, "Invalid argument")

    poll, service.listener._poll = service.listener._poll, Refusing
    begin = time.monotonic()
    eventually(lambda: len(polls) >= 2, why="tries again")
    service.listener._poll = poll
    assert len(polls) <= 4 + (time.monotonic() - begin) / module.REST * 2
    assert service.ask().word == (200, "ok")


def test_when_no_file_can_be_opened(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It rests instead of spinning, and goes on when it can."""
    service = serve().start()
    turns: list[float] = []
    turn = Listener.turn

    def refuse(listening: object) -> Any:
        raise OSError(24, "Too many open files")

    def counted(self: Listener, ready: Any) -> Any:
        turns.append(time.monotonic())
        return turn(self, ready)

    monkeypatch.setattr(Listener, "turn", counted)
    with connect(service.address) as waiting:
        with monkeypatch.context() as patch:
            patch.setattr(module, "accept", refuse)
            waiting.sendall(GET)
            begin = time.monotonic()
            eventually(lambda: len(turns) >= 3, why="tries again")
            assert len(turns) <= 4 + (time.monotonic() - begin) / module.REST * 2
        assert reply(heard(waiting)).word == (200, "ok")


def test_a_process_without_another_thread_serves_all_the_same(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The app runs on, and says in the log and in the details that it has no second port."""

    def refuse(target: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("flask_health.workers.native.start", refuse)
    service = serve(HEALTH_DETAILS="always")
    service.health.start()
    told = json.loads(call(service.app, QUERY_STRING="format=json").body)
    assert told["notes"] == ["the second port is not served by this worker: can't start new thread"]
    assert "the second port is not served by this worker" in caplog.text


# What it leaves


def test_idle_it_looks_once_a_second(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """And sleeps in between."""
    turns: list[float] = []
    turn = Listener.turn

    def counted(self: Listener, ready: Any) -> Any:
        turns.append(time.monotonic())
        return turn(self, ready)

    monkeypatch.setattr(Listener, "turn", counted)
    serve().start()
    eventually(lambda: len(turns) >= 4, why="looks")
    assert turns[3] - turns[0] >= 2.9


def test_tests_open_no_port(serve: Serve) -> None:
    """Under `TESTING` a server of one has none."""
    service = serve(TESTING=True)
    assert call(service.app, "/health").word == (200, "ok")
    with pytest.raises(ConnectionRefusedError):
        connect(service.address)


def test_an_app_that_is_forgotten_leaves_nothing(serve: Serve) -> None:
    """Neither the port nor the thread outlives it."""
    number = free_port()
    app = make_app(HEALTH_LISTEN=f"127.0.0.1:{number}")
    HealthCheck(app).start(wait=True)
    eventually(lambda: _answers(number), why="answers")
    before = weakref.ref(app)
    listener = weakref.ref(app.extensions[STATE].listener)
    del app
    gc.collect()
    eventually(lambda: (gc.collect(), before(), listener())[1:] == (None, None), why="forgotten")
    eventually(lambda: not _answers(number), why="closed")


def _answers(number: int) -> bool:
    try:
        return send(number, GET).startswith(b"HTTP/1.1 200 ")
    except ConnectionRefusedError:
        return False


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_user_code_keeps_nothing_open(serve: Serve) -> None:
    """A process that the app forks holds neither the port nor a connection."""
    service = serve().start()
    ours, childs = socket.socketpair()
    with ours, childs, connect(service.address) as half:
        half.sendall(b"GET /hea")
        eventually(lambda: service.listener._exchanges, why="accepted")
        child = os.fork()
        if child == 0:
            links = []
            for name in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError):
                    links.append(os.readlink(f"/proc/self/fd/{name}"))
            childs.send(json.dumps(links).encode())
            childs.recv(1)
            os._exit(0)
        try:
            links = json.loads(ours.recv(1 << 20))
            assert service.listener.port.socket
            listening = service.listener.port.socket.fileno()
            opened = [
                os.readlink(f"/proc/self/fd/{number}")
                for number in (listening, *service.listener._exchanges)
            ]
            assert len(opened) == 2
            assert not set(opened) & set(links)
            half.sendall(b"lth HTTP/1.1\r\n\r\n")
            assert reply(heard(half)).code == 200
            service.end()
            with pytest.raises(ConnectionRefusedError):
                connect(service.address)
        finally:
            ours.send(b"x")
            os.waitpid(child, 0)


def test_stopping_answers_who_has_asked(serve: Serve) -> None:
    """What waits in the queue is answered before the port is closed."""
    service = serve().start()
    with connect(service.address) as connection:
        connection.sendall(GET)
        service.listener.stop()
        assert reply(heard(connection)).code == 200
    with pytest.raises(ConnectionRefusedError):
        connect(service.address)
    service.listener.stop()
