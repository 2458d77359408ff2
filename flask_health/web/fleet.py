"""The names on the wire of what a server knows of its fleet."""

from __future__ import annotations

import typing as t

from ..model.fleet import FleetReport


def members(fleet: FleetReport) -> dict[str, t.Any]:
    """What a server knows of its fleet, as members of JSON. Ages are in seconds."""
    found: dict[str, t.Any] = {
        "service": fleet.service,
        "release": fleet.release,
        "server": fleet.server,
        "store": fleet.problem or "ok",
    }
    seen = fleet.sight
    if seen is None:
        return found
    found |= {
        "age": round(fleet.age or 0.0, 3),
        "servers": {"total": seen.servers, "ready": seen.ready, **seen.statuses},
        "releases": [
            {
                "release": release.name,
                "servers": release.servers,
                "ready": release.ready,
                "share": round(release.servers / max(1, seen.servers), 4),
            }
            for release in seen.releases
        ],
    }
    if seen.rolling_out:
        found["rollingOut"] = seen.rolling_out.name
    if seen.failing:
        found["failing"] = dict(sorted(seen.failing.items()))
    if fleet.panics:
        found["panic"] = dict(fleet.panics)
    return found
