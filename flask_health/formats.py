"""The `HEALTH_*` values that have a form of their own, as addresses: few apps have any."""

from __future__ import annotations

import json
import os

from .config import PROBES, Wrong


def address(value: object) -> str:
    """Where the second port is."""
    text = value if isinstance(value, str) and "\0" not in value else ""
    host, _, port = text.rpartition(":")
    if text.startswith("unix:"):
        # No longer than what fits into a socket's address with the zero at its end.
        right = text[5:].startswith("/") and len(os.fsencode(text[5:])) < 108
    else:
        bracketed = host[:1] + host[-1:] == "[]"
        right = bool(host) and (":" in host) is bracketed and text.isascii() and port.isdigit()
        right = right and len(port) < 6 and 0 < int(port) < 65536
    if not right:
        raise Wrong(
            "an address such as '127.0.0.1:9000', '[::]:9000' or 'unix:/run/app/health.sock'"
        )
    return text


def prefixes(value: object) -> tuple[str, ...]:
    """Paths, by what they begin with."""
    if isinstance(value, str):
        value = _from_json(value)
    if not isinstance(value, (list, tuple)) or not all(_is_path(item) for item in value):
        raise Wrong("a list of path prefixes that start with '/'")
    return tuple(value)


def aliases(value: object) -> dict[str, str]:
    """Paths, each with its probe."""
    value = _from_json(value)
    if not isinstance(value, dict) or not all(
        _is_path(path) and path.strip("/") and probe in PROBES for path, probe in value.items()
    ):
        raise Wrong(
            "a dict of paths to probes, such as {'/readyz': 'ready'}; the probes are "
            + ", ".join(PROBES)
        )
    return dict(value)


def texts(value: object) -> dict[str, str]:
    """Texts, each with its name."""
    value = _from_json(value)
    if not isinstance(value, dict) or not all(
        isinstance(word, str) for pair in value.items() for word in pair
    ):
        raise Wrong("a dict of texts to texts")
    return dict(value)


def web_address(value: object) -> str:
    """Where a message is sent."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not isinstance(value, str) or not right or any(c <= " " or c > "~" for c in value):
        raise Wrong("a URL that begins with 'https://' or 'http://', without spaces")
    return value


def store(value: object) -> str:
    """What the servers of a fleet share."""
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        raise Wrong("a URL such as 'redis://host:6379/0', of redis://, rediss:// or unix://")
    return value


def edits(one: str, other: str) -> int:
    """The number of letters to insert, delete or replace to turn one text into the other."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, row = row, [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted)))
    return row[-1]


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and "<" not in value


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None
