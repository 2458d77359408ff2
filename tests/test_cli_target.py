"""What a target may look like, and what it means."""

from __future__ import annotations

import pytest

from flask_health.cli.command import WrongUse
from flask_health.cli.target import parse


@pytest.mark.parametrize(
    ("text", "probe", "url"),
    [
        ("http://example.org", "health", "http://example.org/health"),
        ("http://example.org/", "live", "http://example.org/health/live"),
        ("http://example.org:8000", "ready", "http://example.org:8000/health/ready"),
        ("http://example.org:80/own", "health", "http://example.org/own"),
        ("http://example.org/own/", "startup", "http://example.org/own/startup"),
        ("HTTPS://example.org", "health", "https://example.org/health"),
        ("https://example.org:8443", "health", "https://example.org:8443/health"),
        ("http://[::1]:8000", "health", "http://[::1]:8000/health"),
        ("http://[::1]", "health", "http://[::1]/health"),
        ("[::1]:8000", "health", "http://[::1]:8000/health"),
        ("localhost:8000", "health", "http://localhost:8000/health"),
        ("localhost:8000/own", "live", "http://localhost:8000/own/live"),
        (":8000", "health", "http://127.0.0.1:8000/health"),
        ("unix:/run/app.sock", "live", "unix:/run/app.sock:/health/live"),
        ("unix:///run/app.sock", "live", "unix:/run/app.sock:/health/live"),
        ("unix:app.sock:/own", "health", "unix:app.sock:/own"),
    ],
)
def test_targets_are_understood(text: str, probe: str, url: str) -> None:
    """Scheme, host, port and prefix; the probe is put below the prefix."""
    assert parse(text).url(probe) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "8000",
        ":",
        ":0",
        ":65536",
        ":http",
        "host:",
        "http://",
        "http://:",
        "http://host:x",
        "http://host:",
        "http://::1:80",
        "ftp://host",
        "/run/app.sock",
        "unix:",
        "unix:/run/app.sock:",
        "unix:/run/app.sock:own",
        "ho st:80",
        "http://host\r\n:80",
        "http://host/a b",
        "http://host/a\r\nX: y",
    ],
)
def test_other_targets_are_refused(text: str) -> None:
    """The message says what there is."""
    with pytest.raises(WrongUse, match=r"the target must .*not "):
        parse(text)


@pytest.mark.parametrize("text", ["http://host/health?verbose", "http://host/#a", ":80?a"])
def test_a_target_has_no_query(text: str) -> None:
    """What is added to it would end up in the query."""
    with pytest.raises(WrongUse, match="must end with the prefix"):
        parse(text)


def test_a_target_has_no_password() -> None:
    """It would be shown by every list of processes, and in our own messages."""
    with pytest.raises(WrongUse, match="--token") as wrong:
        parse("http://user:geheim@host")
    assert "geheim" not in str(wrong.value)
