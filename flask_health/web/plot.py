"""Curves as paths of SVG: geometry alone, no colours."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

WIDTH, HEIGHT = 300, 60
"""The units that a plot is drawn in; it is stretched to the room that it has."""

BAR, GAP, TALL = 2, 1, 20
"""The width of a run in the row of the last ones, the room between two, the height of the row."""

Values = cabc.Sequence[float | None]


class Curve(t.NamedTuple):
    """One line of a plot.

    :ivar name: what it shows, for the legend.
    :ivar kind: its class in the stylesheet: `area`, `line`, `upper` or `bad`.
    :ivar path: the `d` of a `path`.
    """

    name: str
    kind: str
    path: str


class Plot(t.NamedTuple):
    """Some curves over the same time.

    :ivar now: the newest figure.
    :ivar top: what the upper edge stands for; the lower one is 0.
    :ivar since: when the left edge was.
    :ivar told: the same for who does not see it.
    """

    curves: list[Curve]
    now: str
    top: str
    since: str
    told: str
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def legend(self) -> list[Curve]:
        """The curves that have a name."""
        return [curve for curve in self.curves if curve.name]


def ceiling(rows: cabc.Iterable[Values]) -> float:
    """A round number that is not below any value, and not much above the highest."""
    highest = max((v for values in rows for v in values if v is not None), default=0.0)
    if highest <= 0:
        return 1.0
    step = 1e-6
    while step < highest:
        for factor in (1, 1.5, 2, 3, 4, 5, 6, 8):
            if step * factor >= highest:
                return step * factor
        step *= 10
    return step


def line(values: Values, top: float) -> str:
    """A line through values at equal distances; None interrupts it.

    :param top: the value at the upper edge.
    """
    found, pen = [], "M"
    step = WIDTH / max(len(values) - 1, 1)
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        found.append(f"{pen}{_short(number * step)} {_short(HEIGHT - HEIGHT * value / top)}")
        if pen == "M":
            found.append("h0")  # A value between two gaps is a dot.
        pen = "L"
    return "".join(found)


def area(values: Values, top: float) -> str:
    """The area below a line; None is 0 there."""
    zeros = [value or 0.0 for value in values]
    return f"{line(zeros, top)}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z" if values else ""


def bars(heights: cabc.Sequence[float | None], places: int) -> str:
    """A row of upright strokes, the last one at the right.

    :param heights: from 0 to 1; None leaves its place empty.
    :param places: how many there is room for.
    """
    empty = places - len(heights)
    return "".join(
        f"M{(empty + number) * (BAR + GAP) + BAR // 2} {TALL}v{-max(round(TALL * height), 1)}"
        for number, height in enumerate(heights)
        if height is not None
    )


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
