"""Report -> text and health+json. The only place that knows the names on the wire."""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t
import urllib.parse

from ..model.report import Report

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Headers = list[tuple[str, str]]

TEXT = "text/plain; charset=utf-8"
JSON = "application/health+json"
RETRY_AFTER = ("Retry-After", "5")
"""How many seconds a client that was refused should wait."""

REASONS = {200: "200 OK", 503: "503 Service Unavailable"}
WORDS = {200: "ok", 503: "not ready"}


def headers(content_type: str, length: int) -> Headers:
    """The headers that all our answers have."""
    return [
        ("Content-Type", content_type),
        ("Content-Length", str(length)),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]


def answer(
    report: Report, as_json: bool, about: cabc.Mapping[str, object] | None
) -> tuple[str, Headers, bytes]:
    """The status line, headers and body of a probe's answer.

    :param about: what the service says of itself, for those who may see details; None: only the
        status is told.
    """
    code = report.status.http_code
    if not as_json:
        body = WORDS[code].encode()
    elif about is None:
        body = json.dumps({"status": str(report.status)}).encode()
    else:
        body = json.dumps(describe(report, about), ensure_ascii=False).encode()
    found = headers(JSON if as_json else TEXT, len(body))
    if code == 503:
        found.append(RETRY_AFTER)
    return REASONS[code], found, body


def describe(report: Report, about: cabc.Mapping[str, object]) -> dict[str, t.Any]:
    """A report in the members of draft-inadarei-api-health-check-06, sections 3 and 4, with
    `gate` and `workers` of our own.
    """
    members: dict[str, t.Any] = {"status": str(report.status)}
    if report.reason:
        members["output"] = report.reason
    members |= {name: value for name, value in about.items() if value}
    if report.notes:
        members["notes"] = list(report.notes)
    members["checks"] = {}
    members["gate"] = {
        "state": report.gate,
        "steps": [
            {name: value for name, value in vars(step).items() if value not in (None, "")}
            for step in report.steps
        ],
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
