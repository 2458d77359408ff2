"""The app that most tests serve; its import waits while `import` is ordered, and for IMPORT_SECONDS
when a server runs already.
"""

from __future__ import annotations

import os
import time

from acting import ordered, tell
from making import create_app

tell("imported", os.getpid())
while ordered("import"):
    time.sleep(0.01)
if ordered("reload"):
    time.sleep(float(os.environ.get("IMPORT_SECONDS", "0")))

app = create_app()
