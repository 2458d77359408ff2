"""What one worker has learnt of the fleet, and telling the other workers of its server."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import typing as t

from ..model.fleet import Aggregate, Release, Sight


@dataclasses.dataclass(frozen=True)
class View:
    """What a server knows of its fleet.

    :ivar sight: the fleet as it was seen last.
    :ivar problem: why the store cannot be asked, for people.
    :ivar panics: the checks that are warned of instead of failing, each with the reason.
    :ivar changes: the last changes in the fleet, newest first: `time` in seconds since the epoch on
        the clock of the store, `server`, `state`, and `release` or `step`.
    :ivar alone: whether this server runs fleet checks for itself.
    """

    sight: Sight | None = None
    problem: str = ""
    panics: cabc.Mapping[str, str] = dataclasses.field(default_factory=dict)
    changes: tuple[cabc.Mapping[str, t.Any], ...] = ()
    alone: bool = False


def to_note(view: View) -> str:
    """A view as text."""
    return json.dumps(dataclasses.asdict(view), separators=(",", ":"))


def from_note(text: str) -> View | None:
    """The view in a text; None when it is none, or of another version of this format."""
    try:
        found: dict[str, t.Any] = json.loads(text)
        seen = found.pop("sight")
        sight = None
        if seen is not None:
            aggregate: dict[str, t.Any] = seen["aggregate"]
            releases = tuple(Release(*row) for row in aggregate.pop("releases"))
            sight = Sight(Aggregate(releases=releases, **aggregate), seen["read_at"])
        return View(sight=sight, changes=tuple(found.pop("changes")), **found)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def read_changes(entries: cabc.Iterable[t.Any]) -> tuple[dict[str, t.Any], ...]:
    """The entries of the change stream, as Redis returns them: an id with a time in it, then names
    and values.
    """
    found = []
    for identity, told in entries:
        words = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
        at = int(str(identity).partition("-")[0]) / 1000
        found.append({"time": at, **{name: word for name, word in words.items() if word}})
    return tuple(found)
