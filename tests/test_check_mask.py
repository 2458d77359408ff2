"""Secrets in what checks say never reach an answer or the log."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_health.model.mask import LONGEST, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://shop:hunter2@db:5432/shop", "postgresql://shop:***@db:5432/shop"),
        ("redis://:hunter2@cache/0", "redis://:***@cache/0"),
        ("amqps+x.y-z://u:hunter2@mq", "amqps+x.y-z://u:***@mq"),
        ("(u: 'mysql://u:p@hunter2@db')", "(u: 'mysql://u:***@db')"),
        ("postgresql://u:p/hunter2@db/shop", "postgresql://u:***@db/shop"),
        ("POSTGRESQL://u:hunter2@DB", "POSTGRESQL://u:***@DB"),
        ("a://u:hunter2@b and c://v:hunter2@d", "a://u:***@b and c://v:***@d"),
        ("http://u:12345@host:80/", "http://u:***@host:80/"),
        ("password=hunter2 host=db", "password=*** host=db"),
        ("password='my hunter2' host=db", "password=*** host=db"),
        ('password="my \\" hunter2" host=db', "password=*** host=db"),
        ("{'password': 'hunter2', 'user': 'u'}", "{'password': ***, 'user': 'u'}"),
        ("PGPASSWORD=hunter2", "PGPASSWORD=***"),
        ("db_password: hunter2", "db_password: ***"),
        ("?access_token=hunter2&page=2", "?access_token=***&page=2"),
        ("client-secret=hunter2", "client-secret=***"),
        ("AWS_SECRET_ACCESS_KEY=hunter2", "AWS_SECRET_ACCESS_KEY=***"),
        ("api_key = hunter2; retry", "api_key = ***; retry"),
        ("X-Api-Key: hunter2", "X-Api-Key: ***"),
        ("Pwd=hunter2;Server=db", "Pwd=***;Server=db"),
        ("Authorization: Bearer hunter2", "Authorization: Bearer ***"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic ***"),
        ("authorization='hunter2'", "authorization=***"),
        ("sent bearer hunter2, got 401", "sent bearer ***, got 401"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    """Passwords of URLs, values of keys that name a secret, tokens of requests."""
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "connection to http://host:8080/users/joe@example.com refused",
        "http://[::1]:8080/",
        "FATAL: password authentication failed for user u",
        "https://example.com/token",
        "broken: 5",
        "3 tokens: all expired",
        "the bearers are tired",
        "",
    ],
)
def test_everything_else_is_left(text: str) -> None:
    """A reason has to stay one that a person can act on."""
    assert mask(text) == text


def test_a_reason_is_one_line_and_not_endless() -> None:
    """White space becomes single spaces; what is too long is cut, and shows that."""
    assert mask(" one\n\ttwo\r\n three ") == "one two three"
    assert mask("\x1b[31mred\x1b[0m\x00") == "[31mred [0m"
    assert mask("x" * LONGEST) == "x" * LONGEST
    assert mask("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"


@pytest.mark.parametrize("length", [400, 1990, 2000, 5000, 1_000_000])
def test_a_long_secret_is_masked_too(length: int) -> None:
    """Also where its end is out of sight."""
    for text in (f"redis://:{'p' * length}@cache", f"password='{'p' * length}'"):
        assert "pp" not in mask(text)
        assert "pp" not in mask(f"{' ' * length}{text}")


@pytest.mark.parametrize(
    "piece", ["a", "a:", "://", "a://b:", "a://b:c@", "password", "'", "\\", "@"]
)
def test_it_takes_no_time(piece: str) -> None:
    """A check may raise megabytes of anything; the pattern must not go through them for minutes."""
    began = time.process_time()
    mask(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 0.5


@given(st.text())
def test_it_takes_any_text(text: str) -> None:
    """And masking again changes nothing that matters: no line breaks, no endless text."""
    masked = mask(text)
    assert len(masked) <= LONGEST
    assert masked == " ".join(masked.split())


@given(
    scheme=st.from_regex(r"[a-z][a-z0-9+]{0,8}", fullmatch=True),
    user=st.sampled_from(["", "shop", "a.b-c_1", "U7"]),  # "pwd:" would hide the host as well
    password=st.from_regex(r"[A-Za-z!$%^&*()_+=;:,.<>?|~/@-]{1,20}", fullmatch=True),
)
def test_no_password_of_a_url_is_told(scheme: str, user: str, password: str) -> None:
    """Whatever it is made of."""
    url = f"{scheme}://{user}:{password}@host/path"
    assert (
        mask(f"cannot connect to {url}.") == f"cannot connect to {scheme}://{user}:***@host/path."
    )
