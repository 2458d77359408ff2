"""One GET: whatever the other side does, it is over in time, and a word is found for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.answering import Act, answering, hangs, says, trickles
from support.certificates import Authority
from support.environment import free_port

from flask_health.cli import http
from flask_health.cli.http import Unreachable, get
from flask_health.cli.target import Target, parse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def ask(port: int, timeout: float = 5.0) -> http.Answer:
    """GET /health from a port of this machine."""
    return get(parse(f":{port}"), "/health", timeout)


@pytest.mark.parametrize(
    ("answer", "code", "body"),
    [
        (OK, 200, "ok"),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\nnot ready", 503, "not ready"),
        (b"HTTP/1.1 200\r\nCONTENT-LENGTH:  2 \r\n\r\nokay", 200, "ok"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, ""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
            200,
            "ok",
        ),
    ],
)
def test_answers_are_read(answer: bytes, code: int, body: str) -> None:
    """With a length, in chunks, or to the end; whole or byte by byte."""
    for act in (says(answer), trickles(answer, 0.001)):
        with answering(act) as (port, _):
            found = ask(port)
        assert (found.code, found.text) == (code, body)


def test_the_request_is_a_plain_one() -> None:
    """One GET that ends its connection, with the name that was given as its host."""
    with answering(says(OK)) as (port, requests):
        get(parse(f"localhost:{port}/own"), "/own/live", 5.0, "application/json", "secret")
    head = requests[0].decode().split("\r\n")
    assert head[0] == "GET /own/live HTTP/1.1"
    assert set(head[1:]) >= {
        f"Host: localhost:{port}",
        "Connection: close",
        "Accept: application/json",
        "Authorization: Bearer secret",
    }


def test_a_unix_socket_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path, also by one that is relative."""
    monkeypatch.chdir(tmp_path)  # The name of a socket has to be short.
    with answering(says(OK), "app.sock") as (_, requests):
        assert get(parse("unix:app.sock"), "/health", 5.0).code == 200
    assert b"\r\nHost: localhost\r\n" in requests[0]


def test_https_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the certificates that this machine trusts, and for the name that was given."""
    authority = Authority(tmp_path)
    with answering(says(OK), tls=authority.server("127.0.0.1")) as (port, _):
        target = parse(f"https://127.0.0.1:{port}")
        with pytest.raises(Unreachable, match="certificate"):
            get(target, "/health", 5.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert get(target, "/health", 5.0).code == 200
        with pytest.raises(Unreachable, match="certificate"):
            get(parse(f"https://localhost:{port}"), "/health", 5.0)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (says(b""), "the connection was closed"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Le"), "the answer is not whole"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "the answer is not whole"),
        (
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx"),
            "the answer is not whole",
        ),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "the answer is not HTTP"),
        (says(b"HTTP/1.1 abc\r\n\r\n"), "the answer is not whole"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20)), "the answer is not whole"),
    ],
)
def test_what_is_no_answer_is_named(act: Act, why: str) -> None:
    """An answer that ends early, that never ends, or that is none."""
    with answering(act) as (port, _), pytest.raises(Unreachable) as found:
        ask(port)
    assert str(found.value) == why


@pytest.mark.parametrize("act", [hangs, trickles(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000)])
def test_the_timeout_is_for_all_of_it(act: Act) -> None:
    """A server that says nothing, and one that says a byte at a time."""
    with answering(act) as (port, _):
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no answer within 0\.4 s"):
            ask(port, 0.4)
        assert time.monotonic() - began < 2.0


def test_a_name_that_nobody_looks_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up goes on, and is not waited for."""
    look_up = http._look_up

    def slowly(target: Target, flags: int) -> object:
        if not flags:
            time.sleep(2.0)
        return look_up(target, flags)

    monkeypatch.setattr(http, "_look_up", slowly)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
        get(parse("localhost:80"), "/health", 0.3)
    assert time.monotonic() - began < 1.5


def test_nobody_is_there() -> None:
    """A port without a listener, a host without a name, a socket without a file."""
    with pytest.raises(Unreachable, match="connection refused"):
        ask(free_port())
    with pytest.raises(Unreachable, match=r"the host 'nowhere\.invalid' is not known"):
        get(parse("nowhere.invalid:80"), "/health", 10.0)
    with pytest.raises(Unreachable, match="no such file or directory"):
        get(parse("unix:/nowhere/app.sock"), "/health", 5.0)


def test_each_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that answers counts."""
    with answering(says(OK)) as (port, _):
        addresses = [http._look_up(parse(f":{p}"), 0)[0] for p in (free_port(), port)]
        monkeypatch.setattr(http, "_look_up", lambda target, flags: addresses)
        assert get(parse("some.name:80"), "/health", 5.0).code == 200
