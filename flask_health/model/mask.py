"""Keeping secrets out of what is told and logged."""

from __future__ import annotations

import re

LONGEST = 500
"""Characters of a reason that are kept."""

_READ = 4 * LONGEST
"""Characters that are looked at: patterns take their time with a text of a megabyte."""

# Control characters too: logs are read in terminals.
_BLANK = r"[\s\x00-\x1f\x7f-\x9f]+"
_VALUE = r"""(?:"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|[^\s'",;&]+)"""
_KEY = r"(?:password|passwd|pwd|secret(?:[_-]\w+)?|token|(?:api|access)[_-]?key|authorization)"

_MASKS = tuple(
    f"(?P<keep>{before}){secret}"
    for before, secret in (
        # The password of a URL. A number that ends at a slash is a port.
        (r"[a-z][a-z0-9+.-]{0,30}://[^\s/:@]*:", r"(?!\d+(?:[/?#\s]|$))\S+(?=@)"),
        (rf"{_KEY}\b['\"]?\s*[=:]\s*(?:(?:basic|bearer|digest|token)\s+)?", _VALUE),
        (r"\bbearer\s+", _VALUE),
    )
)


def mask_secrets(text: str) -> str:
    """A text without the passwords and tokens in it."""
    for pattern in _MASKS:
        text = re.sub(pattern, r"\g<keep>***", text, flags=re.IGNORECASE)
    return text


def mask(text: str) -> str:
    """A text without the passwords and tokens in it, on one line, and not endless."""
    text = re.sub(_BLANK, " ", text[: _READ * _READ]).strip()
    if len(text) > _READ:
        text = f"{text[:_READ]}@…"  # What was cut off may have been the end of a URL's password.
    text = mask_secrets(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
