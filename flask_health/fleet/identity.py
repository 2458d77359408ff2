"""Who a server is in its fleet, and what its configuration says about that."""

from __future__ import annotations

import hashlib
import os
import socket
import typing as t
import uuid

from ..model.mask import mask

if t.TYPE_CHECKING:
    from ..workers.gate import Gate


class Options(t.NamedTuple):
    """What the configuration says about the fleet.

    :ivar panic: the share of failing servers above which a check is only warned of.
    :ivar least: the number of servers below which it never is.
    """

    url: str
    service: str
    release: str
    required: bool
    panic: float
    least: int


def identity_of(gate: Gate) -> str:
    """What tells this server from all others; the same in all of its workers."""
    if gate.presence is None:
        return uuid.uuid4().hex[:12]
    boot = os.path.basename(gate.presence.directory.path)
    return hashlib.sha256(f"{socket.gethostname()} {boot}".encode()).hexdigest()[:12]


def name_of(gate: Gate) -> str:
    """This server, for people."""
    return mask(f"{socket.gethostname()}:{gate.server.master or os.getpid()}")
