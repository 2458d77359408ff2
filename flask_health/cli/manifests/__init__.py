"""What a service needs around it, written for one app: a small file for each kind."""

from __future__ import annotations

import collections.abc as cabc
import importlib

from .plan import Plan

KINDS = (
    "kubernetes",
    "compose",
    "docker",
    "systemd",
    "haproxy",
    "nginx",
    "prometheus",
    "aws",
    "consul",
    "consul-ttl",
    "github",
)


def render(kind: str, plan: Plan) -> str:
    """The text of a manifest; the same each time.

    :param kind: one of :data:`KINDS`.
    """
    name = f"{__name__}.{kind.replace('-', '_')}"
    write: cabc.Callable[[Plan], str] = importlib.import_module(name).render
    return write(plan)
