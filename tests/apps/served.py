"""The app that most tests serve; its import waits while `import` is ordered."""

from __future__ import annotations

import os
import time

from acting import ordered, tell
from making import create_app

tell("imported", os.getpid())
while ordered("import"):
    time.sleep(0.01)

app = create_app()
