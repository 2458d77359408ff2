"""Finding the server that this process belongs to, without being told."""

from __future__ import annotations

import sys

from .server import Role, Server


def locate(workers: int | None) -> Server:
    """The server of this process, from who is on the stack now.

    :param workers: `HEALTH_WORKERS`: the number of workers of a server that cannot be asked.
    """
    from . import gunicorn, otherservers

    frame = sys._getframe()
    found = gunicorn.locate(frame) or otherservers.locate(frame, workers)
    if found:
        return found
    if workers is not None and workers > 1:
        return Server(Role.WORKER, workers=workers)
    return Server()
