"""What the servers of a fleet are together, and what follows from it for one of them.

Times of the store are seconds since the epoch on the clock of Redis, which all servers share;
`now` and `read_at` are on the monotonic clock of this machine.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from .status import Status

STALE_AFTER = 15.0
"""Age in seconds above which what a server has read of its fleet is not believed any more; after
as many seconds of silence a server is not counted any more.
"""

WARM_UP = 6.0
"""Seconds that a new aggregate may need until all servers have told of themselves: twice the
longest pause between two beats, with room.
"""


class Release(t.NamedTuple):
    """The servers of one release.

    :ivar appeared: when its first server did, in seconds since the epoch.
    """

    name: str
    servers: int
    ready: int
    appeared: float


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """All servers of a fleet, counted.

    :ivar version: differs whenever anything else does.
    :ivar age: for how many seconds servers have been counted: a store that was emptied starts anew.
    :ivar servers: how many live.
    :ivar ready: how many of them may be sent traffic.
    :ivar statuses: how many are `pass`, `warn`, `fail`.
    :ivar releases: the one that appeared last comes first.
    :ivar failing: on how many servers each check with `panic=True` fails.
    """

    version: str = ""
    age: float = 0.0
    servers: int = 0
    ready: int = 0
    statuses: cabc.Mapping[str, int] = dataclasses.field(default_factory=dict)
    releases: tuple[Release, ...] = ()
    failing: cabc.Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def rolling_out(self) -> Release | None:
        """The release that replaces others: the one that appeared last; None with a single one."""
        return self.releases[0] if len(self.releases) > 1 else None


def parse_aggregate(fields: cabc.Mapping[str, str], version: str, now: float) -> Aggregate:
    """The aggregate as the store keeps it: names with a kind before them, and numbers.

    :param now: in seconds since the epoch, on the clock of the store.
    """
    counts: dict[str, dict[str, int]] = {"s": {}, "r": {}, "R": {}, "t": {}, "f": {}}
    for field, number in fields.items():
        kind, colon, name = field.partition(":")
        if colon and kind in counts:
            counts[kind][name] = int(number)
    releases = [
        Release(name, servers, counts["R"].get(name, 0), counts["t"].get(name, 0) / 1000)
        for name, servers in counts["r"].items()
    ]
    releases.sort(key=lambda release: (release.appeared, release.name), reverse=True)
    born = int(fields.get("born", 0)) / 1000
    return Aggregate(
        version=version,
        age=max(0.0, now - born),
        servers=int(fields.get("n", 0)),
        ready=int(fields.get("ready", 0)),
        statuses={str(s): counts["s"].get(str(s), 0) for s in Status},
        releases=tuple(releases),
        failing=counts["f"],
    )


@dataclasses.dataclass(frozen=True)
class Sight:
    """The fleet as a server has seen it last.

    :ivar read_at: when, on the monotonic clock.
    """

    aggregate: Aggregate
    read_at: float

    def is_stale(self, now: float) -> bool:
        """Whether it is too old to be believed."""
        return now - self.read_at > STALE_AFTER


def newer(before: Sight | None, after: Sight) -> Sight:
    """Which of two sights to go by.

    Right after a store was emptied its aggregate knows only the servers that have told of
    themselves since: until all may have, the earlier one tells more, for as long as it is believed.
    """
    if before is None or before.is_stale(after.read_at):
        return after
    incomplete = after.aggregate.age < WARM_UP
    return before if incomplete and after.aggregate.servers < before.aggregate.servers else after


def panics(sight: Sight | None, share: float, least: int, now: float) -> dict[str, str]:
    """The checks that fail on so many servers that taking all of these out of rotation would be
    worse than what they warn of, each with the reason, for people.

    :param share: `HEALTH_FLEET_PANIC`: more than this share of the live servers; 0: never.
    :param least: `HEALTH_FLEET_PANIC_MIN`: in a fleet of at least so many live servers.
    """
    if sight is None or not share or sight.is_stale(now):
        return {}
    servers = sight.aggregate.servers
    if servers < least:
        return {}
    return {
        check: f"fails on {failing} of {servers} servers"
        for check, failing in sorted(sight.aggregate.failing.items())
        if failing / servers > share
    }


@dataclasses.dataclass(frozen=True)
class FleetReport:
    """What a server knows of its fleet.

    :ivar service: the name that its servers share.
    :ivar release: the release of this server.
    :ivar server: the identity of this server.
    :ivar problem: why the store cannot be asked now, for people; empty when it can.
    :ivar sight: the fleet as it was seen last; None when it never was.
    :ivar age: how many seconds ago that was; None when it never was.
    :ivar panics: the checks that are warned of instead of failing, each with the reason.
    :ivar alone: whether it runs fleet checks for itself, as the store does not answer.
    """

    service: str
    release: str
    server: str
    problem: str
    sight: Aggregate | None
    age: float | None
    panics: cabc.Mapping[str, str]
    alone: bool = False
