"""What a server tells of itself to its fleet."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ..model.report import Report
from ..model.status import Status
from .keys import plain

if t.TYPE_CHECKING:
    from ..model.traffic import Traffic

MOST_CHECKS = 10
"""Checks that are not pass of which a server tells, and the characters of each reason."""
MOST_WORDS = 100


@dataclasses.dataclass(frozen=True)
class Summary:
    """A server in few words.

    :ivar contribution: the fields of the aggregate in which it counts, a line each.
    :ivar report: the rest as JSON.
    :ivar state: what its `since` is about.
    """

    contribution: str
    report: str
    state: str


def summarize(report: Report, release: str, traffic: Traffic | None = None) -> Summary:
    """What a server tells.

    :param report: of the probe `health`.
    :param traffic: its requests, where they are counted.
    """
    release = plain(release)
    ready = report.status is not Status.FAIL
    fields = ["n", f"s:{report.status}", f"r:{release}"]
    if ready:
        fields += ["ready", f"R:{release}"]
    # The status itself and not what it counts as: panic must not end itself.
    fields += [
        f"f:{result.name}"
        for result in report.results
        if result.check.panic and result.status is Status.FAIL and result.time is not None
    ]
    told = _report(report, ready, traffic)
    return Summary("\n".join(fields), told, f"{report.status} {report.gate}")


def _report(report: Report, ready: bool, traffic: Traffic | None) -> str:
    ran = [result for result in report.results if result.time is not None]
    wrong = [result for result in ran if result.status is not Status.PASS]
    members: dict[str, t.Any] = {
        "status": str(report.status),
        "ready": ready,
        "gate": report.gate,
        "workers": {
            "expected": report.expected,
            "ready": sum(marker.state.serves for marker in report.workers)
            if report.workers
            else int(report.gate == "open"),
        },
        "reason": report.reason[:MOST_WORDS],
        "checks": {
            result.name: [str(result.status), result.output[:MOST_WORDS]]
            for result in wrong[:MOST_CHECKS]
        },
    }
    if traffic:
        members["traffic"] = _traffic(traffic)
    return json.dumps({k: v for k, v in members.items() if v != ""}, separators=(",", ":"))


def _traffic(traffic: Traffic) -> dict[str, float]:
    """The last minute: requests a second, the share of errors, seconds of the slowest hundredth."""
    window = traffic.windows["1m"]
    found = {"rate": round(window.rate, 2), "errors": round(window.errors, 4)}
    if window.p99 is not None:
        found["p99"] = round(window.p99, 4)
    return found | {"inFlight": traffic.in_flight}
