"""The app `checked` with less time between two messages about a component: APART seconds."""

from __future__ import annotations

import os

import checked

from flask_health.alerts import outbox

app = checked.app

outbox.APART = float(os.environ.get("APART", "60"))
