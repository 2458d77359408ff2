"""The `http` check, with a server of a few lines."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.backends import SECRET
from support.calls import failure, keeps_nothing, passes
from support.certificates import Authority
from support.environment import free_port
from support.waiting import eventually

from flask_health.checks import http
from flask_health.exceptions import Degraded


class Answers(BaseHTTPRequestHandler):
    """Answers `/status/<n>` so, and everything else with 200 and what it was asked."""

    def do_GET(self) -> None:
        beginning, _, rest = self.path[1:].partition("/")
        body = f"{self.path}\n{self.headers}".encode()
        self.send_response(int(rest) if beginning == "status" else 200)
        self.send_header("Content-Length", str(len(body)))
        if beginning == "redirect":
            self.send_header("Location", f"/?token={SECRET}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on the port that it tells."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Answers)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does with its first connection what it is told to; tells its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                talk(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving() as port:
        yield f"127.0.0.1:{port}"


def _check(url: str, *args: Any, **options: Any) -> http:
    check = http(url, *args, **options)
    check.timeout = 2.0
    return check


def test_passes_with_the_seconds_it_took(site: str) -> None:
    """A 200 is enough."""
    seconds, unit = _check(f"http://{site}")()
    assert 0 < seconds < 1
    assert unit == "s"


def test_follows_a_server_that_dies_and_returns() -> None:
    """Nobody listens: refused. Somebody again: passes."""
    port = free_port()
    check = _check(f"http://127.0.0.1:{port}/x")
    assert f"http://127.0.0.1:{port}/x: " in str(failure(check))
    assert "refused" in str(failure(check))
    with serving(port):
        check()
    assert "refused" in str(failure(check))


@pytest.mark.parametrize(("path", "passed"), [("status/200", True), ("status/500", False)])
def test_50_calls_leave_nothing_behind(site: str, path: str, passed: bool) -> None:
    """However they end: no connection stays open."""
    check = _check(f"http://{site}/{path}")
    assert passes(check) is passed
    keeps_nothing(check)
    refused = _check(f"http://127.0.0.1:{free_port()}/")
    assert not passes(refused)
    keeps_nothing(refused)


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: "])
def test_silence_is_told_in_time(beginning: bytes) -> None:
    """A server that accepts, and stops before its answer is whole."""
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(beginning)
        over.wait()

    with talking(talk) as port:
        told = failure(_check(f"http://127.0.0.1:{port}/"))
        over.set()
    assert isinstance(told, TimeoutError)
    assert "no answer after " in str(told)


def test_drip_is_told_in_time() -> None:
    """A byte now and then never lets a single read time out: the whole exchange is bounded."""
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not over.wait(0.05):
            connection.sendall(b"x")

    with talking(talk) as port:
        assert isinstance(failure(_check(f"http://127.0.0.1:{port}/")), TimeoutError)
        over.set()


def test_closed_connection_is_told() -> None:
    """The server hangs up without a word."""
    with talking(lambda connection: None) as port:
        assert isinstance(failure(_check(f"http://127.0.0.1:{port}/")), ConnectionError)


def test_other_protocol_is_told() -> None:
    """What answers is no HTTP server."""
    with talking(lambda connection: connection.sendall(b"220 mail\r\n")) as port:
        assert "220 mail" in str(failure(_check(f"http://127.0.0.1:{port}/")))


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("status/200", range(200, 300), None),
        ("status/299", range(200, 300), None),
        ("status/503", range(200, 300), "answered 503 Service Unavailable"),
        ("status/302", range(200, 300), "answered 302 Found"),
        ("status/401", 401, None),
        ("status/200", 401, "answered 200 OK"),
        ("status/404", {200, 404}, None),
    ],
)
def test_status(site: str, path: str, status: Any, told: str | None) -> None:
    """2xx is expected, unless another is; redirects are not followed."""
    check = _check(f"http://{site}/{path}", status)
    if told:
        assert str(failure(check)) == f"http://{site}/{path}: {told}"
    else:
        check()


def test_redirect_is_not_told(site: str) -> None:
    """Where it leads may hold a secret."""
    failure(_check(f"http://{site}/redirect", 302))


@pytest.mark.parametrize(
    ("options", "contained"),
    [
        ({}, "User-Agent: Flask-Health"),
        ({"headers": {"user-agent": "mine"}}, "user-agent: mine"),
        ({"headers": {"host": "virtual.example"}}, "host: virtual.example"),
        ({}, "Connection: close"),
        ({}, "/page?token="),
    ],
)
def test_request(site: str, options: dict[str, Any], contained: str) -> None:
    """What is sent: our headers, unless others are given, and the query."""
    _check(f"http://{site}/page?token={SECRET}", contains=contained, **options)()


def test_missing_text_is_told(site: str) -> None:
    """200 with the wrong page is no success; the query stays untold."""
    told = failure(_check(f"http://{site}/page?token={SECRET}", contains="welcome"))
    assert f"http://{site}/page: no 'welcome' in the first" in str(told)


def test_basic_authentication(site: str) -> None:
    """User and password of the URL are sent, percent-decoded, and never told."""
    wanted = "Authorization: Basic dTpwQHc="  # u:p@w
    _check(f"http://u:p%40w@{site}/", contains=wanted)()
    told = str(failure(_check(f"http://user:{SECRET}@{site}/status/500")))
    assert told == f"http://{site}/status/500: answered 500 Internal Server Error"


def test_method(site: str) -> None:
    """HEAD has no body to read."""
    _check(f"http://{site}/", method="head")()


def test_slow_answer_is_degraded(site: str) -> None:
    """Beyond `warn_after` it works, but badly."""
    with pytest.raises(Degraded, match="more than 1e-09 s"):
        _check(f"http://{site}/", warn_after=1e-9)()


def test_tls(tmp_path: Path) -> None:
    """A certificate of an authority that the context knows passes, any other fails."""
    authority = Authority(tmp_path)
    with serving(context=authority.server("127.0.0.1")) as port:
        url = f"https://127.0.0.1:{port}/"
        _check(url, context=authority.client())()
        assert "certificate verify failed" in str(failure(_check(url)))


def test_tls_silence_is_told_in_time() -> None:
    """A server that never answers the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        check = _check(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        assert isinstance(failure(check), TimeoutError)


def test_server_that_only_listens_is_told_in_time() -> None:
    """The kernel accepts for it; once somebody serves, the check passes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        check = _check(f"http://127.0.0.1:{port}/")
        assert isinstance(failure(check), TimeoutError)
    with serving(port):
        eventually(lambda: passes(check))


@pytest.mark.parametrize(
    ("url", "options", "error", "words"),
    [
        ("ftp://host/", {}, ValueError, "must begin with http:// or https://"),
        ("http://host/a b", {}, ValueError, "be percent-encoded"),
        ("http:///path", {}, ValueError, "must name a host"),
        (f"http://u:{SECRET}/x@host/", {}, ValueError, "must have a valid host and port"),
        ("http://host:99999/", {}, ValueError, "must have a valid host and port"),
        (None, {}, TypeError, "'url' must be a str"),
        ("http://host/", {"status": "200"}, TypeError, "'status' must be a number or"),
        ("http://host/", {"status": True}, TypeError, "'status' must be a number or"),
        ("http://host/", {"headers": {"X": 1}}, TypeError, "must map str to str: 'X'"),
        (
            "http://host/",
            {"headers": {"X": f"{SECRET}\n"}},
            ValueError,
            "not contain line breaks",
        ),
        ("http://host/", {"contains": ""}, ValueError, "'contains' must not be empty"),
        ("http://host/", {"context": True}, TypeError, "must be an ssl.SSLContext"),
        ("http://host/", {"warn_after": -1}, ValueError, "'warn_after' must be more than 0"),
    ],
)
def test_wrong_arguments(
    url: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """One clear message without secrets, when the check is made."""
    with pytest.raises(error, match=words) as caught:
        http(url, **options)
    assert SECRET not in str(caught.value)
