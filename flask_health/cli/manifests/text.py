"""Writing YAML by hand, because a manifest explains its numbers in comments."""

from __future__ import annotations

import json
import textwrap

WIDTH = 100
"""Characters of a line with a comment."""


def quoted(text: object) -> str:
    """A text as YAML, JSON and TOML write it."""
    return json.dumps(str(text), ensure_ascii=False)


def words(items: list[str]) -> str:
    """A list of texts on one line."""
    return "[" + ", ".join(map(quoted, items)) + "]"


def items(texts: list[str], indent: int) -> str:
    """A list of texts, each on a line of its own."""
    return "\n".join(f"{' ' * indent}- {quoted(text)}" for text in texts)


def block(text: str, indent: int = 0) -> str:
    """A text without its own indentation, moved to the right; no line ends in blanks."""
    moved = textwrap.indent(textwrap.dedent(text).strip("\n"), " " * indent)
    return "\n".join(line.rstrip() for line in moved.splitlines())


def comment(text: str, indent: int = 0) -> str:
    """A comment of as many lines as it takes."""
    before = " " * indent + "# "
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=before,
        subsequent_indent=before,
        break_long_words=False,
        break_on_hyphens=False,
    )


def lines(*parts: str) -> str:
    """Parts below one another, those that are empty left out."""
    return "\n".join(part for part in parts if part) + "\n"
