"""What a server knows of its fleet, in numbers. Imported with the first scrape of one that has one.

Every server of a fleet tells the same: take the maximum over them, and not the sum.
"""

from __future__ import annotations

import collections.abc as cabc

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from ..model.fleet import Aggregate, FleetReport


def families(fleet: FleetReport, seen: bool) -> cabc.Iterator[Metric]:
    """The families of metrics.

    :param seen: with those that name a check or a release.
    """
    sight = fleet.sight or Aggregate()
    up = {"": not fleet.problem}
    yield _gauge("store_up", "Whether the fleet store answered last.", up)
    states = {"ready": sight.ready, "not ready": sight.servers - sight.ready}
    yield _gauge("servers", "Living servers of the fleet.", states, "state")
    if not seen:
        return
    releases = {release.name: release.servers for release in sight.releases}
    yield _gauge("release_servers", "Living servers of a release.", releases, "release")
    failing = sight.failing
    yield _gauge("failing_servers", "Servers on which a check fails.", failing, "check")
    checks = sorted({*sight.failing, *fleet.panics})
    panics = {check: check in fleet.panics for check in checks}
    yield _gauge("panic", "Whether a failure of a check is only warned of.", panics, "check")


def _gauge(name: str, text: str, values: cabc.Mapping[str, float], label: str = "") -> Metric:
    labels = [label] if label else []
    family = GaugeMetricFamily(f"flask_health_fleet_{name}", text, labels=labels)
    for value, number in values.items():
        family.add_metric([value] if label else [], number)
    return family
