"""One connection of the second port: a request, its answer, and no more.

Nothing here waits. Whatever a client sends or fails to send, it costs a few kilobytes for a few
seconds.
"""

from __future__ import annotations

import _socket
import collections.abc as cabc
from email.utils import formatdate

from .headers import TEXT, Headers, headers
from .request import MOST_BYTES, Refused, is_complete

MSG_DONTWAIT: int = getattr(_socket, "MSG_DONTWAIT", 0)
"""As the sockets here would have it by themselves, but for one system call each."""

IN_TIME = 5.0
"""Seconds that a client has to send its request, and again to read the answer."""

LINGER = 1.0
"""Seconds in which what a client sends after its request is read and dropped: closing with unread
bytes would take the answer away from it."""

MOST_DROPPED = 1 << 16
"""Bytes that are dropped like that."""


class Exchange:
    """A connection, from its start to its end.

    :ivar deadline: when it is cut off, on the monotonic clock.
    :ivar waits_for: `"request"`, `"answer"` (to be read by the client), `"end"`, or `""`: over.
    """

    __slots__ = ("_answer", "_dropped", "_received", "_socket", "_unsent", "deadline", "waits_for")

    def __init__(
        self,
        connection: _socket.socket,
        answer: cabc.Callable[[bytes], tuple[bytes, bool]],
        now: float,
    ) -> None:
        """
        :param answer: gives the answer to a complete head, and whether the client may go on
            sending.
        """
        self.deadline: float = now + IN_TIME
        self.waits_for: str = "request"
        self._socket = connection
        self._answer = answer
        self._received = b""
        self._unsent = memoryview(b"")
        self._dropped = -1

    def go_on(self, now: float) -> None:
        """Does what can be done now. It may be called too often."""
        try:
            if self.waits_for == "request":
                self._receive(now)
            if self.waits_for == "answer":
                self._send(now)
            if self.waits_for == "end":
                self._drop()
        except (BlockingIOError, InterruptedError):
            pass  # Later.
        except OSError:  # The client has gone.
            self.close()

    def close(self) -> None:
        """Ends it, whatever it waits for."""
        self.waits_for = ""
        self._socket.close()

    def let_go(self) -> None:
        """Closes this process's share of it; the connection goes on elsewhere."""
        self.close()

    def _receive(self, now: float) -> None:
        received = self._socket.recv(MOST_BYTES + 1 - len(self._received), MSG_DONTWAIT)
        if not received:
            self.close()
            return
        self._received += received
        try:
            if not is_complete(self._received):
                return
            answer, goes_on = self._answer(self._received)
        except Refused as refused:
            answer, goes_on = refusal(str(refused)), True
        if self._received.lstrip(b"\r\n").startswith(b"HEAD "):
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        self._received = b""
        self._unsent = memoryview(answer)
        self._dropped = 0 if goes_on else -1
        self.waits_for, self.deadline = "answer", now + IN_TIME

    def _send(self, now: float) -> None:
        while self._unsent:
            sent = self._socket.send(self._unsent, MSG_DONTWAIT)
            self._unsent = self._unsent[sent:]
        if self._dropped < 0:
            self.close()
            return
        self._socket.shutdown(_socket.SHUT_WR)
        self.waits_for, self.deadline = "end", now + LINGER

    def _drop(self) -> None:
        while 0 <= self._dropped < MOST_DROPPED:
            dropped = len(self._socket.recv(MOST_BYTES, MSG_DONTWAIT))
            if not dropped:
                break
            self._dropped += dropped
        self.close()


def refusal(status: str) -> bytes:
    """The answer to a request that is none of ours."""
    body = status.partition(" ")[2].lower().encode()
    return as_bytes(status, headers(TEXT, len(body)), body)


def as_bytes(status: str, headers: Headers, body: bytes) -> bytes:
    """An answer as it is sent."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"Date: {formatdate(usegmt=True)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + body
