"""Reading a request of the second port: bytes -> the environment that a WSGI server would make."""

from __future__ import annotations

import io
import re
import sys
import typing as t
from urllib.parse import unquote_to_bytes

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MOST_BYTES = 8192
"""Bytes that the head of a request may have."""

MOST_HEADERS = 100

_END = re.compile(rb"\n\r?\n")
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,19}")
# A host has neither slash nor question mark: nothing is tried twice, however long the target is.
_TARGET = re.compile(rb"(?:[Hh][Tt][Tt][Pp][Ss]?://[!-.0->@-~]*)?([/?][!-~\x80-\xff]*|)")
_VERSION = re.compile(rb"HTTP/1\.[01]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Refused(Exception):
    """A request that cannot be answered with what it asks for; the message is the status."""


def is_complete(received: bytes) -> bool:
    """Whether the head of a request has arrived as a whole.

    :raises Refused: as soon as it can be seen that it never will.
    """
    if _END.search(received.lstrip(b"\r\n")):
        return True
    if len(received) > MOST_BYTES:
        raise Refused("431 Request Header Fields Too Large")
    begin = received.lstrip(b"\r\n")[:1]
    if begin and not begin.isupper():
        raise Refused("400 Bad Request")  # A client that speaks TLS, for example.
    return False


def parse(received: bytes) -> WSGIEnvironment:
    """The environment of a request whose head is complete.

    :raises Refused: when it is not HTTP/1.0 or 1.1 as a prober would write it.
    """
    received = received.lstrip(b"\r\n")
    end = _END.search(received)
    if end is None or end.start() > MOST_BYTES:
        raise Refused("431 Request Header Fields Too Large")
    first, *lines = [line.removesuffix(b"\r") for line in received[: end.start()].split(b"\n")]
    method, target, version = _parts(first)
    path, _, query = target.partition(b"?")
    environ = _least()
    environ["REQUEST_METHOD"] = method.decode("ascii")
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")
    environ["SERVER_PROTOCOL"] = version.decode("ascii")
    if len(lines) > MOST_HEADERS:
        raise Refused("431 Request Header Fields Too Large")
    for line in lines:
        _add_header(environ, line)
    return environ


def has_body(environ: WSGIEnvironment) -> bool:
    """Whether a request says that more comes than its head."""
    length = environ.get("CONTENT_LENGTH", "").strip() or "0"
    return "HTTP_TRANSFER_ENCODING" in environ or length.strip("0") != ""


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Method, target from its path on, and version of a request line."""
    parts = line.split(b" ")
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]):
        raise Refused("400 Bad Request")
    target = _TARGET.fullmatch(parts[1])
    if not target or not parts[1]:
        raise Refused("400 Bad Request")
    if not _VERSION.fullmatch(parts[2]):
        is_http = parts[2].startswith(b"HTTP/")
        raise Refused("505 HTTP Version Not Supported" if is_http else "400 Bad Request")
    return parts[0], target[1] or b"/", parts[2]


def _add_header(environ: WSGIEnvironment, line: bytes) -> None:
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name) or b"\0" in value or b"\r" in value:
        raise Refused("400 Bad Request")
    if b"_" in name:
        return  # It would pass for another header: `X_Real_IP` for `X-Real-IP`.
    key = name.decode("ascii").upper().replace("-", "_")
    key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
    text = value.strip(b" \t").decode("latin-1")
    environ[key] = f"{environ[key]},{text}" if key in environ else text


def _least() -> WSGIEnvironment:
    """What PEP 3333 asks of every environment."""
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
