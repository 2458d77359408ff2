"""Reading a request of the second port: what is understood, what is refused, and nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.web.request import MOST_BYTES, Refused, has_body, is_complete, parse


def refusal(received: bytes) -> str:
    """The status that a request is refused with."""
    with pytest.raises(Refused) as refused:
        if is_complete(received):
            parse(received)
    return str(refused.value)[:3]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/health", "/health", ""),
        ("/health/live/", "/health/live/", ""),
        ("/health?verbose&exclude=a", "/health", "verbose&exclude=a"),
        ("/health?a?b", "/health", "a?b"),
        ("/gesund%C3%A4", "/gesundÃ¤", ""),
        ("http://probed:9000/health?x", "/health", "x"),
        ("http://probed", "/", ""),
        ("HTTP://[::1]:9000/health", "/health", ""),
        ("//health", "//health", ""),
        ("/%00%zz%", "/\0%zz%", ""),
    ],
)
def test_target(target: str, path: str, query: str) -> None:
    """The path comes as a WSGI server would hand it on, also from an absolute target."""
    environ = parse(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["REQUEST_METHOD"] == "GET"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.0\n\n",
        b"GET /health HTTP/1.1\nHost: a\r\n\n",
        b"\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /more HTTP/1.1\r\n\r\n",
    ],
)
def test_shapes(head: bytes) -> None:
    """Both versions, either end of line, no host, empty lines before it, and what comes after."""
    assert is_complete(head)
    assert parse(head)["PATH_INFO"] == "/health"


@pytest.mark.parametrize(
    "head",
    [b"", b"\r\n", b"\r\n\r\n", b"GET", b"GET /health HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: b\r\n"],
)
def test_more_is_to_come(head: bytes) -> None:
    """Half a request is waited for."""
    assert not is_complete(head)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "400"),
        (b"\0", "400"),
        (b"get /health HTTP/1.1\r\n\r\n", "400"),
        (b"GET\r\n\r\n", "400"),
        (b"GET /health\r\n\r\n", "400"),
        (b"GET  /health HTTP/1.1\r\n\r\n", "400"),
        (b"GET /he alth HTTP/1.1\r\n\r\n", "400"),
        (b"GET health HTTP/1.1\r\n\r\n", "400"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", "400"),
        (b"GET /\x01 HTTP/1.1\r\n\r\n", "400"),
        (b"GET / SPDY/3\r\n\r\n", "400"),
        (b"GET / HTTP/2\r\n\r\n", "505"),
        (b"PRI * HTTP/2.0\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nnot a header\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", "431"),
        (b"GET /" + b"a" * MOST_BYTES, "431"),
        (b"GET /" + b"a" * MOST_BYTES + b" HTTP/1.1\r\n\r\n", "431"),
    ],
)
def test_refused(head: bytes, code: str) -> None:
    """What no prober sends is refused with a status that says what is wrong."""
    assert refusal(head) == code


@pytest.mark.parametrize("target", [b"http://" + b"/" * 8000, b"http://" + b"?" * 8000])
def test_a_long_target_costs_no_time(target: bytes) -> None:
    """A refusal is a matter of microseconds: meanwhile nobody in this worker runs."""
    began = time.thread_time()
    assert refusal(b"GET " + target + b"\x01 HTTP/1.1\r\n\r\n") == "400"
    assert time.thread_time() - began < 0.1


def test_headers() -> None:
    """They get the names of WSGI; several of one are joined, and none can pass for another."""
    head = b"GET / HTTP/1.1\r\nAccept: a/b\r\nACCEPT:c/d \r\nX-Real-IP: 1\r\nX_Real_IP: 2\r\n"
    environ = parse(head + b"Content-Type: t\r\nContent-Length: 0\r\nEmpty:\r\n\r\n")
    assert environ["HTTP_ACCEPT"] == "a/b,c/d"
    assert environ["HTTP_X_REAL_IP"] == "1"
    assert environ["CONTENT_TYPE"] == "t"
    assert environ["HTTP_EMPTY"] == ""


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        (b"", False),
        (b"Content-Length: 0\r\n", False),
        (b"Content-Length: 00\r\n", False),
        (b"Content-Length: 1\r\n", True),
        (b"Content-Length: 0\r\nContent-Length: 5\r\n", True),
        (b"Content-Length: -\r\n", True),
        (b"Transfer-Encoding: chunked\r\n", True),
    ],
)
def test_body(headers: bytes, more: bool) -> None:
    """Any sign of a body is one."""
    assert has_body(parse(b"GET / HTTP/1.1\r\n" + headers + b"\r\n")) is more


PIECES = [
    *(b"GET ", b"HEAD ", b"POST ", b"/health", b"/", b"?verbose", b"%", b"%41", b" ", b"*"),
    *(b" HTTP/1.1", b" HTTP/1.0", b" HTTP/9.9", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0"),
    *(
        b"Host: a",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b":",
        b"\xff\xfe",
        b"A" * 99,
    ),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=30).map(b"".join))
def test_anything_is_a_request_or_refused(received: bytes) -> None:
    """Whatever bytes come, the outcome is an environment or a refusal, and no other exception."""
    try:
        if not is_complete(received):
            assert len(received) <= MOST_BYTES
            return
        environ = parse(received)
    except Refused as refused:
        assert str(refused)[:3] in {"400", "431", "505"}
        return
    assert environ["REQUEST_METHOD"].isupper()
    assert environ["PATH_INFO"].startswith("/") or environ["PATH_INFO"] == ""
    assert all(isinstance(environ[key], str) for key in environ if not key.startswith("wsgi."))
    environ["PATH_INFO"].encode("latin-1")


@given(st.binary(max_size=50), st.integers(0, 80))
def test_pieces_do_not_matter(garbage: bytes, cut: int) -> None:
    """A head that arrives in two pieces is complete when the whole is, and not before."""
    head = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    cut = min(cut, len(head) - 1)
    assert not is_complete(head[:cut])
    assert is_complete(head)
    whole, more = parse(head), parse(head + garbage)
    assert {key: more[key] for key in more if key != "wsgi.input"} == {
        key: whole[key] for key in whole if key != "wsgi.input"
    }
