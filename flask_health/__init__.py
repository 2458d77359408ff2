"""Health probes for Flask that are true for all workers of a server.

Reading order: `extension` wires the rooms to an app. `workers/gate` is the init gate and its life
story, `workers/boots`, `workers/statedir` and `workers/watch` are how workers agree, `model/judge`
decides, and `web/probe` answers.
"""

from __future__ import annotations

TYPE_CHECKING = False  # As of `typing`, which a command line that only probes does without.
if TYPE_CHECKING:
    import typing as t

    from .exceptions import ConfigError as ConfigError
    from .exceptions import Degraded as Degraded
    from .extension import HealthCheck as HealthCheck
    from .model.check import Result as Result
    from .model.report import Report as Report
    from .model.status import Status as Status
    from .signals import status_changed as status_changed
    from .workers.gate import Gate as Gate

__all__ = [
    "ConfigError",
    "Degraded",
    "Gate",
    "HealthCheck",
    "Report",
    "Result",
    "Status",
    "status_changed",
]

_HOMES = {
    "ConfigError": ".exceptions",
    "Degraded": ".exceptions",
    "Gate": ".workers.gate",
    "HealthCheck": ".extension",
    "Report": ".model.report",
    "Result": ".model.check",
    "Status": ".model.status",
    "status_changed": ".signals",
}


def __getattr__(name: str) -> t.Any:
    # Imported when asked for: a command line that only reads the state directory needs no Flask.
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
