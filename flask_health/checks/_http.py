"""Whether another service answers over HTTP."""

from __future__ import annotations

import base64
import io
import re
import socket
import ssl
import typing as t
from collections.abc import Container, Mapping
from http.client import HTTPConnection
from urllib.parse import SplitResult, unquote, urlsplit

from ._tcp import connect
from .readymade import Deadline, Timed, text

LONGEST_BODY = 65536
"""Bytes of an answer's body in which `contains` is looked for."""


class http(Timed):
    """Passes when a URL answers with an expected status and, if asked to, an expected text.

    Redirects are not followed: a 302 is an answer of its own. Environment variables for proxies
    are not read. The timeout bounds connecting, TLS, sending and reading together, however
    slowly the answer drips; looking up a name is not bounded by it.

    :param url: `http` or `https`, percent-encoded; a user and password in it are sent as basic
        authentication. Messages show neither them nor the query.
    :param status: the status expected, or a container of them. Default: 200 to 299.
    :param method: any method that needs no body. Default: GET.
    :param headers: sent with the request; never shown.
    :param contains: a text that must occur in the first 64 KiB of the answer's body.
    :param context: TLS settings, such as one that knows a private certificate authority.
    :param warn_after: seconds; a longer answer is degraded.
    """

    def __init__(
        self,
        url: str,
        status: int | Container[int] = range(200, 300),
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        contains: str | None = None,
        context: ssl.SSLContext | None = None,
        warn_after: float | None = None,
    ) -> None:
        super().__init__(warn_after)
        parts, self._port = _parsed(url)
        self._host = t.cast(str, parts.hostname)
        self._secure = parts.scheme == "https"
        self._shown = f"{parts.scheme}://{_site(parts)}{parts.path}"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._status = _statuses(status)
        self._method = text("method", method).upper()
        self._headers = _headers(parts, headers or {})
        self._contains = None if contains is None else text("contains", contains)
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise TypeError(f"'context' must be an ssl.SSLContext, not {context!r}.")
        self.context = context

    def _ask(self) -> None:
        with self._asking(self._shown):
            deadline = Deadline(self.driver_timeout)
            with self._open(deadline) as sock:
                self._exchange(_Line(sock, deadline))

    def _open(self, deadline: Deadline) -> socket.socket:
        sock = connect(self._host, self._port, deadline)
        if not self._secure:
            return sock
        with sock:  # wrap_socket takes its descriptor away, so that nothing else is closed here
            sock.settimeout(deadline.left())
            context = self.context or ssl.create_default_context()
            return context.wrap_socket(sock, server_hostname=self._host)

    def _exchange(self, line: _Line) -> None:
        connection = HTTPConnection(self._host, self._port)
        connection.sock = line
        connection.request(self._method, self._target, headers=self._headers)
        with connection.getresponse() as response:
            if response.status not in self._status:
                raise ValueError(f"answered {response.status} {response.reason}".rstrip())
            if self._contains is not None:
                body = response.read(LONGEST_BODY)
                if self._contains.encode() not in body:
                    raise ValueError(f"no {self._contains!r} in the first {len(body)} bytes")


class _Line:
    """A socket as `http.client` uses it, whose reads and writes all end by one deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def close(self) -> None:
        """Nothing: the socket is closed by who opened it."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)


def _parsed(url: object) -> tuple[SplitResult, int]:
    """The parts of the URL and its port. No error shows the URL: it may hold a secret."""
    url = text("url", url)
    if not re.fullmatch(r"https?://[!-~]+", url):
        raise ValueError("'url' must begin with http:// or https:// and be percent-encoded.")
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise ValueError("'url' must have a valid host and port.") from None
    if not parts.hostname:
        raise ValueError("'url' must name a host.")
    return parts, port


def _site(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _statuses(status: object) -> Container[int]:
    if isinstance(status, int) and not isinstance(status, bool):
        return (status,)
    if isinstance(status, Container) and not isinstance(status, (str, bytes)):
        return status
    raise TypeError(f"'status' must be a number or a container of numbers, not {status!r}.")


def _headers(parts: SplitResult, given: Mapping[str, str]) -> dict[str, str]:
    """What is sent: the headers given, and those of ours that are not among them."""
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise TypeError(f"'headers' must map str to str: {name!r} does not.")
        if re.search(r"[\r\n]", name + value):
            raise ValueError("'headers' must not contain line breaks.")
    own = {"Host": _site(parts), "User-Agent": "Flask-Health", "Connection": "close"}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        own["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    names = {name.lower() for name in given}
    return {name: value for name, value in own.items() if name.lower() not in names} | dict(given)
