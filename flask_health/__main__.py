"""`flask-health ...` and `python -m flask_health ...`: the command line without Flask."""

from __future__ import annotations

import sys

from .cli.table import run


def main() -> int:
    """Runs the command line of this process, and returns its exit status."""
    return run(sys.argv[1:], "flask-health")


if __name__ == "__main__":
    sys.exit(main())
