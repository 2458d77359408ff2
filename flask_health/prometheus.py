"""The metrics of `/health/metrics` in an app's own registry, beside its own.

Needs the extra `prometheus`. An app that serves no metrics of its own needs nothing of this.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t
import weakref

import flask
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .extension import STATE
from .web import metrics

if t.TYPE_CHECKING:
    from .wired import Wired

__all__ = ["HealthCollector", "register"]


class HealthCollector(Collector):
    """Collects the metrics of one app. Every value holds for the whole server, whichever worker
    is asked, with and without `PROMETHEUS_MULTIPROC_DIR`; collecting runs no check.

    :param checks: whether to collect what names a check or the service.
    """

    def __init__(self, app: flask.Flask, checks: bool = True) -> None:
        self._app = weakref.ref(app)  # A registry lives as long as its process.
        self._checks = checks

    def collect(self) -> cabc.Iterable[Metric]:
        """The families now; none once the app is gone."""
        app = self._app()
        if app is None:
            return []
        wired: Wired = app.extensions[STATE]
        return [family for family in wired.teller().families(self._checks) if family.samples]

    def describe(self) -> cabc.Iterable[Metric]:
        """The families without samples: what a registry asks when this is registered."""
        return metrics.families(metrics.NOTHING, {}, self._checks)


def register(
    app: flask.Flask, registry: CollectorRegistry = REGISTRY, *, checks: bool = True
) -> HealthCollector:
    """Adds our metrics to a registry, so that an app's own `/metrics` tells them as well.

    :param app: a wired app.
    :param registry: by default that of `prometheus_client`. In the multiprocess mode it is the one
        that `MultiProcessCollector` is registered in.
    :param checks: whether to tell what names a check or the service: who may read the registry
        is the app's decision.
    :return: the collector, for `registry.unregister`.
    :raises RuntimeError: for an app that no extension is wired to.
    :raises ValueError: when the registry has metrics of these names, those of another app maybe.
    """
    if not isinstance(app, flask.Flask):
        raise TypeError(f"register() takes the Flask app, not {app!r}")
    if STATE not in app.extensions:
        raise RuntimeError(
            f"This app ({app.name!r}) is not wired to a HealthCheck. Did you forget to call "
            "'init_app'?"
        )
    collector = HealthCollector(app, checks)
    registry.register(collector)
    return collector
