"""Whether something accepts connections."""

from __future__ import annotations

import socket

from .readymade import Deadline, Timed, count, text


class tcp(Timed):
    """Passes when `host:port` accepts a connection and, if asked to, says what is expected.

    The kernel accepts connections for a process that is stopped or stuck, until its backlog is
    full: only `expect` shows that it is alive. Looking up a name is not bounded by the timeout.

    :param send: bytes to send first, for example `b"version\\r\\n"` to memcached.
    :param expect: bytes that the answer must begin with, for example `b"220"` from a mail server.
    :param warn_after: seconds; a longer answer is degraded.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        send: bytes = b"",
        expect: bytes = b"",
        warn_after: float | None = None,
    ) -> None:
        super().__init__(warn_after)
        self._host = text("host", host)
        self._port = port_number(port)
        if not isinstance(send, bytes) or not isinstance(expect, bytes):
            raise TypeError(f"'send' and 'expect' must be bytes, not {send!r} and {expect!r}.")
        self.send = send
        self.expect = expect

    def _ask(self) -> None:
        deadline = Deadline(self.driver_timeout)
        with self._asking(address(self._host, self._port)):
            with connect(self._host, self._port, deadline) as sock:
                if self.send:
                    sock.settimeout(deadline.left())
                    sock.sendall(self.send)
                answer = _read(sock, len(self.expect), deadline)
            if answer != self.expect:
                raise ValueError(f"expected {self.expect!r}, got {answer!r}")


def address(host: str, port: int) -> str:
    """`host:port`, with brackets round an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_number(value: object) -> int:
    """The value as it is; TypeError or ValueError unless it can be the port of a server."""
    port = count("port", value, least=1)
    if port > 65535:
        raise ValueError(f"'port' must be at most 65535, not {port}.")
    return port


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address of the host that accepts one.

    Each address gets an equal share of what is left, so that one that drops packets does not
    take it all; OSError of the last one when none accepts.
    """
    failure = OSError(f"no address for {host!r}")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for tried, (family, kind, protocol, _, where) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left() / (len(found) - tried))
            sock.connect(where)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _read(sock: socket.socket, size: int, deadline: Deadline) -> bytes:
    """At most `size` bytes; fewer when the other side closes."""
    answer = b""
    while len(answer) < size:
        sock.settimeout(deadline.left())
        more = sock.recv(size - len(answer))
        if not more:
            break
        answer += more
    return answer
