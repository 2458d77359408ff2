"""A fleet as it is told in JSON: for whoever asks the store without being a server."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import time
import typing as t

from ..model.fleet import FleetReport, parse_aggregate
from .keys import Keys
from .listing import Listing, Row, Servers
from .store import Store
from .view import read_changes

MOST_CHANGES = 10


def overlook(store: Store, service: str) -> dict[str, t.Any]:
    """All that the store knows of a service, as :func:`describe` tells it.

    :raises StoreError: when the store does not answer.
    """
    keys = Keys(service)
    servers = Listing(store, keys).read()
    (fields,) = store.rows([keys.aggregate])
    entries = store.command("XREVRANGE", keys.changes, "+", "-", "COUNT", MOST_CHANGES)
    sight = parse_aggregate(fields, "", servers.now)
    fleet = FleetReport(service, "", "", "", sight, 0.0, {})
    return describe(fleet, servers, read_changes(entries))


def describe(
    fleet: FleetReport, servers: Servers, changes: cabc.Iterable[cabc.Mapping[str, t.Any]]
) -> dict[str, t.Any]:
    """The members of the JSON answer: those of :func:`members`, changes and the list."""
    age = None if servers.read_at is None else round(time.monotonic() - servers.read_at, 3)
    listed: dict[str, t.Any] = {"age": age, "listed": len(servers.rows), "total": servers.total}
    if servers.problem:
        listed["problem"] = servers.problem
    return {
        **members(fleet),
        "changes": [{**change, "time": moment(change["time"])} for change in changes],
        "list": {**listed, "servers": [_server(row, servers.now) for row in servers.rows]},
    }


def members(fleet: FleetReport) -> dict[str, t.Any]:
    """What a server knows of its fleet, as members of JSON. Ages are in seconds."""
    who = {"service": fleet.service, "release": fleet.release, "server": fleet.server}
    found: dict[str, t.Any] = {
        **{name: value for name, value in who.items() if value},
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
                "since": moment(release.appeared),
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


def moment(seconds: float) -> str:
    """A time in seconds since the epoch, as JSON has it."""
    found = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return found.isoformat(timespec="milliseconds")


def _server(row: Row, now: float) -> dict[str, t.Any]:
    return {
        "server": row.identity,
        "name": row.name,
        "release": row.release,
        **row.told,
        "since": moment(row.since),
        "started": moment(row.born),
        "age": round(max(0.0, now - row.since), 3),
        "silent": round(max(0.0, now - row.seen), 3),
    }
