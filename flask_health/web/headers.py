"""The headers that all our answers have."""

from __future__ import annotations

Headers = list[tuple[str, str]]

TEXT = "text/plain; charset=utf-8"
RETRY_AFTER = ("Retry-After", "5")
"""How many seconds a client that was refused should wait."""


def headers(content_type: str, length: int) -> Headers:
    """The headers of an answer with a body of `length` bytes."""
    return [
        ("Content-Type", content_type),
        ("Content-Length", str(length)),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
