"""The status page of one server: what a person sees of a report."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..model.status import SEVERITY, Status
from . import curves, figures, sections, stages

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..model.report import Report
    from ..workers.overview import Overview
    from .about import About
    from .pages import Answer, Pages

EVERY, EVERY_WHILE_STARTING = 2.0, 1.0
"""Seconds between two questions of the script."""

MOST_REASONS = 3
MOST_CHANGES = 15

WORDS = {Status.PASS: "Ready", Status.WARN: "Ready, with warnings", Status.FAIL: "Not ready"}

ORDERS = {"draining": "leave", "paused": "pause"}
"""The shapes of what is red on purpose."""

Row = dict[str, t.Any]


class StatusPage:
    """Answers at `/health/ui`."""

    def __init__(self, pages: Pages, overview: cabc.Callable[[], Overview], about: About) -> None:
        self._pages = pages
        self._overview = overview
        self._about = about

    def __call__(self, environ: WSGIEnvironment) -> Answer:
        """The page, to those who may see it."""
        return self._pages.answer(environ, "status.html", self._overview, self._context)

    def _context(self, seen: Overview, most: int) -> Row:
        report = seen.report
        info = self._about.info(report)
        members = self._about()
        shown = verdict(report, seen.ordered)
        service = str(members["serviceId"])
        return {
            **shown,
            "title": f"{shown['word']} · {service}",
            "as_of": seen.time,
            "every": EVERY if report.gate == "open" else EVERY_WHILE_STARTING,
            "service": service,
            "version": members.get("releaseId"),
            "facts": _facts(seen, info),
            "notes": report.notes,
            "gate": stages.gate(report, seen.setups),
            "checks": sections.checks(report.results, seen.runs, most),
            "plots": curves.plots(report.traffic, seen.flow.course) if report.traffic else [],
            "traffic": curves.told(report.traffic) if report.traffic else "",
            "workers": sections.workers(seen, info, most),
            "changes": [sections.change(row) for row in reversed(seen.transitions[-MOST_CHANGES:])],
            "about": _about(report, info),
            "links": [*_links(members), *([("fleet", "fleet")] if report.fleet else [])],
        }


def verdict(report: Report, ordered: str = "") -> Row:
    """What everything comes to: a tone, a shape, a word, and the reasons.

    :param ordered: why readiness is red on purpose; empty when it is not.
    """
    if ordered and report.status is Status.FAIL:
        order, _, why = ordered.partition(": ")
        reasons = [f"Not ready on purpose: {why}" if why else "Not ready on purpose."]
        return {"tone": "warn", "shape": ORDERS[order], "word": order.title(), "reasons": reasons}
    tone, word = str(report.status), WORDS[report.status]
    if report.status is Status.FAIL and report.gate in ("pending", "running"):
        tone, word = "wait", "Starting"
    reasons = [report.reason] if report.reason else []
    if report.status is not Status.PASS and tone != "wait":
        bad = sorted(
            (r for r in report.results if r.counts_as is not Status.PASS),
            key=lambda result: SEVERITY.index(result.counts_as),
        )
        reasons += [f"{r.name}: {r.output}" for r in bad[:MOST_REASONS]]
        if len(bad) > MOST_REASONS:
            reasons.append(f"and {len(bad) - MOST_REASONS} more checks, see below")
    reasons = reasons or [_all_well(report)]
    return {"tone": tone, "shape": tone, "word": word, "reasons": list(filter(None, reasons))}


def _all_well(report: Report) -> str:
    """What a verdict without a reason stands on."""
    serving, checks = sum(m.state.serves for m in report.workers), len(report.results)
    # While code is loaded anew there are more of them for a while.
    share = f"{serving} of {report.expected}" if serving <= report.expected else str(serving)
    workers = f"{share} workers serve" if report.workers else ""
    passing = "1 check passes" if checks == 1 else f"{checks} checks pass" if checks else ""
    said = ", ".join(filter(None, [workers, passing]))
    return said and f"{said}."


def _facts(seen: Overview, info: cabc.Mapping[str, t.Any]) -> list[Row]:
    """The other probes, and since when the server runs."""
    bad = "fail" if seen.report.gate in ("open", "failed") else "wait"
    found = [
        {"name": probe, "value": "ok" if good else "not ready", "tone": "pass" if good else bad}
        for probe, good in seen.probes.items()
    ]
    if "uptime" in info:
        found.append({"name": "up", "value": figures.duration(info["uptime"]), "tone": ""})
    return found


def _about(report: Report, info: cabc.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    names = {"commit": "commit", "python": "Python", "flask": "Flask", "gunicorn": "gunicorn"}
    found = [(name, str(info[key])[:40]) for key, name in names.items() if key in info]
    return [*found, ("state in", report.state)] if report.state != "local" else found


def _links(members: cabc.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """`HEALTH_LINKS`; an address that is not of the web is shown without leading there."""
    return [
        (name, address if address.startswith(("https://", "http://", "/")) else "")
        for name, address in members.get("links", {}).items()
    ]
