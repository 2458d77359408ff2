"""The names of all keys, and of what lies in them; see `docs/fleet.md`."""

from __future__ import annotations

import hashlib
import re

LONGEST = 100
"""Characters of a name in a key."""


class Keys:
    """The keys of one service.

    The braces have a Redis Cluster keep all of them on one node, so that one script may use
    several.
    """

    def __init__(self, service: str) -> None:
        self.service: str = service
        self._prefix = f"flask-health:{{{plain(service)}}}"
        self.servers: str = f"{self._prefix}:servers"
        self.members: str = f"{self._prefix}:members"
        self.aggregate: str = f"{self._prefix}:aggregate"
        self.changes: str = f"{self._prefix}:changes"
        self.checks: str = f"{self._prefix}:checks"

    def server(self, identity: str) -> str:
        """The key of one server."""
        return f"{self._prefix}:server:{identity}"

    def step(self, release: str, name: str) -> str:
        """The key of one step of one release."""
        return f"{self._prefix}:step:{plain(release)}:{name}"


def plain(text: str) -> str:
    """A name without what has a meaning in a key, or in a list of names. Of a long one the end is a
    digest: two releases may differ there alone.
    """
    found = re.sub(r"[\s\x00-\x1f\x7f{}:]+", "_", text) or "_"
    if len(found) <= LONGEST:
        return found
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{found[: LONGEST - len(digest) - 1]}~{digest}"
