"""The signals that apps can listen to."""

from __future__ import annotations

import blinker

status_changed: blinker.NamedSignal = blinker.Namespace().signal("status-changed")
"""Sent once per change of a check's status, by one worker of the server; the sender is the app.

Receivers get `check` (its name), `old` and `new` (:class:`Status`), `output` (why), `failures`
(failing runs in a row: up to this failure, or before this recovery) and `outage` (seconds that a
recovered component was down, else 0). They are called in a background thread, inside an app
context. For a check of `scope="worker"` each worker tells its own changes.
"""
