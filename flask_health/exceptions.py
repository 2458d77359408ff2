"""What the extension raises of its own. Wrong use raises Python's own types."""

from __future__ import annotations


class ConfigError(ValueError):
    """The configuration is wrong; the message has a line per key, with its value and what would
    be right."""


class SetupTimeoutError(TimeoutError):
    """A setup step ran longer than its timeout."""


class SetupFailedError(RuntimeError):
    """A setup step that another worker runs for the whole server has failed there."""


class Degraded(Exception):
    """Raised by a check of something that works, but badly: the check is warn, never fail."""


class LeaseLostError(RuntimeError):
    """A setup step runs for the whole fleet, and another server may run it by now."""
