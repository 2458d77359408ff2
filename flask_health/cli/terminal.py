"""Where a command writes: a terminal, which can be redrawn, or anything else, which cannot."""

from __future__ import annotations

import os
import shutil
import sys
import typing as t

from .command import MOST, clipped

COLOURS = {
    **dict.fromkeys(("ok", "pass", "ready", "done", "open"), "32"),
    **dict.fromkeys(("warn", "starting", "running", "waiting", "leaving", "pending"), "33"),
    **dict.fromkeys(("not ready", "unreachable", "fail", "failed", "stopping"), "31"),
}
"""Only added to what the words say."""


class Terminal:
    """The standard output of this process.

    :ivar live: whether what was written can be drawn over.
    """

    def __init__(self, stream: t.TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.live: bool = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colours = self.live and not os.environ.get("NO_COLOR")
        self._drawn = 0

    @property
    def columns(self) -> int:
        """How wide it is."""
        return shutil.get_terminal_size().columns if self.live else 100

    def paint(self, word: str, width: int = 0) -> str:
        """A word in its colour, filled up to a width."""
        colour = COLOURS.get(word) if self._colours else None
        padded = f"{word:{width}}"
        return f"\x1b[{colour}m{padded}\x1b[0m" if colour else padded

    def draw(self, lines: t.Sequence[str]) -> None:
        """Replaces the lines that were drawn last."""
        rows = shutil.get_terminal_size().lines - 1
        shown = [_cut(line, self.columns) for line in lines[:rows]]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._stream.write(f"{up}\r\x1b[J" + "".join(f"{line}\n" for line in shown))
        self._stream.flush()
        self._drawn = len(shown)

    def write(self, lines: t.Sequence[str], most: int = MOST) -> None:
        """Writes a report below what is there: all of it on a terminal, else its first bytes."""
        self._drawn = 0
        text = "".join(f"{line}\n" for line in lines)
        self._stream.write(text if self.live else shortened(text, most))
        self._stream.flush()


def shortened(text: str, most: int = MOST) -> str:
    """The first lines of a text that fit, and how many more there are. None takes more than half
    of the room: the first says most, and has to be among them.
    """
    if len(text.encode("utf-8", "replace")) <= most:
        return text
    kept, room = [], most - 40
    lines = text.splitlines()
    for line in lines:
        shown = clipped(line, most // 2) + "\n"
        room -= len(shown.encode("utf-8", "replace"))
        if room < 0:
            break
        kept.append(shown)
    left = len(lines) - len(kept)
    return "".join(kept) + (f"... {left} more lines\n" if left else "")


def _cut(line: str, columns: int) -> str:
    """A line that takes one row. Colours take no room, and are ended."""
    room, kept, escaped = columns, [], False
    for letter in line:
        if letter == "\x1b":
            escaped = True
        if not escaped:
            room -= 1
            if room < 0:
                break
        if escaped and letter.isalpha():
            escaped = False
        kept.append(letter)
    ended = "\x1b[0m" if room < 0 and "\x1b" in kept else ""
    return "".join(kept) + ended
