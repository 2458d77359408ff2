"""Keeping secrets out of what is told and logged."""

from __future__ import annotations

import re

_MASKS = (
    (
        re.compile(r"(?P<keep>[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.I),
        r"\g<keep>***",
    ),
    (
        re.compile(
            r"(?P<keep>\b(?:password|passwd|pwd|secret|token|api[_-]?key|authorization)"
            r"\b['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+",
            re.I,
        ),
        r"\g<keep>***",
    ),
    (re.compile(r"(?P<keep>\bbearer\s+)[^\s'\",;]+", re.I), r"\g<keep>***"),
)

LONGEST = 500
"""Characters of a reason that are kept."""


def mask_secrets(text: str) -> str:
    """A text without the passwords and tokens in it."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


def mask(text: str) -> str:
    """A text without the passwords and tokens in it, on one line, and not endless."""
    text = " ".join(mask_secrets(text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
