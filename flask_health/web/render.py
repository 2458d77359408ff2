"""Report -> text and health+json. The only place that knows the names on the wire."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import json
import typing as t
import urllib.parse

from ..model.status import Status

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..model.check import Result
    from ..model.report import Report

Headers = list[tuple[str, str]]
Answer = tuple[str, Headers, bytes]

TEXT = "text/plain; charset=utf-8"
JSON = "application/health+json"
RETRY_AFTER = ("Retry-After", "5")
"""How many seconds a client that was refused should wait."""

REASONS = {200: "200 OK", 404: "404 Not Found", 503: "503 Service Unavailable"}
WORDS = {200: "ok", 503: "not ready"}


def headers(content_type: str, length: int) -> Headers:
    """The headers that all our answers have."""
    return [
        ("Content-Type", content_type),
        ("Content-Length", str(length)),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]


def plain(report: Report) -> Answer:
    """One of two words."""
    code = report.status.http_code
    return _answer(code, TEXT, WORDS[code])


def as_json(report: Report, about: cabc.Mapping[str, object] | None) -> Answer:
    """health+json.

    :param about: what the service says of itself, for those who may see details; None: only the
        status is told.
    """
    members = {"status": str(report.status)} if about is None else describe(report, about)
    return _answer(report.status.http_code, JSON, json.dumps(members, ensure_ascii=False))


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
        lines = [_server_line(report), *found, *warnings, *lines]
    return _answer(report.status.http_code, TEXT, "\n".join(lines) + "\n")


def check(result: Result, in_json: bool) -> Answer:
    """One check."""
    code = result.status.http_code
    if in_json:
        return _answer(code, JSON, json.dumps(_describe_check(result), ensure_ascii=False))
    return _answer(code, TEXT, _line(result) + "\n")


def info(members: cabc.Mapping[str, object]) -> Answer:
    """What a service says of itself."""
    return _answer(200, "application/json", json.dumps(members, ensure_ascii=False))


def not_found() -> Answer:
    """Nothing is here, or nothing that the sender may see."""
    return _answer(404, TEXT, "not found")


def describe(report: Report, about: cabc.Mapping[str, object]) -> dict[str, t.Any]:
    """A report in the members of draft-inadarei-api-health-check-06, sections 3 and 4, with
    `duration`, `gate` and `workers` of our own. Durations are in seconds.
    """
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
    members["duration"] = round(sum(r.duration or 0.0 for r in report.results), 6)
    members["checks"] = {_key(result): [_describe_check(result)] for result in report.results}
    if report.excluded:
        members["excluded"] = sorted(report.excluded)
    members["gate"] = {
        "state": report.gate,
        "steps": [_present(vars(step)) for step in report.steps],
    }
    members["workers"] = {
        "state": report.state,
        "expected": report.expected,
        "alive": [
            {"pid": marker.pid, "age": marker.age, "state": str(marker.state)}
            for marker in report.workers
        ],
    }
    return members


def wants_json(environ: WSGIEnvironment) -> bool:
    """Whether a request asks for JSON, by `?format=json` or by what it accepts best."""
    query = environ.get("QUERY_STRING", "")
    if query and urllib.parse.parse_qs(query).get("format") == ["json"]:
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


def _key(result: Result) -> str:
    measurement = result.check.measurement
    return f"{result.name}:{measurement}" if measurement else result.name


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
