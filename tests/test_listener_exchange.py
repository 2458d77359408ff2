"""One connection of the second port: one request, at most one answer, and an end in time."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.second import heard, reply

from flask_health.web.exchange import IN_TIME, LINGER, MOST_DROPPED, Exchange, as_bytes
from flask_health.web.request import MOST_BYTES, Refused

WORD = as_bytes("200 OK", [("Content-Length", "2")], b"ok")
GET = b"GET /health HTTP/1.1\r\n\r\n"


class Side:
    """Both ends of a connection: an exchange, and the client that a test is."""

    def __init__(self, answer: bytes = WORD, goes_on: bool = False) -> None:
        server, self.client = socket.socketpair()
        self.client.settimeout(5.0)
        self.asked: list[bytes] = []
        self.error: Exception | None = None
        self._answer, self._goes_on = answer, goes_on
        ours = _socket.socket(fileno=server.detach())
        ours.setblocking(False)
        self.exchange = Exchange(ours, self._reply, 100.0)

    def _reply(self, received: bytes) -> tuple[bytes, bool]:
        self.asked.append(received)
        if self.error:
            raise self.error
        return self._answer, self._goes_on

    def send(self, sent: bytes, now: float = 101.0) -> str:
        """Sends some bytes, lets the exchange go on, and returns what it waits for then."""
        self.client.sendall(sent)
        return self.go_on(now)

    def go_on(self, now: float = 101.0) -> str:
        """Lets the exchange go on."""
        self.exchange.go_on(now)
        return self.exchange.waits_for

    def end(self) -> None:
        """Closes both ends."""
        self.exchange.close()
        self.client.close()


@pytest.fixture
def connected() -> Iterator[Callable[..., Side]]:
    """Make connections; they end with the test."""
    made: list[Side] = []

    def connect(answer: bytes = WORD, goes_on: bool = False) -> Side:
        made.append(Side(answer, goes_on))
        return made[-1]

    yield connect
    for side in made:
        side.end()


Connect = Callable[..., Side]


def test_a_request_is_answered_and_the_connection_closed(connected: Connect) -> None:
    """At once, and for good."""
    side = connected()
    assert side.send(GET) == ""
    assert heard(side.client) == WORD
    assert side.asked == [GET]


def test_a_request_may_come_in_pieces(connected: Connect) -> None:
    """Byte by byte, within the time for all of it: a piece wins none."""
    side = connected()
    for number in range(len(GET) - 1):
        assert side.send(GET[number : number + 1]) == "request"
    assert side.exchange.deadline == 100.0 + IN_TIME
    assert side.send(GET[-1:]) == ""
    assert heard(side.client) == WORD


def test_only_the_first_request_is_answered(connected: Connect) -> None:
    """Nobody gets two answers out of one connection."""
    side = connected()
    assert side.send(GET * 3) == ""
    assert heard(side.client).startswith(WORD[:15])
    assert len(side.asked) == 1


def test_a_refused_client_may_finish(connected: Connect) -> None:
    """What it still sends is dropped for a while, so that it gets to read why."""
    side = connected()
    assert side.send(b"garbage", now=102.0) == "end"
    assert reply(heard(side.client)).code == 400
    assert side.exchange.deadline == 102.0 + LINGER
    assert side.send(b"more") == "end"
    side.client.close()
    assert side.go_on() == ""


def test_it_is_dropped_only_so_long(connected: Connect) -> None:
    """A client that never stops is cut off."""
    side = connected(goes_on=True)
    assert side.send(GET) == "end"
    side.client.settimeout(0.0)
    sent, state = 0, "end"
    while state and sent < 10 * MOST_DROPPED:
        sent += side.client.send(b"x" * 4096)
        state = side.go_on()
    assert state == ""
    assert sent <= MOST_DROPPED + 2 * MOST_BYTES


def test_a_client_that_reads_slowly_is_waited_for(connected: Connect) -> None:
    """But the time for that has a limit, too, and what is not read stays here."""
    big = as_bytes("200 OK", [], b"x" * 4_000_000)
    side = connected(answer=big)
    assert side.send(GET, now=103.0) == "answer"
    assert side.exchange.deadline == 103.0 + IN_TIME
    received = b""
    while side.go_on():
        received += side.client.recv(1 << 20)
    assert side.exchange.deadline == 103.0 + IN_TIME
    assert received + heard(side.client) == big


@pytest.mark.parametrize("sent", [b"", b"GET /hea"])
def test_a_client_that_leaves(connected: Connect, sent: bytes) -> None:
    """Before it has asked, it is forgotten."""
    side = connected()
    assert side.send(sent) == "request"
    side.client.shutdown(socket.SHUT_WR)
    assert side.go_on() == ""
    assert heard(side.client) == b""


def test_a_client_that_has_gone_before_the_answer(connected: Connect) -> None:
    """No exception comes of it."""
    side = connected(answer=as_bytes("200 OK", [], b"x" * 4_000_000))
    assert side.send(GET) == "answer"
    side.client.close()
    assert side.go_on() == ""


def test_what_the_answerer_refuses_is_told(connected: Connect) -> None:
    """It may find fault with a request, too."""
    side = connected()
    side.error = Refused("413 Content Too Large")
    assert side.send(GET) == "end"
    assert reply(heard_now(side)).word == (413, "content too large")


def heard_now(side: Side) -> bytes:
    """What the client hears, once it has said that it is done."""
    side.client.shutdown(socket.SHUT_WR)
    side.go_on()
    return heard(side.client)


CHUNKS = st.sampled_from([GET, GET[:9], GET[9:], b"\r\n\r\n", b"HEAD / HTTP/1.0\n\n", b"\0"])


@given(st.lists(CHUNKS | st.binary(min_size=1, max_size=30), max_size=12))
def test_never_more_than_one_answer(chunks: list[bytes]) -> None:
    """Whatever is sent, however it is cut: no exception, one answer or none, and an end."""
    side = Side()
    try:
        for chunk in chunks:
            if not side.exchange.waits_for:
                break
            side.client.sendall(chunk)
            side.go_on()
        side.client.shutdown(socket.SHUT_WR)
        side.go_on()
        assert side.exchange.waits_for == ""
        assert heard(side.client).count(b"HTTP/1.1 ") <= 1
        assert len(side.asked) <= 1
    finally:
        side.end()
