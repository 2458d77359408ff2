"""Whether memcached answers."""

from __future__ import annotations

import contextlib
import copy
import typing as t
from collections.abc import Iterator

from .readymade import Deadline, Timed


class memcached(Timed):
    """Passes when memcached tells its version; with several servers, when all of them do.

    A `PooledClient` lends a connection of its pool, with this check's limits while it is lent.
    A plain `Client` may not be used by two threads: its settings are used, and a connection of
    this check's own that is closed when the call ends. Of a `HashClient` each server is asked,
    one after the other. Connecting to a name that resolves to several addresses takes the limit
    for each; looking the name up is not bounded.

    :param client: `Client`, `PooledClient` or `HashClient` of pymemcache.
    :param warn_after: seconds; a longer answer, of all servers together, is degraded.
    """

    component_type: t.ClassVar[str] = "datastore"

    def __init__(self, client: t.Any, *, warn_after: float | None = None) -> None:
        from pymemcache.client.base import Client, PooledClient
        from pymemcache.client.hash import HashClient

        super().__init__(warn_after)
        if not isinstance(client, (Client, PooledClient, HashClient)):
            raise TypeError(
                "'client' must be a Client, PooledClient or HashClient of pymemcache, "
                f"not a {type(client).__name__}."
            )
        if isinstance(client, HashClient) and not client.clients:
            raise ValueError("'client' has no servers.")
        self.client = client

    def _ask(self) -> None:
        clients = list(getattr(self.client, "clients", {"": self.client}).values())
        deadline = Deadline(self.driver_timeout)
        for asked, client in enumerate(clients):
            with self._asking(_where(client)):
                share = deadline.left() / (len(clients) - asked)
                with _lent(client) as one, _limited(one, share / 2):
                    one.version()


@contextlib.contextmanager
def _lent(client: t.Any) -> Iterator[t.Any]:
    """A client that nobody else uses meanwhile; its connection is closed when the block raises."""
    if hasattr(client, "client_pool"):
        with client.client_pool.get_and_release(destroy_on_fail=True) as one:
            yield one
        return
    own = copy.copy(client)
    own.sock = None
    with contextlib.closing(own):
        yield own


@contextlib.contextmanager
def _limited(client: t.Any, seconds: float) -> Iterator[None]:
    """Limit how long the client connects, and how long it waits for an answer."""
    before = client.connect_timeout, client.timeout
    client.connect_timeout = client.timeout = seconds
    if client.sock is not None:
        client.sock.settimeout(seconds)
    try:
        yield
    finally:
        client.connect_timeout, client.timeout = before
        if client.sock is not None:
            client.sock.settimeout(client.timeout)


def _where(client: t.Any) -> str:
    server = client.server
    return f"memcached at {server if isinstance(server, str) else f'{server[0]}:{server[1]}'}"
