"""What a server tells outsiders of itself: names, which they judge it by, and `about.json`, which
says what it is.

    master.<pid>.<start>    the process whose end is the server's
    terms.<generation>.<minimum>.<checks>.<startup>.<patience>
                            what readiness depends on: HEALTH_MIN_WORKERS, the number of checks,
                            how many of them are the startup probe's, and after how many seconds
                            without a movement a worker is stalled, 0: never
"""

from __future__ import annotations

import collections.abc as cabc
import math
import os
import sys
import typing as t

from ..model.movement import patience
from .process import start_time

if t.TYPE_CHECKING:
    from ..config import Config
    from ..model.check import Check
    from .gate import Gate

TOLD = (
    "probes",
    "critical",
    "scope",
    "timeout",
    "interval",
    "retry_interval",
    "failure_threshold",
    "success_threshold",
    "component_type",
    "measurement",
)
"""What is told of a check beside its name."""


def introduction(
    gate: Gate, config: Config, checks: cabc.Sequence[Check], package: str
) -> tuple[set[str], str]:
    """The names that a worker has told of its server, and the text of `about.json`.

    :param package: what the app is part of: its installed version is the server's, where
        `HEALTH_VERSION` says nothing.
    """
    import json

    server, options = gate.server, gate.options
    start = start_time(server.master)
    startup = sum("startup" in check.probes for check in checks)
    limit = math.ceil(patience(options.stall_after, server.timeout, server.idle_beat) or 0)
    facts = {
        f"master.{server.master}.{start}",
        f"terms.{gate.generation}.{options.min_workers}.{len(checks)}.{startup}.{limit}",
    }
    about = {
        "app": options.app_name,
        "service": config.service or options.app_name,
        "version": config.version or installed_version(package),
        "server": server.kind,
        "listen": [*server.listen, *([config.listen] if config.listen else [])],
        "master": {"pid": server.master, "start": start},
        "generation": gate.generation,
        "min_workers": options.min_workers,
        "stall_after": limit or None,
        "checks": {c.name: {key: getattr(c, key) for key in TOLD} for c in checks},
    }
    return facts, json.dumps(about)


def installed_version(package: str) -> str | None:
    """The version of an installed package, from the name of its directory of metadata: what reads
    those is large, and this is asked once in the life of a worker.
    """
    wanted = _plain(package)
    for path in sys.path:
        try:
            names = os.listdir(path or ".")
        except OSError:
            continue
        for name in names:
            stem, _, kind = name.rpartition(".")
            found, _, version = stem.partition("-")
            if kind == "dist-info" and version and _plain(found) == wanted:
                return version
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
