"""The results of checks, shared by the workers of a server.

They lie in a directory of their own below the state directory: a new result every few seconds
must not look like a change of the workers.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import logging
import os
import typing as t

from ..model.check import History, Outcome
from ..model.status import Status

if t.TYPE_CHECKING:
    from .statedir import StateDir

    class Place(t.Protocol):
        """Who knows the state directory."""

        directory: StateDir


log: logging.Logger = logging.getLogger("flask_health")

RESULTS = "checks.json"
TRANSITIONS = "transitions.json"
RUNS = "runs.json"
KEPT_TRANSITIONS = 100
LETTERS = {status.value[0]: status for status in Status}
"""A row of statuses takes little room as a word."""


@dataclasses.dataclass(frozen=True)
class Transition:
    """A change of status of one check.

    :ivar time: when, in seconds since the epoch.
    :ivar failures: failing runs in a row before it, or up to it.
    :ivar outage: for how many seconds it had been failing, when it works again; else 0.
    :ivar worker: the process id of the worker that it is about; 0 when it is about the server.
    """

    check: str
    old: Status
    new: Status
    time: float
    output: str
    failures: int
    outage: float
    worker: int = 0


class Board:
    """Published results: written by whoever runs the checks, read by all. The newest wins."""

    def __init__(self, presence: Place) -> None:
        self._presence = presence
        self._seen: tuple[int, int] = (0, 0)
        self._sequence = 0
        self.writer: int = 0

    def changed(self) -> bool:
        """Whether something was published since the last reading."""
        try:
            found = os.stat(self._path(RESULTS), dir_fd=self._presence.directory.fd)
        except OSError:
            return False
        seen, self._seen = self._seen, (found.st_mtime_ns, found.st_ino)
        return seen != self._seen

    def read(self) -> dict[str, History] | None:
        """The published histories by check; None when there are none newer than those read."""
        content = _parse(self._presence.directory.read(self._path(RESULTS)))
        sequence = _sequence(content)
        if sequence <= self._sequence:
            return None
        self._sequence, self.writer = sequence, content.get("pid", 0)
        found = {}
        checks = content.get("checks")
        for name, members in checks.items() if isinstance(checks, dict) else ():
            try:
                found[name] = _history(members)
            except (KeyError, TypeError, ValueError):
                continue  # Written by another version of this file's format.
        return found

    def publish(self, histories: cabc.Mapping[str, History]) -> None:
        """Publishes histories.

        :raises OSError: when it cannot; the last publication stays.
        """
        latest = _parse(self._presence.directory.read(self._path(RESULTS)))
        self._sequence = max(_sequence(latest), self._sequence) + 1
        self.writer = os.getpid()
        self._write(
            RESULTS,
            {
                "pid": self.writer,
                "sequence": self._sequence,
                "checks": {name: dataclasses.asdict(h) for name, h in histories.items()},
            },
        )

    def transitions(self) -> list[Transition]:
        """The last changes, oldest first."""
        return _transitions(self._read(TRANSITIONS))

    def counts(self) -> dict[str, int]:
        """How many changes each check has had since the server started; also those not kept."""
        return _counts(self._read(TRANSITIONS))

    def numbered(self) -> tuple[int, list[Transition]]:
        """How many changes there have been, of all checks, and the last of them, oldest first:
        from one look, so that both belong together.
        """
        content = self._read(TRANSITIONS)
        return sum(_counts(content).values()), _transitions(content)

    def add_transition(self, transition: Transition) -> None:
        """Keeps one more change, and counts it.

        :raises OSError: when it cannot.
        """
        directory = self._presence.directory
        directory.make_folder("results")
        # Each worker tells what it finds out about itself: two at once would count one change.
        with directory.having("results"):
            content = self._read(TRANSITIONS)
            kept = [*_transitions(content), transition][-KEPT_TRANSITIONS:]
            counts = _counts(content)
            counts[transition.check] = counts.get(transition.check, 0) + 1
            self._write(
                TRANSITIONS,
                {"counts": counts, "transitions": [dataclasses.asdict(row) for row in kept]},
            )

    def _read(self, name: str) -> dict[str, t.Any]:
        return _parse(self._presence.directory.read(self._path(name)))

    def runs(self) -> dict[str, list[tuple[float, Status]]]:
        """The last runs of each check, oldest first: how many seconds each took, and its status."""
        found = {}
        checks = _parse(self._presence.directory.read(self._path(RUNS))).get("checks")
        for name, members in checks.items() if isinstance(checks, dict) else ():
            try:
                statuses = [LETTERS[letter] for letter in members["statuses"]]
                found[name] = list(zip(map(float, members["durations"]), statuses, strict=True))
            except (KeyError, TypeError, ValueError):
                continue
        return found

    def publish_runs(self, runs: cabc.Mapping[str, cabc.Sequence[tuple[float, Status]]]) -> None:
        """Publishes the last runs of each check.

        :raises OSError: when it cannot.
        """
        checks = {
            name: {
                "durations": [round(duration, 5) for duration, _ in kept],
                "statuses": "".join(status.value[0] for _, status in kept),
            }
            for name, kept in runs.items()
        }
        self._write(RUNS, {"checks": checks})

    def _write(self, name: str, content: dict[str, t.Any]) -> None:
        directory = self._presence.directory
        directory.make_folder("results")
        directory.write(self._path(name), json.dumps(content))

    def _path(self, name: str) -> str:
        return f"results/{name}"


def _parse(text: str) -> dict[str, t.Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _transitions(content: dict[str, t.Any]) -> list[Transition]:
    try:
        return [
            Transition(**{**row, "old": Status(row["old"]), "new": Status(row["new"])})
            for row in content.get("transitions", [])
        ]
    except (KeyError, TypeError, ValueError):
        return []


def _counts(content: dict[str, t.Any]) -> dict[str, int]:
    counts = content.get("counts")
    if not isinstance(counts, dict):
        return {}
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _sequence(content: dict[str, t.Any]) -> int:
    sequence = content.get("sequence")
    return sequence if isinstance(sequence, int) else 0


def _history(members: dict[str, t.Any]) -> History:
    last = Outcome(**{**members["last"], "status": Status(members["last"]["status"])})
    return History(**{**members, "status": Status(members["status"]), "last": last})
