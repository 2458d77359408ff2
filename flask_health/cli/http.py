"""One GET over a socket, that is over after so many seconds, whatever the other side does.

On `_socket`, which `socket` is made of: importing the latter takes a third of the time that Python
itself takes to start. https needs `ssl`, and has to wait for it.
"""

from __future__ import annotations

import _socket
import _thread
import time

from .target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing as t

MOST = 1 << 20
"""Bytes of an answer that are read."""


class Unreachable(Exception):
    """There was no answer; the message says why."""


class Answer:
    """What a server answered.

    :ivar code: the status code.
    :ivar body: at most 1 MiB of it.
    """

    def __init__(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self.code = code
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


def get(target: Target, path: str, timeout: float, accept: str = "*/*", token: str = "") -> Answer:
    """Asks for a path.

    :param timeout: seconds for all of it: name, connection, and the last byte of the answer.
    :raises Unreachable: when there is no answer in time.
    """
    deadline = time.monotonic() + timeout
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {target.authority}",
        f"Accept: {accept}",
        "User-Agent: flask-health",
        "Connection: close",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    request = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    try:
        connection = _connect(target, deadline)
        try:
            connection.settimeout(_left(deadline))
            connection.sendall(request)
            return _read(connection, deadline)
        finally:
            connection.close()
    except TimeoutError:
        raise Unreachable(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise Unreachable(str(error.strerror or error).lower()) from None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(target: Target, deadline: float) -> t.Any:
    if target.socket:
        if not hasattr(_socket, "AF_UNIX"):
            raise Unreachable("this platform has no unix sockets")
        return _open(_socket.AF_UNIX, target.socket, _left(deadline))
    addresses = _resolve(target, deadline)
    error: OSError = OSError(f"{target.host} has no address")
    for number, (family, address) in enumerate(addresses):
        try:
            # An address that answers nothing leaves the others their share of the time.
            connection = _open(family, address, _left(deadline) / (len(addresses) - number))
        except OSError as found:
            error = found
            continue
        return _secured(connection, target, deadline) if target.tls else connection
    raise error


def _open(family: int, address: t.Any, timeout: float) -> t.Any:
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _secured(connection: t.Any, target: Target, deadline: float) -> t.Any:
    import socket
    import ssl

    plain = socket.socket(fileno=connection.detach())
    try:
        plain.settimeout(_left(deadline))
        return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
    except OSError:
        plain.close()
        raise


def _resolve(target: Target, deadline: float) -> list[tuple[int, t.Any]]:
    """The addresses of a host. Names are looked up in a thread: a look-up cannot be given up."""
    try:
        return _look_up(target, _socket.AI_NUMERICHOST)
    except OSError:
        pass
    found: list[tuple[int, t.Any]] = []
    done = _thread.allocate_lock()
    done.acquire()

    def look_up() -> None:
        try:
            found.extend(_look_up(target, 0))
        except (OSError, UnicodeError):
            pass  # None was found.
        done.release()

    _thread.start_new_thread(look_up, ())
    if not done.acquire(timeout=_left(deadline)):
        raise TimeoutError
    if not found:
        raise Unreachable(f"the host {target.host!r} is not known")
    return found


def _look_up(target: Target, flags: int) -> list[tuple[int, t.Any]]:
    kind = _socket.SOCK_STREAM
    # Bytes, where they do: a text is encoded by a module that takes long to import.
    host = target.host.encode() if target.host.isascii() else target.host
    found = _socket.getaddrinfo(host, target.port, 0, kind, 0, flags)
    return [(row[0], row[4]) for row in found]


def _read(connection: t.Any, deadline: float) -> Answer:
    got = b""
    while True:
        answer = _parse(got)
        if answer or len(got) > MOST:
            break
        connection.settimeout(_left(deadline))
        more = connection.recv(65536)
        if not more:
            answer = _parse(got, ended=True)
            break
        got += more
    if answer is None:
        raise Unreachable("the answer is not whole" if got else "the connection was closed")
    return answer


def _parse(got: bytes, ended: bool = False) -> Answer | None:
    """The answer in what has been received; None when something is missing.

    :param ended: whether nothing more will come.
    """
    head, separator, body = got.partition(b"\r\n\r\n")
    status, *rows = head.decode("latin-1").split("\r\n")
    words = status.split(" ", 2)
    if got and not (b"HTTP/".startswith(got[:5]) or got.startswith(b"HTTP/")):
        raise Unreachable("the answer is not HTTP")
    if not separator or len(words) < 2 or not words[1].isdigit():
        return None
    pairs = (row.partition(":") for row in rows)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        whole = _joined(body)
        return None if whole is None else Answer(int(words[1]), headers, whole)
    length = headers.get("content-length", "")
    if length.isdigit():
        missing = len(body) < min(int(length), MOST)
        return None if missing else Answer(int(words[1]), headers, body[: int(length)])
    return Answer(int(words[1]), headers, body) if ended else None


def _joined(chunks: bytes) -> bytes | None:
    """A body that was sent in chunks; None when one is missing."""
    whole = b""
    while True:
        size, separator, rest = chunks.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            length = -1
        if not separator or length < 0 or len(rest) < length + 2:
            return None
        if not length:
            return whole
        whole, chunks = whole + rest[:length], rest[length + 2 :]
