"""The stores of a fleet: the oldest Redis that will do, a Valkey, a Redis with TLS, clusters of
three, one at the end of a slow line.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import redis

from .backends import SECRET, Redis
from .certificates import Authority
from .environment import accepts, free_port
from .system import REDIS, Need
from .waiting import eventually
from .wheels import COMMAND, REDIS_6, VALKEY, Wheel


def _need(wheel: Wheel) -> Need:
    return Need(REDIS.packages[1:], REDIS.programs[1:], (wheel.program,), besides=COMMAND)


class Redis6(Redis):
    """The oldest Redis that will do."""

    need = _need(REDIS_6)
    program = REDIS_6.program
    user = ""  # Others may have no right to look where it is installed.


class Valkey(Redis):
    """A Valkey."""

    need = _need(VALKEY)
    program = VALKEY.program
    user = ""


ROUNDS = int(os.environ.get("FLASK_HEALTH_ROUNDS", "1"))
"""How often whatever depends on the moment is tried; `tox run -e fleet`: often."""

MAKES: tuple[type[Redis], ...] = (Redis, Redis6, Valkey)
USUAL = MAKES if ROUNDS > 1 else MAKES[:1]
"""What all tests of a fleet run with: in `tox run -e fleet` with every make, else with one."""


class TLSRedis(Redis):
    """A Redis that speaks TLS alone, with a certificate of an authority of the test's."""

    def __init__(self) -> None:
        super().__init__()
        self._authority = Authority(self.home)
        self._authority.server("127.0.0.1")
        for file in self.home.glob("*.pem"):
            self._own(file)

    @property
    def url(self) -> str:
        ca = self._authority.file
        return f"rediss://:{SECRET}@127.0.0.1:{self.port}/0?ssl_ca_certs={ca}"

    def command(self) -> list[str]:
        pem = str(self.home / "127.0.0.1.pem")
        options = {"--port": "0", "--tls-port": str(self.port), "--tls-cert-file": pem}
        options |= {"--tls-key-file": pem, "--tls-ca-cert-file": str(self._authority.file)}
        options |= {"--tls-auth-clients": "no"}
        found = [word for word in super().command() if word]
        at = found.index("--port")
        return [*found[:at], *found[at + 2 :], *(w for pair in options.items() for w in pair)]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class _Node(Redis):
    """A node of a cluster."""

    BUS = 10_000
    """What lies between its port and the one on which nodes speak; Redis 6 knows no other."""

    def __init__(self) -> None:
        super().__init__()
        while self.port + self.BUS > 0xFFFF or accepts(self.port + self.BUS):
            self.port = free_port()

    def command(self) -> list[str]:
        options = {"--cluster-enabled": "yes", "--cluster-config-file": "nodes.conf"}
        options |= {"--cluster-node-timeout": "2000", "--masterauth": SECRET}
        return [*super().command(), *(word for pair in options.items() for word in pair)]


class _Node6(_Node, Redis6):
    """A node of a cluster of the oldest Redis."""


class _NodeOfValkey(_Node, Valkey):
    """A node of a cluster of Valkey."""


class Cluster:
    """Three masters, each with a third of the slots; a context manager."""

    SLOTS = 16384
    node: type[_Node] = _Node

    def __init__(self) -> None:
        self.nodes = [self.node() for _ in range(3)]

    @property
    def url(self) -> str:
        """The URL of one node; it leads to the others."""
        return self.nodes[0].url

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._meet()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.__exit__(None, None, None)

    def _meet(self) -> None:
        clients: list[Any] = [
            redis.Redis.from_url(node.url, decode_responses=True) for node in self.nodes
        ]
        edges = [round(self.SLOTS * third / 3) for third in range(4)]
        for client, first, end in zip(clients, edges, edges[1:], strict=False):
            client.execute_command("CLUSTER", "ADDSLOTS", *range(first, end))
        for node in self.nodes[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        for client in clients:
            eventually(partial(_agrees, client), why="the cluster agrees")
            client.close()


class Cluster6(Cluster):
    """The same of the oldest Redis."""

    node = _Node6


class ClusterOfValkey(Cluster):
    """The same of Valkey."""

    node = _NodeOfValkey


def _agrees(client: Any) -> bool:
    words = str(client.execute_command("CLUSTER", "INFO")).split()
    return {"cluster_state:ok", "cluster_known_nodes:3"} <= set(words)


class Slow:
    """A line to a port of 127.0.0.1 on which each packet takes `delay` seconds, in each direction;
    may be changed. A context manager.
    """

    def __init__(self, target: int, delay: float) -> None:
        self.delay = delay
        self.port = free_port()
        self._target = target
        self._open: list[socket.socket] = []

    def __enter__(self) -> Slow:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._open.append(self._listener)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                time.sleep(self.delay)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@contextmanager
def client(url: str) -> Iterator[Any]:
    """A client of the test's own, which decodes what it gets."""
    with redis.Redis.from_url(url, decode_responses=True) as made:
        yield made


def keys(url: str) -> dict[str, int]:
    """All keys of a store, with the seconds that each still lives; -1: for ever."""
    with client(url) as asked:
        return {key: asked.ttl(key) for key in asked.scan_iter()}
