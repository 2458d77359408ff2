"""The page of a fleet: what a person sees of many servers at once."""

from __future__ import annotations

import collections
import typing as t

from ..model.fleet import Aggregate, FleetReport
from . import figures
from .pages import Pages

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..fleet.listing import Row, Servers
    from ..fleet.member import Member
    from .pages import Answer

EVERY = 2.0
"""Seconds between two questions of the script."""

MOST_CHANGES = 5

Cells = dict[str, t.Any]


class FleetPage:
    """Answers at `/health/fleet` to browsers."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def __call__(self, environ: WSGIEnvironment, member: Member) -> Answer:
        """The page, to those who may see it."""
        return self._pages.answer(
            environ, "fleet.html", member.listing.look, lambda seen, most: _page(member, seen, most)
        )


def _page(member: Member, servers: Servers, most: int) -> Cells:
    fleet = member.report()
    shown = verdict(fleet, servers)
    return {
        **shown,
        "title": f"{shown['word']} · fleet of {fleet.service}",
        "as_of": servers.now,
        "every": EVERY,
        "service": fleet.service,
        "notes": [note for note in (fleet.problem or servers.problem,) if note],
        "panics": [f"{check} {reason}" for check, reason in fleet.panics.items()],
        "releases": _releases(fleet),
        "rollout": _rollout(fleet),
        "servers": _servers(servers, fleet.server, most),
        "changes": [_change(dict(change)) for change in member.changes[:MOST_CHANGES]],
    }


def verdict(fleet: FleetReport, servers: Servers) -> Cells:
    """What everything comes to: a tone, a shape, a word, and the reasons."""
    seen = fleet.sight
    if seen is None or not seen.servers:
        return _said("wait", "Unknown", ["The fleet has not been read yet."])
    if fleet.problem:
        why = f"The store does not answer: this is what was known {fleet.age or 0.0:.0f} s ago."
        return _said("lost", "Not known now", [why])
    told = f"{seen.ready} of {seen.servers} servers are ready."
    if not seen.ready:
        return _said("fail", "Not ready", [told])
    if fleet.panics:
        return _said("warn", "In panic", [told, "Failures of too many are only warned of."])
    if seen.ready < seen.servers or seen.statuses["warn"]:
        return _said("warn", "Ready, with warnings", [told])
    return _said("pass", "Ready", [told])


def _said(tone: str, word: str, reasons: list[str]) -> Cells:
    return {"tone": tone, "shape": tone, "word": word, "reasons": reasons}


def _releases(fleet: FleetReport) -> list[Cells]:
    seen = fleet.sight or Aggregate()
    return [
        {
            "name": release.name,
            "told": f"{_count(release.servers)}, {release.ready} ready",
            "percent": round(100 * release.servers / max(1, seen.servers)),
            "tone": "pass" if release.ready == release.servers else "wait",
        }
        for release in seen.releases
    ]


def _count(servers: int) -> str:
    return f"{servers} server{'' if servers == 1 else 's'}"


def _rollout(fleet: FleetReport) -> str:
    """Which release is rolling out, and how far."""
    seen = fleet.sight
    if seen is None or seen.rolling_out is None:
        return "All servers are of one release." if seen and seen.servers else ""
    new = seen.rolling_out
    return f"{new.name} is rolling out: {new.ready} of {seen.servers} servers."


def _servers(servers: Servers, own: str, most: int) -> Cells:
    """The servers; of more than can be shown in full only the names, by state."""
    others: dict[tuple[str, str, str], list[str]] = collections.defaultdict(list)
    for row in servers.rows[most:]:
        others[_state(row), _tone(row), _tone(row)].append(row.name)
    missing = servers.total - len(servers.rows)
    return {
        "rows": [_server(row, own) for row in servers.rows[:most]],
        "others": others,
        "more": f"and {missing} more" if missing > 0 else "",
        "told": f"{servers.total} in all",
    }


def _server(row: Row, own: str) -> Cells:
    workers = row.told.get("workers", {})
    checks = row.told.get("checks", {})
    reasons = [row.told["reason"]] if row.told.get("reason") else []
    reasons += [f"{name}: {output}" for name, (_, output) in checks.items()]
    return {
        "name": row.name,
        "own": row.identity == own,
        "release": row.release,
        "state": _state(row),
        "tone": _tone(row),
        "reason": "; ".join(reasons),
        "workers": f"{workers.get('ready', 0)} of {workers.get('expected', 0)}",
        "traffic": _traffic(row.told.get("traffic", {})),
        "since": row.since,
        "born": row.born,
    }


def _traffic(told: Cells) -> str:
    """The last minute of a server, as far as there was anything."""
    if not told.get("rate"):
        return figures.UNKNOWN
    parts = [figures.rate(told["rate"])]
    if told.get("errors"):
        parts.append(f"{figures.share(told['errors'])} errors")
    if "p99" in told:
        parts.append(f"p99 {figures.duration(told['p99'])}")
    return ", ".join(parts)


def _state(row: Row) -> str:
    gate = row.told.get("gate")
    if not row.ready and gate in ("pending", "running"):
        return "starting"
    return row.status if row.ready else "not ready"


def _tone(row: Row) -> str:
    return "wait" if _state(row) == "starting" else row.status


def _change(change: Cells) -> Cells:
    step, state = change.get("step"), str(change.get("state", ""))
    status, _, gate = state.partition(" ")
    if step:
        told = state
        tone = {"done": "pass", "failed": "fail", "given up": "fail"}.get(state, "wait")
    elif state == "gone":
        told, tone = "gone", "wait"
    else:
        told = "starting" if gate in ("pending", "running") else status
        tone = "wait" if told == "starting" else status
    shape = {"gone": "leave"}.get(state, tone)
    return {
        "time": change["time"],
        "server": change.get("server", ""),
        "about": f"step {step}" if step else change.get("release", ""),
        "told": told,
        "tone": tone,
        "shape": shape,
    }
