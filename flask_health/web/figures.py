"""Figures and moments as people read them."""

from __future__ import annotations

import collections.abc as cabc
import datetime

UNKNOWN = "\u2013"  # a dash
UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def duration(seconds: float | None) -> str:
    """A duration in at most two units, three digits of it: `0.42 ms`, `1.2 s`, `2 h 5 min`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        return f"{_digits(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{_digits(seconds)} s"
    return _in_units(seconds)


def age(seconds: float) -> str:
    """How long ago something was, no more exactly than it helps. Clocks may have been set since:
    never in the future.
    """
    if seconds < 1.0:
        return "just now"
    first, unit, *rest = _in_units(seconds).split()
    return " ".join([first, unit, *(rest if int(first) < 3 else []), "ago"])


def size(amount: float | None) -> str:
    """An amount of memory, given in bytes."""
    if amount is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB"):
        if amount < 1000:
            return f"{_digits(amount)} {unit}"
        amount /= 1024
    return f"{_digits(amount)} GiB"


def rate(per_second: float | None) -> str:
    """How often something happens."""
    return UNKNOWN if per_second is None else f"{_digits(per_second)}/s"


def whole(number: int) -> str:
    """A count, its digits in groups."""
    return f"{number:,}".replace(",", "\u202f")


def share(part: float | None) -> str:
    """A share of 1, in percent."""
    if part is None:
        return UNKNOWN
    return "< 0.01 %" if 0 < part < 0.0001 else f"{_digits(100 * part)} %"


def clock(time: float) -> str:
    """A moment given in seconds since the epoch: the time of day, in UTC as in logs."""
    return _moment(time).strftime("%H:%M:%S UTC")


def iso(time: float) -> str:
    """The same for machines, with its date."""
    return _moment(time).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(time: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc)


def _digits(number: float) -> str:
    """A number with at most three digits, or as many as are before its point."""
    if number >= 99.95:
        return f"{number:,.0f}".replace(",", "\u202f")
    text = f"{number:.2g}" if number < 9.95 else f"{number:.0f}"
    if "e" in text:
        return f"{number:.3f}".rstrip("0").rstrip(".")
    return text


def _in_units(seconds: float) -> str:
    """A duration in whole seconds, minutes, hours and days, the two greatest of them."""
    rest = round(seconds)
    found: list[tuple[int, str]] = []
    for length, unit in UNITS:
        number, rest = divmod(rest, int(length))
        if number or found:
            found.append((number, unit))
    found = found or [(0, "s")]
    return " ".join(f"{number} {unit}" for number, unit in found[:2] if number)


FILTERS: dict[str, cabc.Callable[..., str]] = {
    function.__name__: function for function in (duration, age, size, rate, share, clock, iso)
}
