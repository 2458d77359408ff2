"""Report -> text and health+json. The only place that knows the names on the wire."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import json
import typing as t
import urllib.parse

from ..model.status import Status
from .headers import RETRY_AFTER, TEXT, Headers, headers

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..model.check import Result
    from ..model.fleet import FleetReport
    from ..model.report import Report
    from ..model.server import Marker
    from ..model.traffic import Traffic, Window

Answer = tuple[str, Headers, bytes]

JSON = "application/health+json"

REASONS = {200: "200 OK", 404: "404 Not Found", 503: "503 Service Unavailable"}
WORDS = {200: "ok", 503: "not ready"}


_dumps = json.JSONEncoder(ensure_ascii=False).encode


def _members(members: cabc.Mapping[str, object]) -> str:
    """The members of an object, to be put among others."""
    return _dumps(members)[1:-1]


def plain(report: Report) -> Answer:
    """One of two words."""
    code = report.status.http_code
    return _answer(code, TEXT, WORDS[code])


class Encoder:
    """Writes health+json, with the members of draft-inadarei-api-health-check-06, sections 3 and 4,
    and `duration`, `gate`, `workers` and `traffic` of our own. Durations are in seconds.

    A check is encoded once for each of its results, not for each reader of it; and what was told
    last of all checks, of the workers and of traffic is kept, each for as long as it is the same.
    """

    def __init__(self) -> None:
        self._encoded: dict[str, tuple[Result, str]] = {}
        self._last: tuple[tuple[Result, ...], str] = (), ""
        self._last_server: tuple[tuple[object, ...], str] = (), ""
        self._last_traffic: tuple[Traffic | None, str] = None, ""

    def __call__(self, report: Report, about: cabc.Mapping[str, object] | None) -> Answer:
        """The answer that tells a report.

        :param about: what the service says of itself, for those who may see details; None: only
            the status is told.
        """
        if about is None:
            text = _dumps({"status": str(report.status)})
        else:
            parts = (
                _members(_summary(report, about)),
                f'"checks": {{{self._checks(report.results)}}}',
                _members({"excluded": sorted(report.excluded)}) if report.excluded else "",
                self._server(report),
                _members(_describe_fleet(report.fleet)) if report.fleet else "",
                self._traffic(report.traffic),
            )
            text = f"{{{', '.join(filter(None, parts))}}}"
        return _answer(report.status.http_code, JSON, text)

    def _checks(self, results: tuple[Result, ...]) -> str:
        """The members of `checks`."""
        known, text = self._last
        if known != results:
            text = ", ".join(map(self._check, results))
            self._last = results, text
        return text

    def _server(self, report: Report) -> str:
        """The members `gate` and `workers`."""
        server = (report.gate, report.steps, report.state, report.expected)
        workers = (report.workers, report.movements, report.setups)
        known, text = self._last_server
        if known != (server, workers):
            text = _members(_describe_server(report))
            self._last_server = (server, workers), text
        return text

    def _traffic(self, traffic: Traffic | None) -> str:
        """The member `traffic`; empty when nothing is known."""
        known, text = self._last_traffic
        if known is not traffic:
            text = _members({"traffic": describe_traffic(traffic)}) if traffic else ""
            self._last_traffic = traffic, text
        return text

    def _check(self, result: Result) -> str:
        """A check as a member of `checks`."""
        known = self._encoded.get(result.name)
        if known is None or known[0] != result:
            known = self._encoded[result.name] = result, _encode_check(result)
        return known[1]


def verbose(report: Report, seen: bool) -> Answer:
    """The text form of the Kubernetes API server: a line per check, and a trailer, which is all
    that those see who may not see details.
    """
    passed = "failed" if report.status is Status.FAIL else "passed"
    lines = [f"{report.probe} check {passed}"]
    if seen:
        known = {result.name for result in report.results}
        unknown = sorted(report.excluded - known)
        warnings = [f"warn: there is no check '{name}' to exclude" for name in unknown]
        found = [_line(r, r.name in report.excluded) for r in report.results]
        lines = [_server_line(report), *_workers_line(report), *found, *warnings, *lines]
    return _answer(report.status.http_code, TEXT, "\n".join(lines) + "\n")


def check(result: Result, in_json: bool) -> Answer:
    """One check."""
    code = result.status.http_code
    if in_json:
        return _answer(code, JSON, _dumps(_describe_check(result)))
    return _answer(code, TEXT, _line(result) + "\n")


def info(members: cabc.Mapping[str, object]) -> Answer:
    """What a service says of itself."""
    return _answer(200, "application/json", _dumps(members))


def describe_traffic(traffic: Traffic) -> dict[str, t.Any]:
    """The members of `traffic`. Durations are in seconds."""
    windows = {name: _describe_window(window) for name, window in traffic.windows.items()}
    return {"inFlight": traffic.in_flight, **windows}


def _describe_window(window: Window) -> dict[str, t.Any]:
    return _present(
        {
            "seconds": round(window.seconds, 3),
            "requests": window.requests,
            "rate": round(window.rate, 3),
            "errorShare": round(window.errors, 6),
            **{name: _round(getattr(window, name)) for name in ("mean", "p50", "p90", "p99")},
        }
    )


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def not_found(why: str = "not found") -> Answer:
    """Nothing is here, or nothing that the sender may see."""
    return _answer(404, TEXT, why)


def parse_query(environ: WSGIEnvironment) -> dict[str, list[str]]:
    """The parameters of a request, also those without a value."""
    return urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def wants_json(environ: WSGIEnvironment, query: cabc.Mapping[str, list[str]] | None = None) -> bool:
    """Whether a request asks for JSON, by `?format=json` or by what it accepts best.

    :param query: its parameters, where they are known already.
    """
    if query is None:
        query = parse_query(environ)
    if query.get("format") == ["json"]:
        return True
    accept = environ.get("HTTP_ACCEPT", "")
    if "json" not in accept:
        return False
    from werkzeug.datastructures import MIMEAccept
    from werkzeug.http import parse_accept_header

    offered = ["text/plain", JSON, "application/json"]
    best = parse_accept_header(accept, MIMEAccept).best_match(offered, default="text/plain")
    return best != "text/plain"


def _answer(code: int, content_type: str, text: str) -> Answer:
    body = text.encode("utf-8", "replace")
    found = headers(content_type, len(body))
    if code == 503:
        found.append(RETRY_AFTER)
    return REASONS[code], found, body


def _summary(report: Report, about: cabc.Mapping[str, object]) -> dict[str, t.Any]:
    """The members before `checks`."""
    members: dict[str, t.Any] = {"status": str(report.status)}
    reasons = [report.reason] if report.reason else []
    if report.status is not Status.PASS:
        counted = [r for r in report.results if r.name not in report.excluded]
        reasons += [f"{r.name}: {r.output}" for r in counted if r.counts_as is not Status.PASS]
    if reasons:
        members["output"] = "; ".join(reasons)
    members |= {name: value for name, value in about.items() if value}
    if report.notes:
        members["notes"] = list(report.notes)
    members["duration"] = round(sum([r.duration or 0.0 for r in report.results]), 6)
    return members


def _describe_fleet(fleet: FleetReport) -> dict[str, t.Any]:
    from ..fleet.telling import members  # Here: few servers are part of one.

    return {"fleet": members(fleet)}


def _describe_server(report: Report) -> dict[str, t.Any]:
    return {
        "gate": {
            "state": report.gate,
            "steps": [_present(vars(step)) for step in report.steps],
        },
        "workers": {
            "state": report.state,
            "expected": report.expected,
            "alive": [_describe_worker(report, marker) for marker in report.workers],
        },
    }


def _describe_worker(report: Report, marker: Marker) -> dict[str, t.Any]:
    busy, stalled = report.movements.get(marker.pid, (None, None))
    members = {
        "pid": marker.pid,
        "age": marker.age,
        "state": str(marker.state),
        "busy": busy,
        "stalled": None if stalled is None else round(stalled, 1),
        "steps": [_present(vars(step)) for step in report.setups.get(marker.pid, ())] or None,
    }
    return _present(members)


def _workers_line(report: Report) -> list[str]:
    """Which workers are busy or stalled, when one is."""
    moves = report.movements.items()
    busy = sum(1 for _, (requests, _) in moves if requests)
    stalled = [f"{pid} ({seconds:.0f} s)" for pid, (_, seconds) in moves if seconds is not None]
    if not busy and not stalled:
        return []
    line = f"[+]workers {busy} of {len(report.workers)} busy"
    return [f"{line}, stalled: {', '.join(stalled)}" if stalled else line]


def _key(result: Result) -> str:
    measurement = result.check.measurement
    return f"{result.name}:{measurement}" if measurement else result.name


def _encode_check(result: Result) -> str:
    return f"{_dumps(_key(result))}: [{_dumps(_describe_check(result))}]"


def _describe_check(result: Result) -> dict[str, t.Any]:
    members = {
        "componentType": result.check.component_type or None,
        "observedValue": result.observed_value,
        "observedUnit": result.observed_unit,
        "status": str(result.status),
        "time": _time(result.time),
        "output": None if result.status is Status.PASS else result.output,
        "duration": None if result.duration is None else round(result.duration, 6),
        "critical": result.check.critical,
        "since": _time(result.since),
    }
    return _present(members)


def _present(members: cabc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in members.items() if value not in (None, "")}


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


def _line(result: Result, excluded: bool = False) -> str:
    if excluded:
        return f"[+]{result.name} excluded: ok"
    took = "" if result.duration is None else f" ({result.duration * 1000:.0f} ms)"
    if result.status is Status.FAIL:
        return f"[-]{result.name} failed: {result.output}{took}"
    if result.status is Status.WARN:
        return f"[+]{result.name} warn: {result.output}{took}"
    return f"[+]{result.name} ok{took}"


def _server_line(report: Report) -> str:
    if report.server is Status.FAIL:
        return f"[-]gate failed: {report.reason}"
    return f"[+]gate {report.gate}" + (f": {report.reason}" if report.reason else "")
