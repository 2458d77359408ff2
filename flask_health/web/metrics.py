"""Measures -> Prometheus. Imported with the first scrape: it needs `prometheus_client`.

Names and help texts are here and nowhere else. All values hold for the whole server, whichever of
its workers is asked: they come from the shared state, and no worker counts for itself.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import functools
import importlib.metadata
import math
import typing as t

from prometheus_client import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from ..model.check import Result
from ..model.measures import Measures
from ..model.report import Report
from ..model.server import STATES
from ..model.status import Status
from ..model.traffic import Traffic
from .headers import Headers, headers

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
GATE_STATES = ("pending", "running", "open", "failed")

NOTHING = Measures(
    Report("health", Status.FAIL, Status.FAIL, "", "pending", "local", 1),
    results=(),
    probes={},
    transitions={},
    traffic=Traffic(0, {}, 0, 0, 0.0, ((float("inf"), 0),)),
)
"""Measures of no server: for who asks which families there are."""


def expose(families: cabc.Iterable[Metric], accept: str) -> tuple[str, Headers, bytes]:
    """The answer with these families, in the format that its reader prefers."""
    # The encoders' types differ between releases, and some have none.
    encoders: tuple[t.Any, t.Any] = generate_latest, openmetrics.generate_latest
    prefers = _prefers_openmetrics(accept)
    body: bytes = encoders[prefers](_Collected([f for f in families if f.samples]))
    content_type = OPENMETRICS if prefers else TEXT
    return "200 OK", headers(content_type, len(body)), body


def families(
    measures: Measures, about: cabc.Mapping[str, object], seen: bool
) -> cabc.Iterator[Metric]:
    """Every family of metrics.

    :param about: what the service says of itself.
    :param seen: with those that name a check or the service.
    """
    yield InfoMetricFamily(
        "flask_health_build", "Version of Flask-Health that tells this.", {"version": _version()}
    )
    yield from _of_server(measures)
    if measures.report.fleet:
        from . import fleetmetrics  # Here: few servers are part of a fleet.

        yield from fleetmetrics.families(measures.report.fleet, seen)
    if seen:
        yield InfoMetricFamily(
            "flask_health_service",
            "What the service says of itself.",
            {
                "service": _label(about.get("serviceId")),
                "version": _label(about.get("releaseId")),
            },
        )
        yield from _of_checks(measures)


def _of_server(measures: Measures) -> cabc.Iterator[Metric]:
    report = measures.report
    probes = _gauge("probe_success", "Whether a probe is answered with 200.", "probe")
    for probe, passes in measures.probes.items():
        probes.add_metric([probe], passes)
    yield probes
    yield _one_of(
        "status", "Whether the server has this status, checks included.", Status, report.status
    )
    yield _one_of(
        "gate_state",
        "Whether the init gate of the server is in this state.",
        GATE_STATES,
        report.gate,
        label="state",
    )
    yield _counted(
        "workers", "Living workers of the server by state.", "state", STATES, _states(report)
    )
    for name, text, value in (
        ("workers_expected", "Workers that the server wants.", report.expected),
        ("draining", "Whether the server is draining.", measures.draining),
        ("paused", "Whether the server is paused.", measures.paused),
        (
            "problems",
            "Faults of Flask-Health's own means, as the worker that answers knows them.",
            len(report.notes),
        ),
    ):
        family = _gauge(name, text)
        family.add_metric([], value)
        yield family
    yield _counted(
        "checks",
        "Checks that hold for the whole server by status.",
        "status",
        Status,
        [result.status for result in measures.results],
    )
    total = sum(measures.transitions.values())
    yield CounterMetricFamily(
        "flask_health_transitions",
        "Changes of status of all checks since the server started.",
        total,
    )
    if measures.traffic:
        yield from _of_traffic(measures.traffic)


def _of_traffic(traffic: Traffic) -> cabc.Iterator[Metric]:
    yield CounterMetricFamily(
        "flask_health_requests", "Requests to the app that began.", traffic.requests
    )
    yield CounterMetricFamily(
        "flask_health_request_errors",
        "Requests that failed: a status of 5xx, or an exception.",
        traffic.errors,
    )
    in_flight = _gauge("requests_in_flight", "Requests that have begun and not ended.")
    in_flight.add_metric([], traffic.in_flight)
    yield in_flight
    yield HistogramMetricFamily(
        "flask_health_request_duration",
        "How long requests took from their begin to the return of the app.",
        buckets=[
            ("+Inf" if math.isinf(bound) else str(bound), count)
            for bound, count in traffic.histogram
        ],
        sum_value=traffic.spent,
        unit="seconds",
    )


def _of_checks(measures: Measures) -> cabc.Iterator[Metric]:
    info = InfoMetricFamily("flask_health_check", "How a check is registered.", labels=["check"])
    status = _gauge("check_status", "Whether a check has this status.", "check", "status")
    failures = _gauge("check_consecutive_failures", "Runs in a row that have failed.", "check")
    observed = _gauge("check_observed_value", "What the last run measured.", "check", "unit")
    durations = _gauge("check_duration", "How long the last run took.", "check", unit="seconds")
    ran = _gauge(
        "check_last_run_timestamp",
        "When the last run ended, since the epoch.",
        "check",
        unit="seconds",
    )
    succeeded = _gauge(
        "check_last_success_timestamp",
        "When the last run that did not fail ended, since the epoch.",
        "check",
        unit="seconds",
    )
    transitions = CounterMetricFamily(
        "flask_health_check_transitions",
        "Changes of status of a check since the server started.",
        labels=["check"],
    )
    for result in measures.results:
        name = [result.name]
        info.add_metric(name, _registration(result))
        for value in Status:
            status.add_metric([*name, str(value)], result.status is value)
        failures.add_metric(name, result.failures)
        _add(durations, name, result.duration)
        _add(ran, name, result.time)
        _add(succeeded, name, result.succeeded)
        if not isinstance(result.observed_value, (str, bool)):
            _add(observed, [*name, _label(result.observed_unit)], result.observed_value)
    for check in sorted(measures.transitions.keys() | {r.name for r in measures.results}):
        transitions.add_metric([check], measures.transitions.get(check, 0))
    yield from (info, status, failures, durations, ran, succeeded, observed, transitions)


def _registration(result: Result) -> dict[str, str]:
    check = result.check
    return {
        "critical": "true" if check.critical else "false",
        "probes": ",".join(check.probes),
        "scope": check.scope,
    }


def _states(report: Report) -> list[str]:
    """The state of each worker; a process that is the server by itself is one."""
    if report.workers:
        return [str(marker.state) for marker in report.workers]
    alone = {"open": "ready", "failed": "failed"}
    return [alone.get(report.gate, "starting")] if report.state == "local" else []


def _gauge(name: str, text: str, *labels: str, unit: str = "") -> GaugeMetricFamily:
    return GaugeMetricFamily(f"flask_health_{name}", text, labels=labels, unit=unit)


def _one_of(
    name: str, text: str, values: cabc.Iterable[str], current: str, label: str = ""
) -> Metric:
    family = _gauge(name, text, label or name)
    for value in values:
        family.add_metric([str(value)], value == current)
    return family


def _counted(
    name: str, text: str, label: str, values: cabc.Iterable[str], found: cabc.Iterable[str]
) -> Metric:
    counts = collections.Counter(map(str, found))
    family = _gauge(name, text, label)
    for value in values:
        family.add_metric([str(value)], counts[str(value)])
    return family


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)


def _label(value: object) -> str:
    """A text that can be encoded, whatever it came from."""
    return str(value or "").encode("utf-8", "replace").decode("utf-8")


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("Flask-Health")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _prefers_openmetrics(accept: str) -> bool:
    qualities = {"openmetrics": 0.0, "text": 0.0}
    for value, quality in parse_accept_header(accept, MIMEAccept):
        kind = value.partition(";")[0].strip().lower()
        if kind == "application/openmetrics-text":
            qualities["openmetrics"] = max(qualities["openmetrics"], quality)
        elif kind in ("text/plain", "text/*", "*/*"):
            qualities["text"] = max(qualities["text"], quality)
    return 0.0 < qualities["openmetrics"] >= qualities["text"]


class _Collected:
    """What looks like a registry to the encoders."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families
